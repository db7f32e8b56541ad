-- The three forms of ack: the whole lease, one job with a result, some jobs. They count what they end, end a
-- job once, take effect at commit, and keep results. What is not in the lease any more is OQ001.
SELECT onceq.create_queue('ack');
CREATE FUNCTION ack_fill(n int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM onceq.enqueue_many('ack', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, n) i)) $$;
CREATE FUNCTION ack_id(p int) RETURNS bigint LANGUAGE sql AS $$
	SELECT max(id) FROM onceq.jobs('ack', count => 10000) WHERE payload = to_jsonb(p) $$;
CREATE VIEW ack_states AS SELECT state, count(*), min(attempt) AS attempt FROM onceq.jobs('ack', count => 10000) GROUP BY state ORDER BY state;

-- ---- the whole lease

SELECT ack_fill(3);
SELECT min(token) AS token FROM onceq.claim('ack', 3) \gset
SELECT onceq.ack(:token);
SELECT * FROM ack_states;
\set VERBOSITY sqlstate
SELECT onceq.ack(:token);
SELECT onceq.ack(:token, ack_id(1));
SELECT onceq.ack(:token, ARRAY[ack_id(1)]);
\set VERBOSITY default
SELECT * FROM ack_states;

-- ---- one job, with a result

SELECT ack_fill(4);
SELECT min(token) AS token FROM onceq.claim('ack', 4) \gset
SELECT onceq.ack(:token, ack_id(2), '{"sent": true}');
SELECT onceq.ack(token => :token, id => ack_id(3), result => NULL);
SELECT onceq.ack(:token, ack_id(4), 'null');
SELECT payload, state, result, finished_at >= enqueued_at AS finished, attempt, worker, lease_until > clock_timestamp() AS leased, due_at
FROM onceq.jobs('ack') ORDER BY id DESC LIMIT 4;
\set VERBOSITY sqlstate
SELECT onceq.ack(:token, ack_id(2), '"again"');
\set VERBOSITY default
SELECT onceq.ack(:token);

-- ---- some jobs; a job named twice counts once; no job is none

SELECT ack_fill(6);
SELECT min(token) AS token FROM onceq.claim('ack', 6) \gset
SELECT onceq.ack(:token, ARRAY[ack_id(5), ack_id(1), ack_id(2), ack_id(5)]);
SELECT onceq.ack(:token, ids => '{}');
SELECT onceq.ack(:token, ARRAY[[ack_id(3)], [ack_id(4)]]);
\set VERBOSITY sqlstate
-- all or none: one of them was acked before, or is no job of this lease
SELECT onceq.ack(:token, ARRAY[ack_id(6), ack_id(1)]);
SELECT onceq.ack(:token, ARRAY[ack_id(6), 0]);
SELECT onceq.ack(:token, ARRAY[ack_id(6), ack_id(6) + 1]);
\set VERBOSITY default
SELECT onceq.ack(:token);
SELECT * FROM ack_states;

-- ---- what was asked for counts within the transaction, and for nobody else before it commits

SELECT ack_fill(3);
SELECT min(token) AS token FROM onceq.claim('ack', 3) \gset
BEGIN;
SELECT onceq.ack(:token, ack_id(1));
SELECT onceq.ack(:token);
SELECT onceq.ack(:token);
SELECT state, jobs FROM onceq.leases WHERE queue = 'ack';
ROLLBACK;
SELECT state, jobs FROM onceq.leases WHERE queue = 'ack';
SELECT onceq.ack(:token);
SELECT count(*) FROM onceq.leases WHERE queue = 'ack';

-- claimed and acked in one statement, and in one transaction
SELECT ack_fill(5);
SELECT onceq.ack(token, id) FROM onceq.claim('ack', 2);
SELECT sum(onceq.ack(token, id, payload)) FROM onceq.claim('ack', 2);
BEGIN;
SELECT token FROM onceq.claim('ack') \gset
SELECT onceq.ack(:token);
COMMIT;
SELECT * FROM ack_states;

-- ---- a lease with holes: jobs of different priorities and attempts

SELECT count(onceq.enqueue('ack', to_jsonb(i), priority => i % 3, delay => CASE WHEN i % 10 = 0 THEN interval '1 h' END)) FROM generate_series(1, 100) i;
SELECT count(*), min(token) AS token, max(token) - min(token) AS tokens FROM onceq.claim('ack', 100) \gset
SELECT :count AS claimed, :tokens AS tokens;
SELECT onceq.nack(:token, ack_id(50 + i), retry_in => '0') IS NULL AS dead FROM generate_series(1, 3) i;
SELECT onceq.ack(:token);
SELECT token FROM onceq.claim('ack', 10) LIMIT 1 \gset
SELECT onceq.ack(:token);
SELECT * FROM ack_states;
SELECT * FROM onceq.audit('ack');
SELECT enqueued - succeeded AS late, failed FROM onceq.queue_stats WHERE queue = 'ack';

SELECT onceq.drop_queue('ack');
DROP VIEW ack_states;
DROP FUNCTION ack_fill, ack_id;
