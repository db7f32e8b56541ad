-- What users see of jobs, queues and leases is what became of them, in every state a job can be in.
SELECT onceq.create_queue('look', max_attempts => 2, backoff_base => '1 h', backoff_jitter => 0, lease => '10 min'), onceq.create_queue('look.empty');

-- ---- one job in each state

SELECT onceq.enqueue('look', '"cancelled"', delay => '2 h') AS cancelled \gset
SELECT onceq.purge_queue('look');
SELECT onceq.enqueue('look', '"succeeded"', headers => '{"h": 1}') AS succeeded, onceq.enqueue('look', '"dead"', priority => 4) AS dead,
	onceq.enqueue('look', '"failed"', priority => 3) AS failed, onceq.enqueue('look', '"running"', priority => 2) AS running \gset
SELECT onceq.reject(token, id, 'broken') FROM onceq.claim('look', worker => 'w-dead');
SELECT onceq.nack(token, id, 'try later') IS NULL AS dead FROM onceq.claim('look', worker => 'w-failed');
SELECT token AS lease FROM onceq.claim('look', worker => 'w-running') \gset
SELECT onceq.ack(token, id, '{"answer": 42}') FROM onceq.claim('look', worker => 'w-succeeded');
SELECT count(*) FROM onceq.claim('look');
SELECT onceq.enqueue('look', '"ready"') AS ready, onceq.enqueue('look', '"scheduled"', run_at => now() + '3 h', max_attempts => 9, priority => 7) AS scheduled \gset

SELECT payload #>> '{}' AS job, state, priority, attempt, max_attempts, result, error, headers, queue,
	worker
FROM onceq.jobs('look');
SELECT payload #>> '{}' AS job, enqueued_at <= clock_timestamp() AS enqueued, due_at > clock_timestamp() AS later, due_at - enqueued_at > '59 min' AS much_later,
	claimed_at >= enqueued_at AS claimed, lease_until - claimed_at BETWEEN '9 min 59 s' AND '10 min 1 s' AS lease, finished_at >= enqueued_at AS finished FROM onceq.jobs('look');

-- job() shows the same, and nothing for what is no job
SELECT count(*) AS different FROM onceq.jobs('look') j, LATERAL onceq.job('look', j.id) k
WHERE (j.queue, j.id, j.state, j.priority, j.attempt, j.max_attempts, j.enqueued_at, j.due_at, j.finished_at, j.worker, j.result, j.error, j.payload, j.headers)
	IS DISTINCT FROM (k.queue, k.id, k.state, k.priority, k.attempt, k.max_attempts, k.enqueued_at, k.due_at, k.finished_at, k.worker, k.result, k.error, k.payload, k.headers);
SELECT (onceq.job('look', :running)).state, (onceq.job('look', :dead)).error;
SELECT count(*) FILTER (WHERE j.id IS NOT NULL) FROM unnest(ARRAY[0, -1, 1000000, 9223372036854775807, -9223372036854775808]) id, LATERAL onceq.job('look', id) j;
SELECT onceq.job('look', 0) IS NULL AS "null", onceq.job('look.empty', 1) IS NULL AS "null";

-- ---- by state, in pages

SELECT state, (SELECT string_agg(payload #>> '{}', ' ' ORDER BY id) FROM onceq.jobs('look', state => s.state)) AS jobs
FROM unnest(ARRAY['scheduled', 'ready', 'running', 'succeeded', 'dead', 'cancelled']) s (state);
SELECT payload FROM onceq.jobs('look', after_id => :dead, count => 2);
SELECT payload FROM onceq.jobs(queue => 'look', state => 'scheduled', after_id => :failed, count => 1);
SELECT count(*) FROM onceq.jobs('look', after_id => :scheduled);
SELECT count(*) FROM onceq.jobs('look', after_id => -9223372036854775808), onceq.jobs('look.empty') e;
SELECT count(*) FROM onceq.jobs('look', after_id => 9223372036854775807);
SELECT count(*) FROM unnest(ARRAY['scheduled', 'ready', 'running', 'dead']) s (state), LATERAL onceq.jobs('look', s.state, after_id => 9223372036854775807);
SELECT count(*) FROM onceq.jobs('look.empty');

-- many jobs, page by page: each once, in the order of ids
SELECT count(*) FROM onceq.enqueue_many('look.empty', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 3000) i));
SELECT sum(onceq.ack(token, id)) FROM onceq.claim('look.empty', 1000) WHERE id % 2 = 0;
CREATE TABLE look_pages (page int, id bigint, state text);
DO $$
DECLARE
	after bigint := 0;
	got int;
