-- After a history of thousands of random calls, committed and rolled back, whole and in part, the tables, the
-- board, the counters and the effects tell the same story: every job is in one state and ends at most once,
-- attempts are counted without gaps and never beyond what is allowed, effects happen exactly with the ack.
-- (Invariants 1 to 4, 6 and the conservation of jobs.) The history is random, but the same each time.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only true

SELECT plan(24);

SELECT onceq.create_queue('a', max_attempts => 3, backoff_base => '0', lease => '10 min');
SELECT onceq.create_queue('b', max_attempts => 2, backoff_base => '10 ms', backoff_max => '20 ms', lease => '10 min');
CREATE TABLE held (token bigint, queue text, id bigint, attempt int, priority int);
CREATE TABLE effect (queue text, id bigint);
CREATE TABLE enqueued (queue text, id bigint, payload text);
CREATE TABLE calls (what text, outcome text);
CREATE TEMP TABLE chosen (queue text, id bigint) ON COMMIT DELETE ROWS;

CREATE FUNCTION some_lease() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT token FROM held ORDER BY random() LIMIT 1';

-- One random call, with what a user would write down beside it in the same transaction.
CREATE FUNCTION one_call() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	q text := CASE WHEN random() < 0.6 THEN 'a' ELSE 'b' END;
	dice float8 := random();
	lease bigint := some_lease();
	job bigint;
BEGIN
	IF dice < 0.2 THEN
		INSERT INTO enqueued SELECT q, onceq.enqueue(q, to_jsonb(md5(random()::text)), priority => (random() * 9)::int,
			delay => CASE WHEN random() < 0.2 THEN interval '5 ms' END, max_attempts => CASE WHEN random() < 0.2 THEN 1 + (random() * 3)::int END), NULL
		FROM generate_series(1, 1 + (random() * 8)::int);
		RETURN 'enqueue';
	ELSIF dice < 0.25 THEN
		INSERT INTO enqueued SELECT q, onceq.enqueue_many(q, array_fill('"many"'::jsonb, ARRAY[1 + (random() * 60)::int]), priority => (random() * 2)::int), NULL;
		RETURN 'enqueue_many';
	ELSIF dice < 0.5 THEN
		INSERT INTO held SELECT token, q, id, attempt, priority FROM onceq.claim(q, 1 + (random() * 20)::int);
		RETURN 'claim';
	ELSIF lease IS NULL THEN
		RETURN 'nothing';
	END IF;
	SELECT h.queue, h.id INTO q, job FROM held h WHERE token = lease ORDER BY random() LIMIT 1;
	IF dice < 0.62 THEN
		WITH h AS (DELETE FROM held WHERE token = lease RETURNING queue, id) INSERT INTO effect SELECT queue, id FROM h;
		PERFORM onceq.ack(lease);
		RETURN 'ack';
	ELSIF dice < 0.7 THEN
		WITH h AS (DELETE FROM held WHERE token = lease AND id = job RETURNING queue, id) INSERT INTO effect SELECT queue, id FROM h;
		PERFORM onceq.ack(lease, job, to_jsonb(job));
		RETURN 'ack one';
	ELSIF dice < 0.75 THEN
		DELETE FROM chosen;
		WITH h AS (DELETE FROM held WHERE token = lease AND id IN (SELECT id FROM held WHERE token = lease AND random() < 0.5) RETURNING queue, id) INSERT INTO chosen SELECT queue, id FROM h;
		INSERT INTO effect SELECT queue, id FROM chosen;
		PERFORM onceq.ack(lease, ARRAY(SELECT id FROM chosen ORDER BY random()));
		RETURN 'ack some';
	ELSIF dice < 0.85 THEN
		DELETE FROM held WHERE token = lease AND id = job;
		PERFORM onceq.nack(lease, job, 'nack', CASE WHEN random() < 0.5 THEN interval '0' WHEN random() < 0.5 THEN interval '1 ms' END);
		RETURN 'nack';
	ELSIF dice < 0.88 THEN
		DELETE FROM held WHERE token = lease AND id = job;
		PERFORM onceq.reject(lease, job, 'reject');
		RETURN 'reject';
	ELSIF dice < 0.92 THEN
		PERFORM onceq.extend(lease, '5 min');
		RETURN 'extend';
	ELSIF dice < 0.995 THEN
		WITH c AS (SELECT * FROM onceq.ack_and_claim(lease, q, 1 + (random() * 10)::int)),
			h AS (DELETE FROM held WHERE token = lease RETURNING queue, id),
			e AS (INSERT INTO effect SELECT queue, id FROM h)
		INSERT INTO held SELECT token, q, id, attempt, priority FROM c;
		RETURN 'ack_and_claim';
	END IF;
	PERFORM onceq.purge_queue(q);
	RETURN 'purge';
END $$;

-- Some calls in one transaction, some of them in savepoints that fail, and then COMMIT or ROLLBACK.
CREATE PROCEDURE history(transactions int) LANGUAGE plpgsql AS $$
DECLARE
	what text;
