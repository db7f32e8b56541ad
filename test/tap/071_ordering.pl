# Jobs with an ordering key run in order, one at a time, however many claim at once, and however many attempts
# fail, are released or roll back; across a crash too, also where a job was in hand or the lease was kept; and all
# of them run. What a job did is written where its effect is: in the transaction of its ack.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('ordering', 'onceq.worker_naptime' => 50, 'onceq.lease_journal_after' => "'50 ms'",
	'onceq.suspicion_window' => 0, autovacuum => 'off');
my ($keys, $jobs) = (20, 800);

query($node, q{
	SELECT onceq.create_queue('work', lease => '5 s', backoff_base => '1 ms', max_attempts => 1000);
	CREATE TABLE runs (n bigserial, key text, id bigint, began timestamptz, ended timestamptz);
	CREATE FUNCTION enqueue_some(keyed float8) RETURNS bigint LANGUAGE sql AS
		$$ SELECT count(onceq.enqueue('work', '1', ordering_key => CASE WHEN random() < keyed THEN 'k' || (random() * } . ($keys - 1) . q{)::int END,
			priority => (random() * 9)::int)) FROM generate_series(1, 10) $$;
	CREATE FUNCTION work() RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		job record;
		dice float8;
		began timestamptz;
		done int := 0;
	BEGIN
		FOR job IN SELECT * FROM onceq.claim('work', 1 + (random() * 5)::int)
		LOOP
			began := coalesce(began, clock_timestamp());
			done := done + 1;
			dice := random();
			CASE
			WHEN dice < 0.1 THEN PERFORM onceq.nack(job.token, job.id);
			WHEN dice < 0.2 THEN PERFORM onceq.release(job.token, job.id);
			WHEN dice < 0.22 THEN RAISE 'rolled back';
			ELSE
				PERFORM onceq.ack(job.token, job.id);
				INSERT INTO runs (key, id, began, ended) VALUES (job.ordering_key, job.id, began, clock_timestamp());
			END CASE;
		END LOOP;
		RETURN done;
	EXCEPTION WHEN raise_exception THEN RETURN 1;
	END $$;
});

sub enqueue_all
{
	my ($name, $keyed) = @_;
	$node->pgbench('--no-vacuum --client=4 --transactions=' . (int($jobs / 40)), 0, [qr/processed/], [qr/^$/], 'enqueue',
		{ $name => "SELECT enqueue_some($keyed)" });
	return;
}

sub drain_all
{
	return $node->poll_query_until('postgres', q{
		SELECT sum(work()) IS NOT NULL AND (SELECT ready + scheduled + running + blocked = 0 FROM onceq.queue_stats WHERE queue = 'work')
		FROM generate_series(1, 50)});
}

sub in_order_is
{
	my ($what) = @_;
	is( query($node, q{
			SELECT count(*) FROM (SELECT id < max(id) OVER (PARTITION BY key ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS wrong
				FROM runs WHERE key IS NOT NULL) r WHERE wrong}),
		0, "$what: each key in order");
	is(query($node, q{
			SELECT count(*) FROM runs a JOIN runs b USING (key) WHERE a.id < b.id AND a.ended > b.began}),
		0, "$what: one at a time");
	return;
}

# ---- many at once

enqueue_all('first', 0.9);
$node->pgbench('--no-vacuum --client=6 --transactions=150', 0, [qr/processed/], [qr/^$/], 'six sessions work',
	{ 'ordering_work' => 'SELECT work()' });
ok(drain_all(), 'all of them run');
is(query($node, 'SELECT count(*), count(DISTINCT id) FROM runs'), "$jobs|$jobs", 'each once');
in_order_is('at once');
audit_is_empty($node, 'work', 'at once');

# ---- a crash, with a backlog, jobs in hand, some of them in leases that are kept

query($node, 'TRUNCATE runs');
enqueue_all('second', 1);    # each job that is claimed next has a key
query($node, "SELECT work() FROM generate_series(1, 40)");
query($node, "CREATE TABLE kept AS SELECT token, id, ordering_key AS key FROM onceq.claim('work', 8, lease => '1 h')");
$node->poll_query_until('postgres', "SELECT bool_and(journalled) FROM onceq.leases WHERE jobs = (SELECT count(*) FROM kept)") or die 'leases are not journalled';
query($node, "SELECT count(*) FROM onceq.claim('work', 5)");
kill_postmaster($node);
$node->poll_query_until('postgres', q{
		SELECT sum(work()) IS NOT NULL AND (SELECT max(id) FROM runs) > 0
			AND (SELECT ready + scheduled = 0 FROM onceq.queue_stats WHERE queue = 'work')
		FROM generate_series(1, 20)}) or die 'it does not drain';
is(query($node, 'SELECT count(DISTINCT key) > 2 FROM kept'), 't', 'a lease with jobs of some keys was kept');
is(query($node, 'SELECT count(*) FROM runs r JOIN kept k USING (key) WHERE r.id > k.id'), 0, 'their keys are busy');
isnt(query($node, "SELECT blocked FROM onceq.queue_stats WHERE queue = 'work'"), 0, 'and its other jobs wait');
query($node, 'SELECT onceq.release(min(token)) FROM kept');
ok(drain_all(), 'all of them run');
is(query($node, 'SELECT count(*), count(DISTINCT id) FROM runs'), "$jobs|$jobs", 'each once');
in_order_is('across a crash');
audit_is_empty($node, 'work', 'across a crash');

# ---- a dead job blocks its key across a restart, a cancelled one does not

query($node, q{SELECT onceq.create_queue('dead', max_attempts => 1); SELECT count(onceq.enqueue('dead', to_jsonb(i), ordering_key => 'k' || i % 2)) FROM generate_series(1, 6) i});
query($node, q{SELECT onceq.reject(token, id) FROM onceq.claim('dead', 2)});
is(query($node, q{SELECT count(*) FROM onceq.claim('dead', 9)}), 0, 'dead jobs block their keys');
kill_postmaster($node);
is(query($node, q{SELECT count(*) FROM onceq.claim('dead', 9)}), 0, 'also after a crash');
audit_is_empty($node, 'dead', 'dead');
is(query($node, q{SELECT string_agg(state, ' ' ORDER BY id) FROM onceq.jobs('dead')}), 'dead dead ready ready ready ready', 'they are dead');
query($node, q{SELECT onceq.cancel('dead', id) FROM onceq.jobs('dead', state => 'dead') LIMIT 1});
$node->restart;
is(query($node, q{SELECT string_agg(payload #>> '{}', ' ') FROM onceq.claim('dead', 9)}), '3', 'a cancelled one lets the next go');

log_is_clean($node);
done_testing();