BEGIN
	FOR page IN 1 .. 100 LOOP
		INSERT INTO look_pages SELECT page, id, state FROM onceq.jobs('look.empty', after_id => after, count => 123);
		GET DIAGNOSTICS got = ROW_COUNT;
		EXIT WHEN got = 0;
		after := (SELECT max(id) FROM look_pages);
	END LOOP;
END $$;
SELECT count(*), count(DISTINCT id), count(DISTINCT page) AS pages FROM look_pages;
SELECT state, count(*) FROM look_pages GROUP BY state ORDER BY state;
SELECT count(*) FROM onceq.jobs('look.empty', state => 'running', count => 10000);
SELECT count(*) FROM onceq.jobs('look.empty', state => 'succeeded', count => 10000);
SELECT count(*) FROM onceq.jobs('look.empty');

-- ---- queue_stats, leases

SELECT queue, ready, scheduled, running, enqueued, claims, delivered, succeeded, failed, dead, cancelled, released, expired, oldest_ready_age > '0' AS aged
FROM onceq.queue_stats WHERE queue LIKE 'look%' ORDER BY queue;
SELECT onceq.release(:lease);
SELECT onceq.drop_queue('look.empty'), onceq.create_queue('look.empty');
SELECT ready, running, released, oldest_ready_age IS NOT NULL AS aged FROM onceq.queue_stats WHERE queue LIKE 'look%' ORDER BY queue;
SELECT count(*) FROM onceq.claim('look', 2, worker => 'l1', lease => '1 h', hold => 'session');
SELECT queue, worker, role = current_user AS mine, pid = pg_backend_pid() AS here, hold, state, jobs, claimed_at < clock_timestamp() AS claimed, expires_in BETWEEN '59 min' AND '1 h' AS expires
FROM onceq.leases WHERE queue LIKE 'look%';

-- a queue whose table of privileges is gone, as it is for a moment when a queue is dropped, keeps no other from view
CREATE ROLE regress_look_stranger;
BEGIN;
DO $$ BEGIN EXECUTE format('DROP TABLE %s', (SELECT privileges FROM onceq.queues WHERE queue = 'look.empty')); END $$;
SELECT queue FROM onceq.queue_stats WHERE queue LIKE 'look%' ORDER BY queue;
GRANT SELECT ON onceq.queue_stats TO regress_look_stranger;
SET LOCAL ROLE regress_look_stranger;
SELECT queue FROM onceq.queue_stats WHERE queue LIKE 'look%';
ROLLBACK;
DROP ROLE regress_look_stranger;

-- within the transaction: what others do not see yet is not shown as done
BEGIN;
SELECT onceq.enqueue('look', '"uncommitted"') AS uncommitted \gset
SELECT (onceq.job('look', :uncommitted)).payload;
ROLLBACK;
SELECT onceq.job('look', :uncommitted) IS NULL AS "null";

-- ---- attempts over a job's life

SELECT onceq.drop_queue('look'), onceq.create_queue('look', max_attempts => 3, backoff_base => '0');
SELECT onceq.enqueue('look', '"life"') AS id \gset
CREATE FUNCTION look_at(bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', state, attempt || '/' || max_attempts, 'worker=' || worker, 'error=' || error, 'due=' || (due_at > clock_timestamp())) FROM onceq.job('look', $1) $$;
SELECT look_at(:id);
SELECT token FROM onceq.claim('look', worker => 'a') \gset
SELECT look_at(:id);
SELECT onceq.nack(:token, :id, 'e1', '1 ms') IS NULL AS dead;
CREATE PROCEDURE look_wait(job bigint, wanted text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN (SELECT state FROM onceq.job('look', job)) = wanted;
		CALL onceq.recover();
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CALL look_wait(:id, 'ready');
SELECT look_at(:id);
SELECT token FROM onceq.claim('look', worker => 'b', lease => '100 ms') \gset
CALL look_wait(:id, 'ready');
SELECT look_at(:id);
SELECT token FROM onceq.claim('look', worker => 'c') \gset
SELECT look_at(:id);
SELECT onceq.nack(:token, :id, 'e3') IS NULL AS dead;
SELECT look_at(:id);
SELECT failed, dead, expired, delivered FROM onceq.queue_stats WHERE queue = 'look';

-- a job whose time came while its transaction was open is ready at its commit, and for the audit, too
BEGIN;
SELECT onceq.enqueue('look', '"due"', delay => '1 ms') > 0 AS enqueued;
SELECT pg_sleep(0.002) IS NOT NULL AS due;
COMMIT;
SELECT board, stored FROM onceq.audit('look');

SELECT onceq.drop_queue('look'), onceq.drop_queue('look.empty');
DROP TABLE look_pages;
DROP FUNCTION look_at;
DROP PROCEDURE look_wait;