BEGIN
	FOR i IN 1 .. transactions LOOP
		FOR j IN 1 .. 1 + (random() * 3)::int LOOP
			BEGIN
				what := one_call();
				IF random() < 0.15 THEN
					RAISE division_by_zero;
				END IF;
				INSERT INTO calls VALUES (what, 'done');
			EXCEPTION WHEN division_by_zero THEN
				INSERT INTO calls VALUES (what, 'undone');
			END;
		END LOOP;
		IF random() < 0.15 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
		IF i % 50 = 0 THEN
			CALL onceq.recover();
			COMMIT;
		END IF;
	END LOOP;
END $$;

CREATE FUNCTION tables(queue_name text, letter text) RETURNS SETOF regclass LANGUAGE sql AS $$
	SELECT c.oid::regclass FROM onceq.queues q JOIN pg_class c ON c.relnamespace = 'onceq_data'::regnamespace AND c.relkind = 'r'
		AND c.relname ~ ('^' || letter || substr(q.privileges::text, 13) || '_\d+$') WHERE q.queue = queue_name $$;
CREATE FUNCTION stored_jobs() RETURNS TABLE (queue text, id bigint, max_attempts smallint, segment text) LANGUAGE plpgsql AS $$
DECLARE t record;
BEGIN
	FOR t IN SELECT q.q, tables(q.q, 'j') AS name FROM unnest(ARRAY['a', 'b']) q (q) LOOP
		RETURN QUERY EXECUTE format('SELECT %L::text, id, (options ->> ''max_attempts'')::smallint, %L::text FROM %s', t.q, t.name, t.name);
	END LOOP;
END $$;
-- One row for each job an outcome covers.
CREATE FUNCTION stored_outcomes() RETURNS TABLE (queue text, id bigint, attempt smallint, outcome text, due_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE t record;
BEGIN
	FOR t IN SELECT q.q, tables(q.q, 'o') AS name FROM unnest(ARRAY['a', 'b']) q (q) LOOP
		RETURN QUERY EXECUTE format('SELECT %L::text, i, o.attempt, o.outcome::text, o.due_at FROM %s o, generate_series(o.first_id, o.last_id) i', t.q, t.name);
	END LOOP;
END $$;
CREATE FUNCTION stored_results() RETURNS TABLE (queue text, id bigint, result jsonb) LANGUAGE plpgsql AS $$
DECLARE t record;
BEGIN
	FOR t IN SELECT q.q, tables(q.q, 'r') AS name FROM unnest(ARRAY['a', 'b']) q (q) LOOP
		RETURN QUERY EXECUTE format('SELECT %L::text, id, result FROM %s', t.q, t.name);
	END LOOP;
END $$;
-- Leases of transactions that were rolled back are lost: until the worker has taken them away.
CREATE PROCEDURE settle() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		CALL onceq.recover();
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM onceq.leases WHERE state <> 'held');
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

SELECT setseed(0.2026);
CALL history(1500);
CALL settle();
CREATE TABLE stored_job AS SELECT * FROM stored_jobs();
CREATE TABLE stored_outcome AS SELECT * FROM stored_outcomes();
CREATE TABLE stored_result AS SELECT * FROM stored_results();
CREATE INDEX ON stored_job (queue, id);
CREATE INDEX ON stored_outcome (queue, id);
ANALYZE stored_job, stored_outcome, stored_result;
SELECT cmp_ok((SELECT count(DISTINCT what) FROM calls WHERE outcome = 'done'), '>=', 11::bigint, 'calls of all kinds were made');
SELECT cmp_ok((SELECT count(*) FROM stored_job), '>', 1000::bigint, 'and made jobs enough');

-- ---- enqueue: what committed is there, what did not is not
SELECT set_eq('SELECT queue, id FROM enqueued', 'SELECT queue, id FROM stored_job', 'the jobs are those whose enqueue committed');
SELECT is_empty('SELECT queue, id FROM stored_job GROUP BY 1, 2 HAVING count(*) > 1', 'no id was given twice');
SELECT is_empty('SELECT * FROM stored_job WHERE id < 1 OR split_part(segment, ''_'', 3)::bigint <> id >> 20', 'each lies in the segment of its id');
SELECT is_empty('SELECT * FROM stored_job j JOIN onceq.queue q ON q.name = j.queue JOIN onceq.id_ceiling c ON c.queue_id = q.id WHERE j.id >= c.ceiling', 'ids are below the durable ceiling');

