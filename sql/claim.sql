-- A claim is evaluated once, in FROM, and nowhere else; whatever is done with its rows afterwards, all the
-- jobs it took are in the lease, and none is taken twice or forgotten. Twelve shapes of the call and more.
SELECT onceq.create_queue('claim');
CREATE FUNCTION claim_fill(n int) RETURNS void LANGUAGE sql AS $$
	SELECT onceq.purge_queue('claim');
	SELECT onceq.enqueue_many('claim', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, n) i)) $$;
-- What is left over, what is running; and then everything is made undone.
CREATE FUNCTION claim_rest(OUT ready bigint, OUT running bigint) LANGUAGE plpgsql AS $$
BEGIN
	SELECT s.ready, s.running INTO ready, running FROM onceq.queue_stats s WHERE queue = 'claim';
	PERFORM onceq.drop_queue('claim'), onceq.create_queue('claim');
END $$;

-- ---- what a claim gives

SELECT claim_fill(3);
SELECT token AS first FROM onceq.claim('claim') \gset
SELECT id > 0 AS id, token > 0 AS token, token <> :first AS new_token, attempt, payload, headers, priority,
	enqueued_at < clock_timestamp() AS enqueued_at,
	lease_until - clock_timestamp() BETWEEN '20 s' AND '30 s' AS lease_until
FROM onceq.claim('claim');
SELECT count(*) FROM onceq.claim('claim', 1000);
SELECT * FROM onceq.claim('claim');
SELECT * FROM claim_rest();

-- one token for all the jobs of a call
SELECT claim_fill(5);
SELECT count(*), count(DISTINCT token) AS tokens, count(DISTINCT id) AS ids, min(lease_until) = max(lease_until) AS one_deadline
FROM onceq.claim(queue => 'claim', count => 4, lease => '1 h', worker => 'w1', hold => 'time');
SELECT worker, jobs, hold, state, role, expires_in BETWEEN '59 min' AND '1 h' AS expires_in FROM onceq.leases WHERE queue = 'claim';
SELECT * FROM claim_rest();

-- ---- the shapes

-- 1. FROM
SELECT claim_fill(3);
SELECT payload FROM onceq.claim('claim', 2);
SELECT * FROM claim_rest();

-- 2. LATERAL: once for each row that it depends on; once, if it depends on none
SELECT claim_fill(5);
SELECT n, payload FROM generate_series(1, 2) n, LATERAL onceq.claim('claim', n) c ORDER BY n, payload;
SELECT * FROM claim_rest();
SELECT claim_fill(5);
SELECT n, payload FROM generate_series(1, 3) n, onceq.claim('claim', 1) c ORDER BY n;
SELECT * FROM claim_rest();

-- 3. a FOR loop in PL/pgSQL, also one that is left early
SELECT claim_fill(5);
DO $$
DECLARE job record;
BEGIN
	FOR job IN SELECT * FROM onceq.claim('claim', 3) LOOP
		RAISE NOTICE 'job %', job.payload;
		EXIT;
	END LOOP;
END $$;
SELECT * FROM claim_rest();

-- 4. a cursor: claims at the first FETCH, all of it; without FETCH nothing; WITH HOLD at COMMIT
SELECT claim_fill(5);
BEGIN;
DECLARE claim_idle CURSOR FOR SELECT payload FROM onceq.claim('claim', 2);
DECLARE claim_cursor CURSOR FOR SELECT payload FROM onceq.claim('claim', 2);
FETCH 1 FROM claim_cursor;
FETCH 5 FROM claim_cursor;
CLOSE claim_cursor;
COMMIT;
BEGIN;
DECLARE claim_hold SCROLL CURSOR WITH HOLD FOR SELECT payload FROM onceq.claim('claim', 2);
COMMIT;
FETCH ALL FROM claim_hold;
FETCH FIRST FROM claim_hold;
CLOSE claim_hold;
SELECT * FROM claim_rest();

