# What has outlived its segment and then ends can be looked at for the retention, and redriven, like any other
# job; what is redriven stays so after a crash, and is kept as long as it lives (Invariants 1, 5 and 6).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

# The worker leaves segments to this test.
my $node = start_node('primary', 'onceq.worker_passive' => 'on', 'onceq.suspicion_window' => 0, wal_level => 'logical');
query($node, 'CREATE PUBLICATION everything FOR ALL TABLES'); # forbids a DELETE where no key tells which row it was
query($node, q{SELECT onceq.create_queue('mail', retention => '0', lease => '10 min', backoff_base => '0', max_attempts => 2)});

# As if they were old.
sub age_segments
{
	query($node, "UPDATE onceq.segment SET $_ = $_ - interval '2 days' WHERE number = 0; CALL onceq.maintain()") for qw(created_at sealed_at);
	return;
}

sub states
{
	return query($node, q{SELECT string_agg(concat_ws(' ', id, state, attempt), ', ' ORDER BY id) FROM onceq.jobs('mail')});
}

query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(5))});
query($node, q{SELECT onceq.ack(token) FROM onceq.claim('mail')});
age_segments();
is(query($node, 'SELECT count(*) FILTER (WHERE number = 0), (SELECT count(*) FROM onceq_data.j1_stay) FROM onceq.segment'), '0|4', 'four jobs outlive their segment');
query($node, q{SELECT onceq.alter_queue('mail', retention => '1 day')});
query($node, q{SELECT onceq.reject(token, id, 'no ' || id) FROM onceq.claim('mail', 3)});
is(query($node, q{SELECT onceq.cancel('mail', 5), onceq.cancel('mail', 5)}), 't|f', 'one of them is cancelled');
query($node, 'CALL onceq.maintain()');
is(states(), '2 dead 1, 3 dead 1, 4 dead 1, 5 cancelled 0', 'they are looked at when they have ended');
is(query($node, q{SELECT string_agg(id || ' ' || error, ', ' ORDER BY id) FROM onceq.jobs('mail', 'dead')}), '2 no 2, 3 no 3, 4 no 4', 'and listed, if they are dead');
is(query($node, q{SELECT onceq.redrive('mail', id) FROM generate_series(1, 5) id}), "0\n1\n1\n1\n0", 'the dead ones are redriven');
is(query($node, q{SELECT onceq.redrive('mail', 2)}), 0, 'once');
query($node, q{SELECT onceq.reject(token, id, 'never') FROM onceq.claim('mail', 2)});
is(query($node, q{SELECT onceq.redrive('mail', count => 1), onceq.redrive('mail'), onceq.redrive('mail')}), '1|1|0', 'all that are dead are, too');
query($node, q{SELECT onceq.reject(token, id, 'never') FROM onceq.claim('mail', 2) WHERE id = 3});
is(query($node, q{SELECT string_agg(concat_ws(' ', attempt, outcome, error), ', ' ORDER BY attempt) FROM onceq.job_attempts('mail', 3)}), '1 dead no 3, 2 dead never, 3 dead never', 'no attempt is forgotten');
audit_is_empty($node, 'mail', 'redriven');
kill_postmaster($node);
is(states(), '2 ready 2, 3 dead 3, 4 ready 1, 5 cancelled 0', 'after a crash each is what became of it');
audit_is_empty($node, 'mail', 'after a crash');

# Nothing of a job goes that lives, although it has died long ago.
query($node, q{SELECT onceq.alter_queue('mail', retention => '0'); CALL onceq.maintain()});
is(states(), '2 ready 2, 4 ready 1', 'what has ended goes, when its retention is over');
is(query($node, 'SELECT count(DISTINCT first_id) FROM onceq_data.o1_stay'), 2, 'with its outcomes');
delivers($node, 'mail', [ '2:3', '4:2' ], 'the others are delivered');
query($node, 'CALL onceq.maintain()');
is(query($node, 'SELECT (SELECT count(*) FROM onceq_data.j1_stay), (SELECT count(*) FROM onceq_data.o1_stay)'), '0|0', 'and go, too');
is(query($node, q{SELECT onceq.redrive('mail')}), 0, 'nothing is left to redrive');
audit_is_empty($node, 'mail', 'at the end');

# A segment may outlive the stragglers of a newer one; dead jobs come in the order of their ids nevertheless.
query($node, q{SELECT onceq.create_queue('order', retention => '0', lease => '10 min')});
my $order = query($node, q{SELECT id FROM onceq.queue WHERE name = 'order'});
sub age_segment
{
	my ($number) = @_;
	query($node, "UPDATE onceq.segment SET $_ = $_ - interval '2 days' WHERE queue_id = $order AND number = $number; CALL onceq.maintain()") for qw(created_at sealed_at);
	return;
}
my @first = split /\n/, query($node, q{SELECT onceq.enqueue_many('order', test.payloads(2))});
query($node, q{SELECT onceq.reject(token, id) FROM onceq.claim('order')});
query($node, q{SELECT count(*) FROM onceq.claim('order')});
age_segment(0);
my @second = split /\n/, query($node, q{SELECT onceq.enqueue_many('order', test.payloads(2))});
query($node, q{SELECT onceq.ack(token) FROM onceq.claim('order')});
age_segment(1);
is(query($node, "SELECT string_agg(number::text, ' ' ORDER BY number) FROM onceq.segment WHERE queue_id = $order AND number < 2"), '0', 'a job that runs keeps its segment, the next one goes');
query($node, q{SELECT onceq.reject(token, id) FROM onceq.claim('order')});
is(query($node, q{SELECT string_agg(id::text, ' ') FROM onceq.jobs('order', 'dead')}), "$first[0] $second[1]", 'dead jobs are listed by id');
is(query($node, q{SELECT string_agg(id::text, ' ') FROM onceq.jobs('order')}), "$first[0] $first[1] $second[1]", 'as all are');
is(query($node, q{SELECT onceq.redrive('order', count => 1)}), 1, 'one of them is redriven');
is(query($node, q{SELECT string_agg(id::text, ' ') FROM onceq.jobs('order', 'dead')}), $second[1], 'that of the lowest id');
log_is_clean($node);
done_testing();