-- ---- ends
SELECT is_empty('SELECT queue, id FROM stored_outcome WHERE outcome <> ''f'' GROUP BY 1, 2 HAVING count(*) > 1', 'a job ends at most once');
SELECT is_empty('SELECT queue, id, attempt FROM stored_outcome WHERE outcome <> ''c'' GROUP BY 1, 2, 3 HAVING count(*) > 1', 'a delivery ends at most once');
SELECT is_empty('SELECT queue, id FROM stored_outcome EXCEPT SELECT queue, id FROM stored_job', 'only jobs have outcomes');
SELECT bag_eq('SELECT queue, id FROM effect', 'SELECT queue, id FROM stored_outcome WHERE outcome = ''a''', 'effects are there exactly once for each job that was acked');
SELECT is_empty('SELECT queue, id FROM stored_result r EXCEPT SELECT queue, id FROM stored_outcome WHERE outcome = ''a''', 'only acked jobs have results');
SELECT is_empty('SELECT queue, id FROM stored_result WHERE result <> to_jsonb(id)', 'and their own');

-- ---- attempts
SELECT is_empty('SELECT queue, id FROM stored_outcome WHERE outcome = ''f'' GROUP BY 1, 2 HAVING (min(attempt), max(attempt)::bigint, count(DISTINCT attempt)) IS DISTINCT FROM (1::smallint, count(*), count(*))', 'failed attempts are counted from 1, without gaps');
SELECT is_empty('SELECT o.queue, o.id FROM stored_outcome o WHERE outcome IN (''a'', ''d'') AND attempt <> 1 + (SELECT count(*) FROM stored_outcome f WHERE f.queue = o.queue AND f.id = o.id AND f.outcome = ''f'')', 'the last attempt follows them');
SELECT is_empty('SELECT j.queue, j.id FROM stored_job j JOIN stored_outcome o USING (queue, id) JOIN onceq.queues q ON q.queue = j.queue WHERE o.outcome = ''f'' AND o.attempt >= coalesce(j.max_attempts, q.max_attempts)', 'the last attempt that is allowed is not followed by another');
SELECT is_empty('SELECT j.queue, j.id FROM stored_job j JOIN stored_outcome o USING (queue, id) JOIN onceq.queues q ON q.queue = j.queue WHERE o.attempt > coalesce(j.max_attempts, q.max_attempts)', 'nor is any beyond it');

-- ---- states
CREATE FUNCTION shown() RETURNS TABLE (queue text, id bigint, state text, attempt int) LANGUAGE sql AS $$
	SELECT queue, id, state, attempt FROM onceq.jobs('a', count => 10000) UNION ALL SELECT queue, id, state, attempt FROM onceq.jobs('b', count => 10000) $$;
SELECT bag_eq('SELECT queue, id FROM shown()', 'SELECT queue, id FROM stored_job', 'every job is shown, once');
SELECT set_eq('SELECT queue, id, state FROM shown() WHERE state IN (''succeeded'', ''dead'', ''cancelled'')',
	'SELECT queue, id, CASE outcome WHEN ''a'' THEN ''succeeded'' WHEN ''d'' THEN ''dead'' ELSE ''cancelled'' END FROM stored_outcome WHERE outcome <> ''f''', 'as its outcome says');
SELECT set_eq('SELECT queue, running FROM onceq.queue_stats WHERE running > 0', 'SELECT queue, sum(jobs)::bigint FROM onceq.leases GROUP BY queue', 'what is running is leased');
SELECT is_empty('SELECT * FROM onceq.queue_stats WHERE enqueued <> ready + scheduled + running + succeeded + dead + cancelled', 'jobs are conserved');
SELECT set_eq('SELECT queue, succeeded, dead, failed, cancelled FROM onceq.queue_stats',
	'SELECT queue, count(*) FILTER (WHERE outcome = ''a'') AS a, count(*) FILTER (WHERE outcome = ''d'') AS d, count(*) FILTER (WHERE outcome IN (''f'', ''d'')) AS f, count(*) FILTER (WHERE outcome = ''c'') AS c FROM stored_outcome GROUP BY queue', 'counters are what the tables say');
SELECT is_empty('SELECT * FROM onceq.audit(''a'') UNION ALL SELECT * FROM onceq.audit(''b'')', 'the audit finds nothing');

-- ---- to the end
CREATE PROCEDURE drain() LANGUAGE plpgsql AS $$
DECLARE
	l record;
BEGIN
	FOR l IN SELECT DISTINCT token FROM held LOOP
		PERFORM onceq.release(l.token);
	END LOOP;
	FOR i IN 1 .. 20000 LOOP
		PERFORM onceq.ack(token, id) FROM onceq.claim('a', 100);
		PERFORM onceq.ack(token, id) FROM onceq.claim('b', 100);
		CALL onceq.recover();
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM onceq.queue_stats WHERE ready + scheduled + running > 0);
	END LOOP;
END $$;
CALL drain();
SELECT is_empty('SELECT * FROM onceq.queue_stats WHERE ready + scheduled + running > 0', 'everything can be worked off');
SELECT is_empty('SELECT * FROM onceq.audit(''a'') UNION ALL SELECT * FROM onceq.audit(''b'') UNION ALL SELECT 0, worker, state FROM onceq.leases', 'and then the audit finds nothing, and no lease is left');

SELECT * FROM finish();