-- 5. CTE: once, however often it is named; not at all if it is not named
SELECT claim_fill(5);
WITH c AS (SELECT * FROM onceq.claim('claim', 2)) SELECT a.payload, b.payload FROM c a JOIN c b USING (id) ORDER BY 1;
WITH c AS (SELECT * FROM onceq.claim('claim', 2)) SELECT 'nothing';
WITH c AS NOT MATERIALIZED (SELECT * FROM onceq.claim('claim')) SELECT count(*) FROM c a, c b;
SELECT * FROM claim_rest();

-- 6. prepared, with a custom and with a generic plan
SELECT claim_fill(9);
PREPARE claim_prepared(text, int) AS SELECT payload FROM onceq.claim($1, $2);
EXECUTE claim_prepared('claim', 2);
SET plan_cache_mode = force_generic_plan;
EXECUTE claim_prepared('claim', 2);
RESET plan_cache_mode;
SELECT * FROM claim_rest();

-- 7. (claim()).* would claim once per column: refused
SELECT claim_fill(3);
SELECT (onceq.claim('claim')).*;
SELECT (c).payload FROM (SELECT onceq.claim('claim') AS c OFFSET 0) x;

-- 8. the select list: refused
SELECT onceq.claim('claim');
SELECT n, onceq.claim('claim') FROM generate_series(1, 2) n;
SELECT onceq.ack_and_claim(NULL, 'claim');
DO $$ BEGIN PERFORM onceq.claim('claim'); END $$;
\set VERBOSITY sqlstate
CALL onceq.claim('claim');
\set VERBOSITY default
SELECT * FROM claim_rest();

-- 9. JOIN: outer and inner, with a table that drops rows
SELECT claim_fill(4);
CREATE TABLE claim_odd AS SELECT to_jsonb(i) AS payload FROM generate_series(1, 9, 2) i;
SELECT payload FROM onceq.claim('claim', 4) JOIN claim_odd USING (payload) ORDER BY 1;
SELECT * FROM claim_rest();
SELECT claim_fill(4);
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT count(*) FROM claim_odd LEFT JOIN onceq.claim('claim', 4) USING (payload);
RESET ALL;
SELECT * FROM claim_rest();

-- 10. LIMIT, WHERE, DISTINCT, ORDER BY around it: all that was claimed is in the lease
SELECT claim_fill(9);
SELECT token FROM onceq.claim('claim', 4) LIMIT 1 \gset
SELECT onceq.ack(:token);
SELECT count(*) FROM onceq.claim('claim', 2) WHERE payload = '0';
SELECT DISTINCT priority FROM onceq.claim('claim', 2) ORDER BY 1;
SELECT payload FROM onceq.claim('claim', 2) LIMIT 0;
SELECT payload FROM onceq.claim('claim', 2) WHERE false;
SELECT * FROM claim_rest();

-- 11. in a function, a view, a subquery, CREATE TABLE AS, INSERT, UPDATE
SELECT claim_fill(10);
CREATE FUNCTION claim_one() RETURNS jsonb LANGUAGE sql AS $$ SELECT payload FROM onceq.claim('claim') $$;
CREATE FUNCTION claim_some(n int) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY SELECT payload FROM onceq.claim('claim', n); END $$;
CREATE VIEW claim_view AS SELECT payload FROM onceq.claim('claim');
SELECT claim_one(), claim_one();
SELECT claim_some(2);
SELECT * FROM claim_view;
CREATE TEMP TABLE claim_got AS SELECT payload FROM onceq.claim('claim');
INSERT INTO claim_got SELECT payload FROM onceq.claim('claim');
UPDATE claim_got g SET payload = c.payload FROM onceq.claim('claim') c WHERE g.payload = '6';
SELECT array_agg(payload ORDER BY payload) FROM claim_got;
SELECT EXISTS (SELECT FROM onceq.claim('claim')), (SELECT payload FROM onceq.claim('claim')) AS payload;
SELECT * FROM claim_rest();

-- 12. DO and procedures with COMMIT: between claim and ack, and in the middle of the rows
SELECT claim_fill(9);
DO $$
DECLARE lease bigint;
BEGIN
	SELECT token INTO lease FROM onceq.claim('claim', 2);
	COMMIT;
	RAISE NOTICE 'acked %', onceq.ack(lease);
	COMMIT;
	SELECT token INTO lease FROM onceq.claim('claim', 2);
	RAISE NOTICE 'acked %', onceq.ack(lease);
	ROLLBACK;
