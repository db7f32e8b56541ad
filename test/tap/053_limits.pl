# Memory is bounded by settings. When it is used up, a claim or an enqueue gets 53400 with a hint that names
# the setting, before anything is written; what holds the memory can go on and free it, after which
# everything works again (Invariant 9).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.lease_slots' => 16, 'onceq.state_memory' => "'256kB'", 'onceq.max_queues' => 3,
	'onceq.worker_naptime' => "'50ms'", 'onceq.suspicion_window' => 0);

sub complaint
{
	my ($sql) = @_;
	my ($result, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	return $stderr;
}

sub used_up
{
	my ($sql, $setting, $what) = @_;
	return like(complaint($sql), qr/ERROR:\s+53400:.*\n(?:DETAIL:.*\n)?HINT:.*onceq\.\Q$setting\E/, $what);
}

# Names a whole state of things: two of the same say that nothing was left behind.
sub state_of
{
	my ($queue) = @_;
	return query($node, "SELECT ready, scheduled, running FROM onceq.queue_stats WHERE queue = '$queue'") . ' '
	  . query($node, "SELECT count(*), max(id) FROM onceq.jobs('$queue', count => 10000)");
}

# As onceq.memory tells: what is used, and how much there is.
sub memory_of
{
	my ($setting) = @_;
	return query($node, "SELECT used, capacity FROM onceq.memory WHERE setting = 'onceq.$setting'");
}

# Claims and acks with one lease at a time; returns how many.
query($node, q{
	CREATE PROCEDURE test.work(queue text, INOUT done bigint) LANGUAGE plpgsql AS $$
	DECLARE
		held bigint;
	BEGIN
		LOOP
			SELECT min(token) INTO held FROM onceq.claim(queue, 1000);
			EXIT WHEN held IS NULL;
			done := done + onceq.ack(held);
			COMMIT;
		END LOOP;
	END $$;
});

# ---- Leases. A queue may have half of the slots, so two are needed to use up all.

query($node, q{SELECT onceq.create_queue('mail', lease => '10 min'), onceq.create_queue('other', lease => '10 min')});
query($node, q{CALL test.fill('mail', 40); CALL test.fill('other', 40)});
my %tokens;
for my $queue (qw(mail other))
{
	my ($error, $claimed) = ('', 0);
	until ($error || $claimed > 16)
	{
		$claimed++;
		my ($result, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT token FROM onceq.claim('$queue')");
		$error = $stderr;
		push @{ $tokens{$queue} }, $stdout if $stdout;
	}
	like($error, qr/53400/, "$queue: claims come to an end");
	cmp_ok(scalar @{ $tokens{$queue} }, '>=', 7, "$queue: not too early");
}
is(memory_of('lease_slots'), query($node, 'SELECT count(*) FROM onceq.leases') . '|16', 'the view tells how many are in use');
is(memory_of('max_queues'), '2|3', 'and queues');
like(memory_of('max_databases'), qr/^[1-4]\|64$/, 'and databases');
my $before = state_of('mail');
used_up(q{SELECT * FROM onceq.claim('mail')}, 'lease_slots', 'a claim without a slot');
is(state_of('mail'), $before, 'leaves nothing behind');
is(sqlstate_of($node, q{SELECT onceq.enqueue('mail', '1')}), '', 'producers do not notice');
is(query($node, "SELECT onceq.ack($_)"), 1, 'leases can be acked') for splice @{ $tokens{mail} }, 0, 2;
query($node, "SELECT onceq.release($_)") for splice @{ $tokens{mail} }, 0, 2;
is(query($node, q{SELECT count(token) FROM onceq.claim('mail')}), 1, 'then claims go on');

# Expired leases are freed, too.
query($node, "SELECT onceq.extend($_, '100 ms')") for @{ $tokens{mail} };
ok($node->poll_query_until('postgres', q{SELECT count(*) <= 1 FROM onceq.leases WHERE queue = 'mail'}), 'expired leases are freed');
$node->restart;
query($node, "SELECT onceq.release($_)") for splice @{ $tokens{other} };
query($node, qq{SELECT onceq.drop_queue('$_')}) for qw(mail other);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM onceq.queue'), 'dropped');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM onceq.leases'), 'no lease is left');
ok($node->poll_query_until('postgres', q{SELECT used = 0 FROM onceq.memory WHERE setting = 'onceq.lease_slots'}), 'nor its slot');

# ---- Queues in use.

