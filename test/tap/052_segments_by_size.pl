# A queue outgrows its segments: more than 2^20 jobs are enqueued and delivered, each once, across the
# border of a segment (Invariants 1 and 5). A producer that finds no room, because the worker does not
# keep up, waits at most onceq.segment_wait and then gets 55000 with a hint, having written nothing (Invariant 7).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(stop_worker);

my $node = start_node('primary', 'onceq.segment_wait' => "'3min'", shared_buffers => "'256MB'", max_wal_size => "'4GB'", checkpoint_timeout => "'1h'");
query($node, q{SELECT onceq.create_queue('mail', retention => '0')});
my $jobs = 1_150_000;

# ---- A worker that stands still.

my $worker = stop_worker($node, 'postgres');
my $session = session($node);
$session->query_safe("SET onceq.segment_wait = '300ms'");
my $enqueue = q{SELECT count(*) FROM onceq.enqueue_many('mail', test.payloads(1000))};
my $enqueued = 0;
my ($output, $error);
do
{
	start_query($session, $enqueue);
	($output, $error) = end_query($session);
	$enqueued += 1000 unless $error;
} until $error || $enqueued > 100_000;
is($error, '55000', 'a producer without room is refused');
my ($result, $stdout, $stderr) = $node->psql('postgres', "SET onceq.segment_wait = 0; $enqueue");
like($stderr, qr/HINT:.*onceq\.workers.*onceq\.segment_wait/, 'and told where to look');
is(query($node, q{SELECT count(*) FROM onceq.jobs('mail', 'ready', count => 10000)}), $enqueued, 'what was refused was not written');
my $token = query($node, q{SELECT token FROM onceq.claim('mail', lease => '1 h')});
like($token, qr/^\d+$/, 'consumers go on');
my $waiting = session($node);
start_query($waiting, $enqueue);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query ~ 'enqueue_many' AND pid <> pg_backend_pid()}),
	'another producer waits longer');
kill('CONT', $worker);
($output, $error) = end_query($waiting);
is("$output $error", '1000 ', 'the worker goes on, and so does the producer');
is(error_of($session, $enqueue), '', 'and the one that was refused');
$enqueued += 2000;
close_session($_) for $session, $waiting;

# ---- Many jobs.

query($node, "CALL test.fill('mail', " . ($jobs - $enqueued) . ')');
is(query($node, q{SELECT ready + running FROM onceq.queue_stats WHERE queue = 'mail'}), $jobs, 'more jobs than a segment holds');
cmp_ok(query($node, 'SELECT count(*) FROM onceq.segment'), '>=', 2, 'and so several segments');
cmp_ok(query($node, 'SELECT count(*) FROM onceq_data.j1_0001'), '>', 0, 'the second one is in use');

# Jobs of both segments in one claim, in one ack.
query($node, q{
	CREATE TABLE test.seen (first_segment bigint, count bigint, last_segment bigint);
	CREATE PROCEDURE test.drain_all(queue text) LANGUAGE plpgsql AS $$
	DECLARE
		held bigint;
		first bigint;
		last bigint;
		found bigint;
		highest bigint := 0;
	BEGIN
		LOOP
			SELECT min(token), min(id), max(id), count(*) INTO held, first, last, found FROM onceq.claim(queue, 1000);
			EXIT WHEN held IS NULL;
			-- In order, so that none can come twice.
			IF first <= highest THEN RAISE EXCEPTION 'id % comes after %', first, highest; END IF;
			highest := last;
			IF onceq.ack(held) <> found THEN RAISE EXCEPTION 'acked less than was claimed'; END IF;
			INSERT INTO test.seen VALUES (first >> 20, found, last >> 20);
			COMMIT;
		END LOOP;
	END $$;
});
query($node, q{CALL test.drain_all('mail')});
is(query($node, 'SELECT sum(count) FROM test.seen'), $jobs - 1, 'all are delivered, once');
cmp_ok(query($node, 'SELECT count(*) FROM test.seen WHERE first_segment <> last_segment'), '<=', 1, 'at most one claim was across the border');
audit_is_empty($node, 'mail', 'after all that');
is(query($node, q{SELECT ready, running FROM onceq.queue_stats WHERE queue = 'mail'}), '0|1', 'nothing is left but the one that is held');

# The worker may have the queue in hand: then the call leaves it alone.
sub maintain_until
{
	my ($condition, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $true;
	do { query($node, 'CALL onceq.maintain()'); $true = query($node, "SELECT $condition FROM onceq.segment WHERE number = 0") eq 't'; } until $true || time > $deadline;
	return ok($true, $what);
}

# The first job is held still, and so is its segment.
maintain_until('bool_and(sealed_at IS NOT NULL AND drained_at IS NULL)', 'the first segment is sealed, and kept by one job');
ok($node->poll_query_until('postgres', 'SELECT journalled FROM onceq.leases'), 'its lease is journalled');
$node->stop('immediate');
$node->start;
is(query($node, q{SELECT count(*) FROM test.drain('mail')}), 0, 'after a crash nothing comes again');
is(query($node, "SELECT onceq.ack($token)"), 1, 'and that job is held still');
maintain_until('count(*) = 0', 'then its segment goes');
log_is_clean($node);
done_testing();