END $$;
CREATE PROCEDURE claim_work() LANGUAGE plpgsql AS $$
DECLARE job record;
BEGIN
	FOR job IN SELECT * FROM onceq.claim('claim', 3) LOOP
		RAISE NOTICE 'job %, acked %', job.payload, onceq.ack(job.token, job.id);
		COMMIT;
	END LOOP;
END $$;
CALL claim_work();
SELECT state, count(*) FROM onceq.jobs('claim') WHERE state = 'succeeded' GROUP BY state;
SELECT count(*) AS others FROM onceq.jobs('claim') WHERE state IN ('ready', 'running', 'scheduled');
SELECT ready + running > 0 AS rest FROM claim_rest();

-- 13. twice in one statement, and beside another function
SELECT claim_fill(6);
SELECT a.payload <> b.payload AS different FROM onceq.claim('claim') a, onceq.claim('claim') b;
SELECT count(DISTINCT payload) FROM (SELECT payload FROM onceq.claim('claim') UNION ALL SELECT payload FROM onceq.claim('claim')) x;
SELECT count(DISTINCT token) FROM ROWS FROM (onceq.claim('claim'), generate_series(1, 3)) r;
SELECT * FROM claim_rest();

-- 14. COPY, VALUES, a set operation, a materialized view, MERGE
SELECT claim_fill(9);
COPY (SELECT payload FROM onceq.claim('claim', 2)) TO STDOUT;
VALUES ((SELECT payload FROM onceq.claim('claim')));
SELECT count(*) FROM (SELECT payload FROM onceq.claim('claim') EXCEPT SELECT payload FROM onceq.claim('claim')) x;
CREATE MATERIALIZED VIEW claim_kept AS SELECT payload FROM onceq.claim('claim');
SELECT count(*) FROM claim_kept;
CREATE TABLE claim_target (payload jsonb);
MERGE INTO claim_target t USING (SELECT payload FROM onceq.claim('claim', 2)) c ON t.payload = c.payload WHEN NOT MATCHED THEN INSERT VALUES (c.payload);
SELECT count(*) FROM claim_target;
DROP TABLE claim_target;
DROP MATERIALIZED VIEW claim_kept;
SELECT * FROM claim_rest();

-- 15. EXPLAIN claims nothing, EXPLAIN ANALYZE does
SELECT claim_fill(2);
EXPLAIN (COSTS OFF) SELECT * FROM onceq.claim('claim');
SELECT * FROM claim_rest();
SELECT claim_fill(2);
DO $$ BEGIN EXECUTE 'EXPLAIN ANALYZE SELECT * FROM onceq.claim(''claim'')'; END $$;
SELECT * FROM claim_rest();

-- ---- a paused queue gives nothing; a read-only transaction may claim, because nothing is written

SELECT claim_fill(2);
SELECT onceq.pause_queue('claim');
SELECT count(*) FROM onceq.claim('claim');
SELECT onceq.resume_queue('claim');
BEGIN READ ONLY;
SELECT payload FROM onceq.claim('claim');
COMMIT;
SELECT * FROM claim_rest();

-- ---- max_attempts, attempt and worker as the queue and the claimer say

SELECT claim_fill(1);
SELECT id, token FROM onceq.claim('claim', worker => repeat('ä', 100)) \gset
SELECT state, attempt, max_attempts, repeat('ä', 100) LIKE worker || '%' AS worker, length(worker) > 20 AS long FROM onceq.job('claim', :id);
SELECT onceq.nack(:token, :id, retry_in => '0') IS NOT NULL AS due;
SELECT attempt FROM onceq.claim('claim');
SELECT * FROM claim_rest();

SELECT onceq.drop_queue('claim');
DROP TABLE claim_odd;
DROP VIEW claim_view;
DROP FUNCTION claim_fill, claim_rest, claim_one, claim_some;
DROP PROCEDURE claim_work;
