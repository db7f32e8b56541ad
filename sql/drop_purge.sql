-- drop_queue and purge_queue are part of the transaction that calls them, and count what they do.
SELECT onceq.create_queue('drop');
CREATE FUNCTION drop_fill(n int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM onceq.enqueue_many('drop', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, n) i)) $$;
CREATE VIEW drop_states AS SELECT state, count(*) FROM onceq.jobs('drop', count => 10000) GROUP BY state ORDER BY state;

-- ---- drop

SELECT drop_fill(3);
SELECT min(token) AS token FROM onceq.claim('drop') \gset
BEGIN;
SELECT onceq.drop_queue('drop');
SELECT count(*) FROM onceq.queues WHERE queue = 'drop';
SAVEPOINT s;
SELECT onceq.enqueue('drop', '1');
ROLLBACK TO s;
SELECT * FROM onceq.claim('drop');
ROLLBACK;
-- rolled back: queue, jobs and lease are as before
SELECT * FROM drop_states;
SELECT onceq.ack(:token);
SELECT payload FROM onceq.claim('drop', 2);

-- committed: everything is gone, the name is free, and a new queue knows nothing of the old one
SELECT drop_fill(2);
SELECT min(token) AS token FROM onceq.claim('drop') \gset
SELECT onceq.drop_queue('drop');
SELECT count(*) FROM onceq.queues WHERE queue = 'drop';
SELECT count(*) FROM onceq.leases WHERE queue = 'drop';
SELECT count(*) FROM onceq.queue_stats WHERE queue = 'drop';
\set VERBOSITY sqlstate
SELECT onceq.ack(:token);
SELECT onceq.drop_queue('drop');
SELECT onceq.purge_queue('drop');
\set VERBOSITY default
SELECT onceq.drop_queue('drop', if_exists => true);
SELECT onceq.create_queue('drop');
SELECT * FROM drop_states;
SELECT count(*) FROM onceq.claim('drop');
SELECT enqueued, claims, cancelled FROM onceq.queue_stats WHERE queue = 'drop';

-- made and dropped in one transaction
BEGIN;
SELECT onceq.create_queue('drop.new');
SELECT onceq.enqueue('drop.new', '1') > 0;
SELECT onceq.drop_queue('drop.new');
COMMIT;
SELECT count(*) FROM onceq.queues WHERE queue = 'drop.new';
BEGIN;
SELECT onceq.create_queue('drop.new');
SELECT onceq.drop_queue('drop.new');
SELECT onceq.create_queue('drop.new', max_attempts => 2);
SELECT onceq.enqueue('drop.new', '"second"') > 0;
ROLLBACK;
SELECT count(*) FROM onceq.queues WHERE queue = 'drop.new';
BEGIN;
SELECT onceq.create_queue('drop.new');
SELECT onceq.enqueue('drop.new', '"first"') > 0;
SELECT onceq.drop_queue('drop.new');
SELECT onceq.create_queue('drop.new', max_attempts => 2);
SELECT onceq.enqueue('drop.new', '"second"') > 0;
COMMIT;
SELECT payload FROM onceq.claim('drop.new', 10);

-- dropped, made anew and filled in one transaction
BEGIN;
SELECT onceq.drop_queue('drop.new'), onceq.create_queue('drop.new', max_attempts => 5);
SELECT count(*) FROM onceq.enqueue_many('drop.new', '{3,4}');
COMMIT;
SELECT payload, max_attempts FROM onceq.jobs('drop.new');
SELECT onceq.drop_queue('drop.new', false);

-- its tables go when the worker comes round, and nothing else keeps them
CREATE PROCEDURE drop_wait(wanted bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		CALL onceq.maintain();
		COMMIT;
		EXIT WHEN (SELECT count(*) FROM onceq.queue WHERE dropped_at IS NOT NULL) = wanted;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CALL drop_wait(0);
SELECT count(*) AS dropped_queues FROM onceq.queue WHERE dropped_at IS NOT NULL;
SELECT count(*) AS stray_tables FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace AND relkind = 'r'
	AND substring(relname FROM '^[a-z](\d+)')::int NOT IN (SELECT id FROM onceq.queue);
SELECT count(*) AS stray_rows FROM (SELECT queue_id FROM onceq.segment UNION ALL SELECT queue_id FROM onceq.id_ceiling
	UNION ALL SELECT queue_id FROM onceq.lease_journal) x WHERE queue_id NOT IN (SELECT id FROM onceq.queue);

-- many queues, made and dropped again and again
DO $$
BEGIN
	FOR i IN 1 .. 20 LOOP
		PERFORM onceq.create_queue('drop.many');
		PERFORM onceq.enqueue('drop.many', '1');
		COMMIT;
		IF (SELECT count(*) FROM onceq.claim('drop.many', 10)) <> 1 THEN
			RAISE 'round %', i;
		END IF;
		PERFORM onceq.drop_queue('drop.many');
		COMMIT;
	END LOOP;
END $$;
CALL drop_wait(0);

-- ---- purge

SELECT onceq.purge_queue('drop');
SELECT drop_fill(10);
SELECT onceq.enqueue('drop', '11', priority => 9) > 0, onceq.enqueue('drop', '12', delay => '1 h') > 0;
SELECT min(token) AS token FROM onceq.claim('drop', 4) \gset
SELECT onceq.nack(token, id, 'no', '1 h') IS NULL AS dead FROM onceq.claim('drop');
BEGIN;
SELECT onceq.purge_queue('drop');
SELECT onceq.purge_queue('drop');
SELECT count(*) FROM onceq.claim('drop', 10);
ROLLBACK;
SELECT * FROM drop_states;
SELECT onceq.purge_queue('drop');
SELECT * FROM drop_states;
SELECT count(*) FROM onceq.claim('drop', 10);
-- running jobs went on, and can end in every way
SELECT onceq.ack(:token);
SELECT * FROM drop_states;
SELECT cancelled FROM onceq.queue_stats WHERE queue = 'drop';
-- a purged job stays purged, what it was: not dead, not to be claimed, finished
SELECT payload, attempt, result, finished_at IS NOT NULL AS finished, due_at FROM onceq.jobs('drop', state => 'cancelled') ORDER BY id LIMIT 2;
SELECT * FROM onceq.audit('drop');

-- holes: every other job is running
SELECT onceq.drop_queue('drop'), onceq.create_queue('drop');
SELECT count(onceq.enqueue('drop', to_jsonb(i), priority => i % 2)) FROM generate_series(1, 200) i;
SELECT count(*) FROM onceq.claim('drop', 100);
SELECT onceq.purge_queue('drop');
SELECT * FROM drop_states;
SELECT count(*) FROM onceq.jobs('drop', count => 1000) WHERE (state = 'running') = ((payload #>> '{}')::int % 2 = 1);

-- many
SELECT onceq.drop_queue('drop'), onceq.create_queue('drop');
SELECT sum(n) FROM (SELECT drop_fill(10000) AS n FROM generate_series(1, 5)) x;
BEGIN;
SELECT onceq.purge_queue('drop');
ROLLBACK;
SELECT ready FROM onceq.queue_stats WHERE queue = 'drop';
SELECT onceq.purge_queue('drop');
SELECT ready, cancelled FROM onceq.queue_stats WHERE queue = 'drop';
SELECT * FROM onceq.audit('drop');

SELECT onceq.drop_queue('drop');
DROP VIEW drop_states;
DROP FUNCTION drop_fill;
DROP PROCEDURE drop_wait;