query($node, "SELECT onceq.create_queue('q$_')") for 1 .. 3;
query($node, "SELECT onceq.enqueue('q$_', '1')") for 1 .. 3;
used_up(q{SELECT onceq.create_queue('q4'); SELECT onceq.enqueue('q4', '1')}, 'max_queues', 'a queue too many');
is(drain($node, "q$_"), '1:1', 'the others work') for 1 .. 3;
query($node, q{SELECT onceq.drop_queue('q1')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM onceq.queue WHERE name = 'q1'}), 'one is dropped');
query($node, q{SELECT onceq.create_queue('q4', if_not_exists => true)});
query($node, q{SELECT onceq.enqueue('q4', '1')});
is(drain($node, 'q4'), '1:1', 'then another works');
query($node, q{SELECT onceq.drop_queue(queue) FROM onceq.queues});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM onceq.queue'), 'all are dropped');

# ---- States. Memory follows what is not uniform: jobs that alternate need most.

query($node, q{SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0'), onceq.create_queue('other')});
query($node, q{SELECT onceq.enqueue('other', '1')});
my ($error, $calls) = ('', 0);
until ($error || $calls > 500)
{
	$calls++;
	# Half of the ids of each page stay unused, half are delayed jobs.
	$error = complaint(q{BEGIN; SELECT count(onceq.enqueue('mail', '1', priority => i % 10, delay => CASE WHEN i % 2 = 0 THEN interval '1 h' END)) FROM generate_series(1, 5000) i; COMMIT});
}
like($error, qr/ERROR:\s+53400:.*\n(?:DETAIL:.*\n)?HINT:.*onceq\.state_memory/, 'an enqueue without memory');
my ($used, $capacity) = split /\|/, memory_of('state_memory');
cmp_ok($used, '<=', $capacity, 'no more is used than there is');
cmp_ok($used, '>', $capacity * 3 / 4, 'and nearly all of it');
$before = state_of('mail');
used_up(q{BEGIN; SELECT count(onceq.enqueue('mail', '1', priority => i % 10, delay => CASE WHEN i % 2 = 0 THEN interval '1 h' END)) FROM generate_series(1, 5000) i; COMMIT},
	'state_memory', 'and another one') for 1 .. 3;
is(state_of('mail'), $before, 'leave nothing behind');
$node->stop('immediate');
$node->start;
is(state_of('mail'), $before, 'what filled the memory fits into it after a crash');
my $ready = query($node, q{SELECT ready FROM onceq.queue_stats WHERE queue = 'mail'});
cmp_ok($ready, '>', 0, 'there are jobs to claim');
my $token = query($node, q{SELECT token FROM onceq.claim('other')});
is(query($node, "SELECT onceq.ack($token)"), 1, 'claims and acks of other queues go on');
is(query($node, q{CALL test.work('mail', 0)}), $ready, 'and so do those of this one, until all are done');
is(query($node, q{SELECT onceq.purge_queue('mail') > 0}), 't', 'the delayed ones can be purged');
ok($node->poll_query_until('postgres', q{SELECT used < capacity / 2 FROM onceq.memory WHERE setting = 'onceq.state_memory'}), 'which gives memory back');
audit_is_empty($node, 'mail', 'after all that');
is(sqlstate_of($node, q{SELECT onceq.enqueue_many('mail', test.payloads(5000))}), '', 'then there is room again');
is(query($node, q{CALL test.work('mail', 0)}), 5000, 'for jobs that are delivered');

# With less memory than its jobs need, a queue cannot be used; others can, and so can it with more.
query($node, q{SELECT onceq.create_queue('large')});
$node->append_conf('postgresql.conf', "onceq.state_memory = '384kB'");
$node->restart;
$error = '';
$error = complaint(q{SELECT count(onceq.enqueue('large', '1', priority => i % 10, delay => CASE WHEN i % 2 = 0 THEN interval '1 h' END)) FROM generate_series(1, 5000) i}) until $error;
like($error, qr/53400/, 'more memory lasts longer');
$before = state_of('large');
$node->append_conf('postgresql.conf', "onceq.state_memory = '256kB'");
$node->restart;
used_up(q{SELECT * FROM onceq.claim('large')}, 'state_memory', 'with less, a queue that does not fit is refused');
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
my $id = '';
while ($id !~ /^\d+$/ && time < $deadline)
{
	(undef, $id) = $node->psql('postgres', q{SELECT onceq.enqueue('other', '"fits"')});
}
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM test.drain('other') WHERE id = $id"), 'another one can be used');
$node->append_conf('postgresql.conf', "onceq.state_memory = '1MB'");
$node->restart;
is(state_of('large'), $before, 'with more, all of it is there');
audit_is_empty($node, $_, 'with more memory') for qw(mail other large);
log_is_clean($node, expect => qr/53400/);
done_testing();
