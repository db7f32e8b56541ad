# A queue's segments are sealed when they are old, flagged when their last job is done, and dropped
# after the retention, while jobs go on. Nobody waits for that (Invariant 7): not for a session that has one of
# the tables locked, and neither producer nor consumer for the drop that has to come again. A job that is
# held keeps its segment; so does a transaction that has enqueued into it or that acks a job of it.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.worker_passive' => 'on', lock_timeout => "'1min'");
query($node, q{SELECT onceq.create_queue('mail', segment_age => '1 s', retention => '0', lease => '10 min', backoff_base => '0')});

my $segments = q{SELECT number, sealed_at IS NOT NULL, drained_at IS NOT NULL FROM onceq.segment WHERE queue_id = 1};

sub enqueue
{
	my ($count) = @_;
	return split /\n/, query($node, "SELECT onceq.enqueue_many('mail', test.payloads($count))");
}

# Does what the worker would do, which is passive: it would drop tables that are about to be locked here.
sub wait_until
{
	my ($condition, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $true;
	do
	{
		query($node, 'CALL onceq.maintain()');
		$true = query($node, "SELECT $condition FROM ($segments) s (number, sealed, drained)") eq 't';
	} until $true || time > $deadline;
	return ok($true, $what);
}

sub segment_of
{
	my ($id) = @_;
	return $id >> 20;
}

# A segment that holds unfinished jobs only is left alone; a second one follows once a job is done.
my @ids = enqueue(10);
my $first = segment_of($ids[0]);
is(drain($node, 'mail'), join(' ', map { "$_:1" } @ids), 'jobs are delivered');
my $rounds = 0;
for my $round (1 .. 3)
{
	my @more = enqueue(2);
	$first = segment_of($more[0]);
	drain($node, 'mail');
	wait_until("bool_and(number > $first)", "round $round: the segment is sealed, drained and dropped");
	is(query($node, q{SELECT count(*) FROM pg_tables WHERE schemaname = 'onceq_data' AND tablename ~ '^[jor]1_'}),
		3 * query($node, 'SELECT count(*) FROM onceq.segment'), "round $round: tables are those of segments");
}
audit_is_empty($node, 'mail', 'dropped');

# Unfinished jobs keep it: waiting, held, being enqueued, being acked.
my ($late) = split /\n/, query($node, q{SELECT onceq.enqueue('mail', '"late"', delay => '1 h')});
@ids = enqueue(3);
$first = segment_of($late);
my $token = query($node, q{SELECT token FROM onceq.claim('mail')});
my $acking = query($node, q{SELECT token FROM onceq.claim('mail')});
my ($producer, $consumer) = (session($node), session($node));
my $open = $producer->query_safe(q{BEGIN; SELECT onceq.enqueue('mail', '"open"')});
is(segment_of($open), $first, 'all in one segment');
drain($node, 'mail');
wait_until("bool_or(number > $first) AND bool_or(number = $first AND sealed)", 'a segment with unfinished jobs is sealed');
$consumer->query_safe("BEGIN; SELECT onceq.ack($acking)");

sub keeps
{
	my ($what) = @_;
	query($node, 'CALL onceq.maintain()') for 1 .. 3;
	return is(query($node, "SELECT count(*) FROM onceq.segment WHERE number = $first AND drained_at IS NULL"), 1, "$what keeps the segment");
}
query($node, q{SELECT onceq.create_queue('other'); SELECT onceq.enqueue('other', '1')});
keeps('all of that');
query($node, "SELECT onceq.ack($token)");
keeps('the rest');
query($node, q{SELECT onceq.purge_queue('mail')});
keeps('an open transaction');
$consumer->query_safe('COMMIT');
keeps('a producer');
$producer->query_safe('COMMIT');
# What is left of it then, and in nobody's hands, does not keep it.
wait_until("bool_and(number > $first)", 'what the producer has committed does not');
is(drain($node, 'mail'), "$open:1", 'and is delivered');

# A reader of the segment: the drop is put off, nobody waits.
my ($id) = enqueue(1);
$first = segment_of($id);
my $table = sprintf 'onceq_data.j1_%04d', $first;
my $reader = session($node);
$reader->query_safe("BEGIN; LOCK TABLE $table IN ACCESS SHARE MODE");
drain($node, 'mail');
wait_until("bool_or(number = $first AND drained)", 'a segment that is read is drained');
my $backlog = 0;
for my $round (1 .. 20)
{
	query($node, 'CALL onceq.maintain()') if $round % 5 == 0;
	enqueue(2);
	my @delivered = split / /, drain($node, 'mail');
	$backlog += 2 - @delivered;
}
is($backlog, 0, 'producers and consumers go on');
is(query($node, q{SELECT count(*) FROM pg_locks WHERE NOT granted}), 0, 'nobody waits for a lock');
is(query($node, "SELECT count(*) FROM onceq.segment WHERE number = $first"), 1, 'the segment is still there');
is(query($node, "SELECT count(*) FROM $table"), 1, 'and can be read');
$reader->query_safe('COMMIT');
wait_until("bool_and(number > $first)", 'when the reader has gone, it is dropped');

# The same with a dump, which locks all of them.
$reader->query_safe("BEGIN; SELECT count(*) FROM pg_class c, LATERAL (SELECT pg_relation_size(c.oid)) s WHERE relnamespace = 'onceq_data'::regnamespace");
my $lock = join '; ', map { "LOCK TABLE onceq_data.$_ IN ACCESS SHARE MODE" } split /\n/,
  query($node, q{SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'onceq_data'::regnamespace});
$reader->query_safe($lock);
enqueue(5);
is(scalar(split / /, drain($node, 'mail')), 5, 'a dump is in nobody\'s way');
query($node, q{SELECT onceq.drop_queue('other')});
query($node, 'CALL onceq.maintain()');
is(sqlstate_of($node, q{SELECT onceq.enqueue('other', '1')}), '42704', 'a queue can be dropped meanwhile');
query($node, q{SELECT onceq.create_queue('other'); SELECT onceq.enqueue('other', '1')});
is(drain($node, 'other'), '1:1', 'and made anew');
$reader->query_safe('COMMIT');
close_session($_) for $reader, $producer, $consumer;
query($node, 'CALL onceq.maintain()');
is(query($node, q{SELECT count(*) FROM onceq.queue WHERE dropped_at IS NOT NULL}), 0, 'in the end it is removed');

# The retention.
query($node, q{SELECT onceq.alter_queue('mail', retention => '1 h')});
($id) = enqueue(1);
$first = segment_of($id);
drain($node, 'mail');
wait_until("bool_or(number = $first AND drained)", 'a segment is drained');
query($node, 'CALL onceq.maintain()') for 1 .. 3;
is(query($node, "SELECT state FROM onceq.job('mail', $id)"), 'succeeded', 'it stays for the retention');
query($node, q{SELECT onceq.alter_queue('mail', retention => '0')});
wait_until("bool_and(number > $first)", 'and not longer');

# A crash in between changes nothing.
$node->stop('immediate');
$node->start;
audit_is_empty($node, 'mail', 'after a crash');
@ids = enqueue(3);
delivers($node, 'mail', [ map { "$_:1" } @ids ], 'nothing comes back from dropped segments');

# What one round of maintenance locks is bounded, however many queues are dropped at once.
query($node, q{SELECT onceq.create_queue('many.' || i) FROM generate_series(1, 40) i});
query($node, q{SELECT onceq.drop_queue('many.' || i) FROM generate_series(1, 40) i});
my $dropped = q{SELECT count(*) FROM onceq.queue WHERE dropped_at IS NOT NULL};
query($node, 'CALL onceq.maintain()');
my $left = query($node, $dropped);
ok($left > 0 && $left < 40, 'a round removes some of many queues');
query($node, 'CALL onceq.maintain()') for 1 .. 4;
is(query($node, $dropped), 0, 'a few rounds remove all');
log_is_clean($node);
done_testing();
