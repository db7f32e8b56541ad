# A workload that passes every step of a job's life, with one fault point armed, and what must be true
# afterwards, whatever the fault was: each job whose enqueue committed has had its effect exactly once,
# or was purged; nothing else has (Invariants 1, 3 and 5); each that died has its copy in the dead letter queue; no
# lease and no difference is left.
package OnceqFaults;

use strict;
use warnings;
use Exporter 'import';
use OnceqNode;
use PostgreSQL::Test::Utils;
use Time::HiRes ();
use Test::More;

our @EXPORT = qw(fault_node points_for run_faulty_session run_faulty_worker nothing_lost test_every_step);

# A whole test: at each step of a session the fault, and then whether something is lost.
sub test_every_step
{
	my ($action) = @_;
	plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};
	my $node = fault_node("faults_$action");
	for my $point (points_for(qw(enqueue unique claim turns ack fail cancel redrive reject reschedule pre-commit seize audit abort commit), 'dead letter'))
	{
		next if $action ne 'kill' && $point =~ /^(?:abort|commit):/; # in callbacks nothing may be raised
		next if $point eq 'turns: in doubt'; # the worker's
		run_faulty_session($node, "$action at $point");
		nothing_lost($node, $point);
	}
	return done_testing();
}

sub fault_node
{
	my ($name) = @_;
	my $node = start_node(
		$name,
		'onceq.worker_naptime' => 50,
		'onceq.lease_journal_after' => 0,
		'onceq.suspicion_window' => 0,
		'onceq.restart_spread' => "'200ms'",
		restart_after_crash => 'on');
	query($node, q{
		SELECT onceq.create_queue('work', lease => '300 ms', max_attempts => 100, backoff_base => '0');
		SELECT onceq.create_queue('purged');
		SELECT onceq.create_queue('graves');
		SELECT onceq.alter_queue('work', dead_letter_queue => 'graves');
		CREATE TABLE test.submitted (k int PRIMARY KEY, queue text);
		CREATE TABLE test.effect (k int);
		CREATE TABLE test.rejected (k int);
		CREATE SEQUENCE test.k;
		CREATE FUNCTION test.spoil(queue text, id bigint, state text) RETURNS void
		LANGUAGE c AS '$libdir/onceq', 'onceq_test_spoil';
		CREATE FUNCTION test.submit(queue text, options text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			next int := nextval('test.k');
		BEGIN
			INSERT INTO test.submitted VALUES (next, queue);
			EXECUTE format('SELECT onceq.enqueue(%L, %L%s)', queue, to_jsonb(next), options);
		END $$;
		CREATE FUNCTION test.submit_many(queue text, count int) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			ks int[] := ARRAY(SELECT nextval('test.k') FROM generate_series(1, count));
		BEGIN
			INSERT INTO test.submitted SELECT k, queue FROM unnest(ks) k;
			PERFORM onceq.enqueue_many(queue, ARRAY(SELECT to_jsonb(k) FROM unnest(ks) k));
		END $$;
		CREATE TABLE test.keyed (k int);
		CREATE FUNCTION test.submit_unique(key text, mode text, delay interval DEFAULT '0') RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			next int := nextval('test.k');
			old bigint := onceq.find_unique('work', key);
			old_k int;
		BEGIN
			SELECT payload::int INTO old_k FROM onceq.job('work', old) WHERE old IS NOT NULL;
			IF onceq.enqueue('work', to_jsonb(next), unique_key => key, unique_mode => mode, delay => delay) IS NULL THEN
				RETURN;
			END IF;
			DELETE FROM test.submitted WHERE k = old_k;
			INSERT INTO test.submitted VALUES (next, 'work');
			INSERT INTO test.keyed VALUES (next);
		END $$;
		CREATE FUNCTION test.work(count int, verb text DEFAULT 'ack') RETURNS int LANGUAGE plpgsql AS $$
		DECLARE
			job record;
			done int := 0;
		BEGIN
			FOR job IN SELECT * FROM onceq.claim('work', count)
			LOOP
				done := done + 1;
				CASE verb
				WHEN 'ack' THEN
					INSERT INTO test.effect SELECT job.payload::int;
					PERFORM onceq.ack(job.token, job.id);
				WHEN 'nack' THEN
					PERFORM onceq.nack(job.token, job.id, 'again', '0');
				WHEN 'reject' THEN
					INSERT INTO test.rejected SELECT job.payload::int;
					PERFORM onceq.reject(job.token, job.id);
				WHEN 'release' THEN
					PERFORM onceq.release(job.token, job.id);
				ELSE NULL;
				END CASE;
			END LOOP;
			RETURN done;
		END $$;
		CREATE FUNCTION test.cancel(state text) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			job record;
		BEGIN
			SELECT * INTO job FROM onceq.jobs('work', cancel.state) LIMIT 1;
			IF onceq.cancel('work', job.id) THEN
				DELETE FROM test.submitted WHERE k = job.payload::int;
			END IF;
		END $$;
		CREATE FUNCTION test.cancel_jobs(ks int[]) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			one int;
		BEGIN
			FOREACH one IN ARRAY ks LOOP
				IF onceq.cancel_jobs('work', payload => to_jsonb(one)) = 1 THEN
					DELETE FROM test.submitted s WHERE s.k = one;
				END IF;
			END LOOP;
		END $$;
		CREATE FUNCTION test.purge(queue text) RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM onceq.purge_queue(queue);
			DELETE FROM test.submitted s WHERE s.queue = purge.queue;
		END $$;
	});
	return $node;
}

# The points of test/fault_points.txt whose names begin with one of these words.
sub points_for
{
	my $words = join '|', @_;
	open my $file, '<', "$ENV{ONCEQ_SOURCE}/test/fault_points.txt" or die "fault_points.txt: $!";
	chomp(my @points = <$file>);
	return grep { /^(?:$words)(?: many)?:/ } @points;
}

my @steps = (
	"SELECT test.submit('work')",
	"BEGIN; SELECT test.submit('work'); SAVEPOINT s; SELECT test.submit('work'); ROLLBACK TO s; SELECT test.submit('work'); COMMIT",
	"BEGIN; SELECT test.submit('work'); ROLLBACK",
	"SELECT test.submit('work', ', delay => ''20 ms''')",
	"SELECT test.submit_many('work', 30)",
	"SELECT test.submit_unique('k', 'skip', '200 ms')",
	"BEGIN; SELECT test.submit_unique('k', 'debounce', '200 ms'); ROLLBACK",
	"SELECT test.submit_unique('k', 'replace')",
	"BEGIN; SELECT test.submit_unique('k', 'debounce'); SAVEPOINT s; SELECT test.submit_unique('k', 'debounce'); ROLLBACK TO s; SELECT test.submit_unique('k', 'replace'); COMMIT",
	"SELECT test.submit_many('purged', 30)",
	"SELECT test.work(3)",
	"SELECT test.work(3, 'nack')",
	"SELECT test.work(3, 'release')",
	"SELECT test.work(3, 'leave')",
	"BEGIN; SELECT test.work(2); ROLLBACK",
	"BEGIN; SELECT test.work(2); SAVEPOINT s; SELECT test.work(2, 'nack'); ROLLBACK TO s; COMMIT",
	"SELECT test.purge('purged')",
	"SELECT test.submit('work', ', ordering_key => ''k''') FROM generate_series(1, 12)",
	join('; ', ('SELECT test.work(5)') x 12),
	"SELECT test.submit('work', ', ordering_key => ''k''') FROM generate_series(1, 3); SELECT test.work(9, 'leave'); SELECT test.cancel('ready')",
	"SELECT test.submit('work'); SELECT test.cancel('ready')",
	"SELECT test.submit('work'); SELECT test.work(1, 'leave'); SELECT test.cancel('running')",
	"SELECT test.submit('work'); SELECT test.work(2, 'reject'); SELECT onceq.redrive('work')",
	"SELECT test.submit('work'); SELECT test.work(2, 'reject'); SELECT onceq.redrive_jobs('work')",
	"SELECT test.submit('work') FROM generate_series(1, 3); SELECT test.work(1, 'leave'); SELECT test.cancel_jobs(ARRAY(SELECT k FROM test.submitted WHERE queue = 'work' ORDER BY k DESC LIMIT 3))",
	"SELECT test.submit('work') FROM generate_series(1, 3); SELECT onceq.reschedule_jobs('work', delay => '20 ms', count => 2); SELECT onceq.reschedule_jobs('work')",
	"SELECT test.submit('work') FROM generate_series(1, 3); INSERT INTO test.rejected SELECT generate_series(1, onceq.reject_jobs('work', count => 2)::int)",
	"SELECT count(*) FROM onceq.audit('work')",
);

# Without something to repair the audit has nothing to seize. A job that the board has forgotten is
# lost until an audit finds it, so what follows has one.
my $spoiling = "SELECT test.submit('work');
	SELECT test.spoil('work', id, 'none') FROM onceq.jobs('work', 'ready') LIMIT 1;
	SELECT count(*) FROM onceq.audit('work')";

# Each step in a session of its own that has the fault armed, so that those that hit it stand alone.
sub run_faulty_session
{
	my ($node, $fault) = @_;
	my $hits = 0;
	for my $step (@steps, $fault =~ / at audit:/ ? $spoiling : ())
	{
		my $offset = -s $node->logfile;
		my ($result, $stdout, $stderr) =
		  $node->psql('postgres', "SET client_min_messages = log; SET onceq.fault = '$fault';\n$step;", on_error_stop => 0);
		my $lost = $stderr =~ /connection to server was lost|server closed the connection/;
		$hits++ if $lost || $stderr =~ /fault at/;
		wait_until_restarted($node, $offset) if $lost && $fault =~ /^kill/;
	}
	ok($hits > 0, "$fault: met $hits times");
	return;
}

# Runs the statement as often as it takes: a worker that is killed takes all sessions with it.
sub insist
{
	my ($node, $sql) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while ($node->psql('postgres', $sql) != 0)
	{
		die "never succeeded: $sql" if time > $deadline;
		select(undef, undef, undef, 0.1);
	}
	return;
}

# So that a board is built whose jobs somebody may have had in hand.
sub restart_uncleanly
{
	my ($node) = @_;
	insist($node, "SELECT test.submit_many('work', 30)");
	$node->stop('immediate');
	$node->start;
	return insist($node, "SELECT count(*) FROM onceq.jobs('work')");
}

# The same load with the fault armed in the worker for a while.
sub run_faulty_worker
{
	my ($node, $fault) = @_;
	my $restart = "SELECT pg_terminate_backend(pid) FROM onceq.workers WHERE database = 'postgres'";
	insist($node, "ALTER ROLE onceq_worker SET onceq.fault = '$fault'");
	my $offset = -s $node->logfile;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $met = $fault =~ /^kill/ ? qr/terminated by signal 9/ : qr/fault at "/;
	insist($node, $restart);
	do
	{
		$node->psql('postgres', "$_;", on_error_stop => 0) for @steps;
		restart_uncleanly($node) if $fault =~ / at spread:/;
	} until slurp_file($node->logfile, $offset) =~ $met || time > $deadline;
	like(slurp_file($node->logfile, $offset), $met, "$fault: met");
	insist($node, 'ALTER ROLE onceq_worker RESET onceq.fault');
	my $reset = Time::HiRes::time();
	insist($node, $restart);
	# The one with the fault may be killed by it while it ends, which restarts the server once more.
	$node->poll_query_until('postgres', qq{
		SELECT count(*) > 0 FROM onceq.workers w JOIN pg_stat_activity USING (pid)
		WHERE w.database = 'postgres' AND w.state = 'running' AND backend_start > to_timestamp($reset)})
	  or die 'no other worker';
	return;
}

sub nothing_lost
{
	my ($node, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	insist($node, "SELECT count(*) FROM onceq.audit('work')");
	is(query($node, q{
			SELECT count(*) <= 1 FROM onceq.jobs('work', count => 10000)
			WHERE state IN ('scheduled', 'ready', 'running') AND payload::int IN (SELECT k FROM test.keyed)}),
		't', "$what: at most one job of a unique key is unfinished");
	insist($node, "SELECT onceq.redrive('work')");
	my $drained = $node->poll_query_until('postgres', q{
		SELECT test.work(1000) IS NOT NULL
			AND (SELECT sum(ready + scheduled + running) = 0 FROM onceq.queue_stats WHERE queue = 'work')});
	ok($drained, "$what: everything drains");
	is(query($node, q{
			SELECT count(*) FILTER (WHERE e.n IS NULL) || ' lost, ' || count(*) FILTER (WHERE e.n > 1)
				|| ' twice, ' || count(*) FILTER (WHERE s.k IS NULL) || ' from nowhere'
			FROM (SELECT k FROM test.submitted WHERE queue = 'work') s
			FULL JOIN (SELECT k, count(*) AS n FROM test.effect GROUP BY k) e USING (k)}),
		'0 lost, 0 twice, 0 from nowhere', "$what: each effect once");
	is(query($node, q{
			SELECT (SELECT count(*) FROM onceq.audit('work')) || ' ' || (SELECT count(*) FROM onceq.audit('purged'))
				|| ' ' || (SELECT count(*) FROM onceq.leases)}),
		'0 0 0', "$what: the audit is empty and no lease is left");
	is(query($node, q{
			SELECT (SELECT coalesce(sum(ready), 0) FROM onceq.queue_stats WHERE queue = 'purged')
				= (SELECT count(*) FROM test.submitted WHERE queue = 'purged')}),
		't', "$what: a purge is whole or nothing");
	# Of a copy that fails the job's death takes no notice.
	my $as_many = $what =~ /^dead letter/ ? '<=' : '=';
	is(query($node, qq{
			WITH purged AS (SELECT onceq.purge_queue('graves') AS copies), rejected AS (DELETE FROM test.rejected RETURNING k)
			SELECT (SELECT sum(copies) FROM purged) $as_many (SELECT count(*) FROM rejected)}),
		't', "$what: a copy of each that died");
	return;
}

1;
