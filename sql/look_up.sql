-- A finished job is looked up by its id in as many pages of a segment as before, however many jobs have finished:
-- counted in buffers, with each job acked by a row of its own, at two sizes, in the segment that is still open.
-- It is found, too, where acks do not lie near each other: acked in no order, in one row for many, in a transaction
-- whose savepoint was undone, cancelled with others, or after VACUUM has removed what pointed to it.
SELECT onceq.create_queue('look_up', backoff_base => '0 s');

CREATE FUNCTION pages_of(looked_up bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT onceq.job(''look_up'', $1)' INTO plan USING looked_up;
	RETURN (plan #>> '{0,Plan,Shared Hit Blocks}')::int + (plan #>> '{0,Plan,Shared Read Blocks}')::int;
END $$;

CREATE PROCEDURE finish(jobs int) LANGUAGE plpgsql AS $$
DECLARE
	job record;
BEGIN
	PERFORM onceq.enqueue_many('look_up', array_fill('1'::jsonb, ARRAY[jobs]));
	COMMIT;
	FOR done IN 0 .. jobs / 1000 LOOP
		FOR job IN SELECT * FROM onceq.claim('look_up', 1000) LOOP
			PERFORM onceq.ack(job.token, job.id);
		END LOOP;
		COMMIT;
	END LOOP;
END $$;

-- ---- as many pages as before

CALL finish(5000);
SELECT (onceq.job('look_up', 1)).state;
CREATE TEMP TABLE small AS SELECT pages_of(id) AS pages FROM generate_series(1, 5000, 50) id;
CALL finish(10000);
CALL finish(10000);
CALL finish(10000);
CREATE TEMP TABLE large AS SELECT pages_of(id) AS pages FROM generate_series(1, 35000, 350) id;
SELECT (SELECT max(pages) FROM large) < (SELECT max(pages) FROM small) + 10 AS independent, (SELECT max(pages) FROM large) < 100 AS few;
SELECT count(*), count(*) FILTER (WHERE state = 'succeeded' AND finished_at IS NOT NULL) AS found
FROM generate_series(1, 35000, 350) looked_up, onceq.job('look_up', looked_up);
-- a list reads each page about once
SELECT count(*) FILTER (WHERE state = 'succeeded') FROM onceq.jobs('look_up', after_id => 10000, count => 10000);

-- ---- acks in no order; every third is failed first

SELECT count(*) FROM onceq.enqueue_many('look_up', array_fill('1'::jsonb, ARRAY[4000]));
CREATE TEMP TABLE held AS SELECT * FROM onceq.claim('look_up', 1000) UNION ALL SELECT * FROM onceq.claim('look_up', 1000)
	UNION ALL SELECT * FROM onceq.claim('look_up', 1000) UNION ALL SELECT * FROM onceq.claim('look_up', 1000);
SELECT count(onceq.nack(token, id)) FROM held WHERE id % 3 = 0;
DO $$
DECLARE
	job record;
BEGIN
	FOR job IN SELECT * FROM held WHERE id % 3 <> 0 ORDER BY md5(id::text) LOOP
		PERFORM onceq.ack(job.token, job.id);
	END LOOP;
	LOOP
		EXIT WHEN (SELECT count(onceq.ack(token, id)) FROM onceq.claim('look_up', 100)) = 0;
	END LOOP;
END $$;
SELECT j.state, j.attempt, count(j.finished_at) AS finished FROM held, onceq.job('look_up', held.id) j GROUP BY 1, 2 ORDER BY 1, 2;
SELECT max(pages_of(id)) < 200 AS few FROM held WHERE id % 20 = 0;
DROP TABLE held;

-- ---- one row for many; worker and result of the right job

SELECT min(id) AS first FROM onceq.enqueue_many('look_up', array_fill('1'::jsonb, ARRAY[5000])) id \gset
DO $$
DECLARE
	held bigint;
	first bigint;
BEGIN
	FOR worker IN 1 .. 5 LOOP
		SELECT max(token), min(id) INTO held, first FROM onceq.claim('look_up', 1000, worker => worker::text);
		PERFORM onceq.ack(held, first, to_jsonb(first));
		PERFORM onceq.ack(held);
	END LOOP;
END $$;
SELECT worker, count(*), count(result) AS results, bool_and(result IS NULL OR result = to_jsonb(id)) AS own
FROM generate_series(:first, :first + 4999) looked_up, onceq.job('look_up', looked_up) GROUP BY worker ORDER BY worker;
SELECT max(pages_of(:first + n)) < 100 AS few FROM generate_series(0, 4999, 37) n;

-- ---- what pointed there was rolled back, and vacuumed

SELECT onceq.create_queue('look_up_2');
SELECT count(*) FROM onceq.enqueue_many('look_up_2', array_fill('1'::jsonb, ARRAY[100]));
SELECT max(token) AS token FROM onceq.claim('look_up_2', 100) \gset
BEGIN;
SAVEPOINT s;
SELECT onceq.ack(:token, 1);
ROLLBACK TO s;
SELECT count(onceq.ack(:token, id)) FROM generate_series(1, 100) id;
COMMIT;
SELECT state, count(*) FROM generate_series(1, 100) looked_up, onceq.job('look_up_2', looked_up) GROUP BY state;
SELECT 'o' || substr(privileges::text, 13) || '_0000' AS outcomes FROM onceq.queues WHERE queue = 'look_up_2' \gset
VACUUM onceq_data.:outcomes;
SELECT state, count(*) FROM generate_series(1, 100) looked_up, onceq.job('look_up_2', looked_up) GROUP BY state;
REINDEX TABLE onceq_data.:outcomes;
SELECT state, count(*) FROM generate_series(1, 100) looked_up, onceq.job('look_up_2', looked_up) GROUP BY state;

-- ---- cancelled with others

SELECT count(*) FROM onceq.enqueue_many('look_up_2', array_fill('1'::jsonb, ARRAY[3000]));
SELECT onceq.purge_queue('look_up_2');
SELECT state, count(*) FROM onceq.jobs('look_up_2', after_id => 100, count => 5000) GROUP BY state;
SELECT state FROM onceq.job('look_up_2', 2000);

-- The planner does not take an index that has some rows only.
SET enable_seqscan = off;
SELECT count(*) FROM onceq_data.:outcomes WHERE outcome = 'a' AND first_id = 50 AND last_id >= first_id;
RESET enable_seqscan;

SELECT onceq.drop_queue('look_up');
SELECT onceq.drop_queue('look_up_2');
DROP FUNCTION pages_of;
DROP PROCEDURE finish;
