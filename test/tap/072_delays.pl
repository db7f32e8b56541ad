# A delayed job is ready as soon as its time has come and its producer has committed, with or without the worker
# when the commit comes last. Delayed jobs cost nothing to those that are ready: a claim touches as many buffers
# beside a hundred thousand of them as beside none (Invariant 8). All of them are promoted, each once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use OnceqWorker qw(stop_worker);
use Test::More;

my $node = start_node('delays', autovacuum => 'off', 'onceq.audit_interval' => 0);

# ---- the commit comes last: the worker is stopped

query($node, "SELECT onceq.create_queue('d', lease => '1 h', backoff_base => '0')");
query($node, q{SELECT onceq.enqueue('d', '"warm"')});
is(query($node, q{SELECT count(*) FROM test.drain('d')}), '1', 'the queue works');
my $worker = stop_worker($node, 'postgres');
my $passed = "SELECT pg_sleep(0.15)";

my $producer = session($node);
$producer->query_safe(q{BEGIN; SELECT onceq.enqueue('d', '"delayed"', delay => '100 ms'); SELECT onceq.enqueue('d', '"later"', delay => '1 h')});
query($node, $passed);
is(query($node, "SELECT count(*) FROM onceq.claim('d')"), '0', 'not before the commit');
$producer->query_safe('COMMIT');
my ($held) = rows($node, "SELECT token, id, payload FROM onceq.claim('d', 10)");
is($held->[2], '"delayed"', 'its time came before the commit: ready at once');

$producer->query_safe("BEGIN; SELECT onceq.nack($held->[0], $held->[1], retry_in => '100 ms')");
query($node, $passed);
$producer->query_safe('COMMIT');
is(query($node, "SELECT payload, attempt FROM onceq.claim('d', 10)"), '"delayed"|2', 'the same of a failed attempt');

$producer->query_safe(q{BEGIN; SELECT onceq.enqueue_many('d', test.payloads(1500), delay => '100 ms')});
query($node, $passed);
my ($waiting) = waiting_claim();
$producer->query_safe('COMMIT');
is((end_query($waiting))[0], '1000', 'the commit wakes who waits for it');
close_session($waiting);
is(query($node, "SELECT count(*) FROM onceq.claim('d', 1000)"), '500', '… and all are ready');
close_session($producer);
kill 'CONT', $worker;
audit_is_empty($node, 'd', 'commits after the due time');

sub waiting_claim
{
	my $session = session($node);
	my $pid = pid_of($session);
	start_query($session, "SELECT count(*) FROM onceq.claim('d', 1000, wait => '50 s')");
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the claim does not wait';
	return $session;
}

# ---- what claims touch

# Both queues have as many rows, so that their indexes are as high; in one, most are delayed.
query($node, "SELECT onceq.create_queue(q, lease => '1 h') FROM unnest('{plain,delayed}'::text[]) q");
query($node, "CALL test.fill('plain', 100000)");
query($node, q{DO $$ BEGIN FOR i IN 1 .. 10 LOOP PERFORM onceq.enqueue_many('delayed', test.payloads(10000), delay => '1 h'); COMMIT; END LOOP; END $$});
query($node, "CALL test.fill('delayed', 2000)");
query($node, "CALL test.fill('plain', 2000)");
is(query($node, "SELECT ready, scheduled FROM onceq.queue_stats WHERE queue = 'delayed'"), '2000|100000', 'a hundred thousand wait');

my $session = session($node);
$session->query_safe(
	q{CREATE FUNCTION test.touched(call text) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		plan json;
	BEGIN
		EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT json) SELECT * FROM ' || call INTO plan;
		RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
	END $$});
for my $count (1, 100)
{
	my %touched;
	for my $queue ('plain', 'delayed')
	{
		my $call = "test.touched(\$\$onceq.claim('$queue', $count)\$\$)";
		$session->query_safe("SELECT $call") for 1 .. 2;    # fills the caches
		$touched{$queue} = $session->query_safe("SELECT sum($call) FROM generate_series(1, 15)");
	}
	cmp_ok($touched{plain}, '>', 0, "claims of $count read something");
	# The rows of a larger claim do not begin at the same place of a page of the table, or of the index.
	cmp_ok(abs($touched{delayed} - $touched{plain}), '<=', $count == 1 ? 0 : 5, '… and as much beside 100,000 delayed jobs');
}
close_session($session);

# ---- all of them come, once

query($node, "SELECT onceq.create_queue('due', lease => '1 h')");
query($node,
	q{DO $$ DECLARE at timestamptz := clock_timestamp() + '5 s'; BEGIN FOR i IN 1 .. 5 LOOP PERFORM onceq.enqueue_many('due', test.payloads(10000), run_at => at, priority => i); COMMIT; END LOOP; END $$});
ok($node->poll_query_until('postgres', "SELECT ready = 50000 FROM onceq.queue_stats WHERE queue = 'due'"), 'fifty thousand fall due together');
is(query($node, q{SELECT count(*), count(DISTINCT id), max(attempt) FROM test.drain('due')}), '50000|50000|1', 'each is delivered once');
audit_is_empty($node, $_, $_) for 'due', 'delayed';
log_is_clean($node);
done_testing();
