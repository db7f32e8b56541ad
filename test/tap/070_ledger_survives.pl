# Sixteen sessions process the same events at the same time, singly, in batches, and as jobs that were enqueued
# twice, while server processes are killed -9, terminated and cancelled, and transactions roll back. In the end
# each event has had its effect exactly once, and the ledger says so (Invariants 3 and 5).
use strict;
use warnings;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $events = 5000;
my $jobs = 1000; # events that come as jobs, each as two
my $sessions = 16;
my $node = start_node('ledger', 'onceq.suspicion_window' => 0, 'onceq.worker_naptime' => 100);
query($node, q{
	SELECT onceq.create_consumer('single'), onceq.create_consumer('batch'), onceq.create_consumer('job');
	SELECT onceq.create_queue('work', lease => '2 s', max_attempts => 1000, backoff_base => '0');
	CREATE TABLE test.effect (consumer text, event text, pid int DEFAULT pg_backend_pid());
	CREATE SEQUENCE test.duplicates;
	CREATE FUNCTION test.take_effect(consumer text, event text, is_new bool) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF is_new THEN
			PERFORM pg_sleep(0.002); -- it takes its time, in which others come
			INSERT INTO test.effect VALUES (consumer, event);
		ELSE
			PERFORM nextval('test.duplicates');
		END IF;
	END $$;
	-- The source from this offset on, and round; as one that replays. Now and then a transaction fails.
	CREATE PROCEDURE test.replay(first int, events int) LANGUAGE plpgsql AS $$
	DECLARE
		batch text[];
	BEGIN
		FOR i IN first .. first + events - 1 LOOP
			PERFORM test.take_effect('single', (i % events)::text, onceq.once('single', (i % events)::text));
			IF i % 7 = 0 THEN
				batch := ARRAY(SELECT (e % events)::text FROM generate_series(i, i + 19) e ORDER BY random());
				PERFORM test.take_effect('batch', e, is_new)
				FROM unnest(batch, onceq.once_many('batch', batch)) AS u (e, is_new);
			END IF;
			IF random() < 0.05 THEN ROLLBACK; ELSE COMMIT; END IF;
		END LOOP;
	END $$;
	CREATE FUNCTION test.victim(effects bigint) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 6000 LOOP
			PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
			CONTINUE WHEN (SELECT count(*) FROM test.effect) < effects;
			RETURN (SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL test.%' AND state = 'active' ORDER BY random() LIMIT 1);
		END LOOP;
	END $$;
	CREATE PROCEDURE test.work() LANGUAGE plpgsql AS $$
	DECLARE
		job record;
	BEGIN
		LOOP
			SELECT * INTO job FROM onceq.claim('work');
			EXIT WHEN NOT FOUND;
			COMMIT;
			PERFORM test.take_effect('job', job.payload->>0,
				onceq.ack_once(job.token, job.id, 'job', job.payload->>0));
			IF random() < 0.05 THEN ROLLBACK; ELSE COMMIT; END IF;
		END LOOP;
	END $$;
});
query($node, "SELECT count(*)
	FROM onceq.enqueue_many('work', ARRAY(SELECT to_jsonb((e % $jobs)::text) FROM generate_series(0, 2 * $jobs - 1) e))");

# All of them at work, each somewhere else in the source.
sub start_sessions
{
	my @running;
	for my $number (1 .. $sessions)
	{
		my $first = int(rand($events));
		my @calls = ('CALL test.work()', "CALL test.replay($first, $events)");
		@calls = reverse @calls if $number % 2;
		push @running, IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), map { ('-c', $_) } @calls ],
			'>', '/dev/null', '2>', '/dev/null');
	}
	return @running;
}

# A server process that is at work, once so many effects have committed.
sub victim
{
	my ($effects) = @_;
	return query($node, "SELECT test.victim($effects)") || die 'nothing is done';
}

my $kills = 0;
for my $round (1 .. 12)
{
	my $done = query($node, 'SELECT count(*) FROM test.effect');
	last if $done >= 2 * $events * 0.8;
	my @running = start_sessions();
	my $statement = $round % 2 ? 'SELECT pg_terminate_backend(%s)' : 'SELECT pg_cancel_backend(%s)';
	query($node, sprintf($statement, victim($done + 30)));
	kill_backend($node, victim($done + 100));
	$kills++;
	$_->finish for @running;
}
cmp_ok($kills, '>=', 2, "killed $kills times");

# The rest, without faults.
for my $attempt (1 .. 20)
{
	$_->finish for start_sessions();
	last if query($node, 'SELECT count(*) FROM test.effect') == 2 * $events + $jobs
	  && query($node, 'SELECT ready + scheduled + running FROM onceq.queue_stats') == 0;
}
is(query($node, 'SELECT consumer, count(*), count(DISTINCT event) FROM test.effect GROUP BY 1 ORDER BY 1'),
	"batch|$events|$events\njob|$jobs|$jobs\nsingle|$events|$events", 'each event has taken effect once for each consumer');
is(query($node, 'SELECT count(*) FROM onceq.processed_event_duplicates'), 0, 'none was processed twice');
is(query($node, q{
		SELECT count(*) FROM (SELECT consumer, event FROM test.effect) e
		FULL JOIN (SELECT consumer, event_id AS event FROM onceq.processed_events) p USING (consumer, event)
		WHERE e IS NULL OR p IS NULL}),
	0, 'what took effect is in the ledger, and nothing else');
cmp_ok(query($node, q{SELECT last_value FROM test.duplicates}), '>', $events, 'duplicates were met');
cmp_ok(query($node, q{SELECT count(DISTINCT pid) FROM test.effect}), '>', $sessions, 'in many sessions');
is(query($node, q{SELECT count(*) FROM onceq.jobs('work', 'succeeded', count => 10000)}), 2 * $jobs, 'every job has ended');
audit_is_empty($node, 'work', 'in the end');
log_is_clean($node, kills => $kills);
done_testing();
