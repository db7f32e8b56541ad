-- A savepoint that is rolled back takes back what was asked for since: jobs enqueued, ended, purged, queues made
-- and dropped; jobs claimed are lost and count as an attempt. Three deep, released and rolled back in every
-- order; by ROLLBACK TO and by exception blocks, which are savepoints too. (Invariants 1 to 4)
SELECT onceq.create_queue('save', backoff_base => '0 s');
CREATE TABLE save_held (n int, token bigint, id bigint);
-- Names of the jobs in the queue, and what became of them.
CREATE VIEW save_states AS SELECT state, string_agg(payload #>> '{}', ' ' ORDER BY payload) AS jobs FROM onceq.jobs('save') GROUP BY state ORDER BY state;
CREATE FUNCTION save_enqueue(VARIADIC names text[]) RETURNS void LANGUAGE sql AS $$
	SELECT onceq.enqueue('save', to_jsonb(n)) FROM unnest(names) n $$;
CREATE PROCEDURE save_anew() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM onceq.drop_queue('save'), onceq.create_queue('save', backoff_base => '0 s');
	TRUNCATE save_held;
END $$;
-- Leases of transactions that rolled back are lost; the worker gives their jobs out again.
CREATE PROCEDURE save_recover() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		CALL onceq.recover();
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM onceq.leases WHERE queue = 'save' AND state <> 'held');
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- ---- enqueue, three deep

BEGIN;
SELECT save_enqueue('a');
SAVEPOINT s1;
SELECT save_enqueue('b');
SAVEPOINT s2;
SELECT save_enqueue('c');
SAVEPOINT s3;
SELECT save_enqueue('d');
ROLLBACK TO s3;
SELECT save_enqueue('e');
RELEASE s3;
SELECT save_enqueue('f');
ROLLBACK TO s2;
SELECT save_enqueue('g');
RELEASE s2;
SELECT save_enqueue('h');
RELEASE s1;
SELECT save_enqueue('i');
COMMIT;
SELECT * FROM save_states;
SELECT string_agg(payload #>> '{}', ' ') FROM onceq.claim('save', 10);
SELECT * FROM onceq.audit('save');
CALL save_anew();

-- the same savepoint again and again, with many jobs: chunks of ids that were reserved ahead outlive it
BEGIN;
SAVEPOINT s;
SELECT count(onceq.enqueue('save', '"no"')) FROM generate_series(1, 100);
ROLLBACK TO s;
SELECT count(onceq.enqueue('save', '"yes"')) FROM generate_series(1, 100);
SAVEPOINT t;
SELECT count(*) FROM onceq.enqueue_many('save', array_fill('"no"'::jsonb, ARRAY[100]));
ROLLBACK TO t;
SELECT count(onceq.enqueue('save', '"no"', priority => 3)) FROM generate_series(1, 100);
ROLLBACK TO t;
SELECT count(onceq.enqueue('save', '"yes"', priority => 3)) FROM generate_series(1, 100);
COMMIT;
SELECT payload, priority, count(*) FROM onceq.claim('save', 1000) GROUP BY 1, 2 ORDER BY 2;
SELECT * FROM onceq.audit('save');
CALL save_anew();

-- everything undone, at every depth
BEGIN;
SELECT save_enqueue('a');
SAVEPOINT s1;
SELECT save_enqueue('b');
SAVEPOINT s2;
SELECT save_enqueue('c');
ROLLBACK;
SELECT * FROM save_states;
BEGIN;
SAVEPOINT s1;
SAVEPOINT s2;
SELECT save_enqueue('a');
RELEASE s2;
ROLLBACK TO s1;
COMMIT;
SELECT * FROM save_states;

-- ---- ack, nack, reject, release

SELECT save_enqueue('a', 'b', 'c', 'd', 'e', 'f', 'g');
INSERT INTO save_held SELECT row_number() OVER (), token, id FROM onceq.claim('save', 7);
BEGIN;
SELECT onceq.ack(token, id) FROM save_held WHERE n = 1;
SAVEPOINT s1;
SELECT onceq.ack(token, id) FROM save_held WHERE n = 2;
SAVEPOINT s2;
SELECT onceq.nack(token, id, retry_in => '1 h') IS NULL AS dead FROM save_held WHERE n = 3;
SAVEPOINT s3;
SELECT onceq.reject(token, id) FROM save_held WHERE n = 4;
ROLLBACK TO s3;
SELECT onceq.ack(token, id) FROM save_held WHERE n = 4;
RELEASE s3;
ROLLBACK TO s2;
SELECT onceq.reject(token, id) FROM save_held WHERE n = 3;
SELECT onceq.nack(token, id, retry_in => '1 h') IS NULL AS dead FROM save_held WHERE n = 5;
RELEASE s1;
SAVEPOINT s4;
SELECT onceq.ack(min(token)) FROM save_held;
ROLLBACK TO s4;
SELECT onceq.release(token, id) FROM save_held WHERE n = 7;
ROLLBACK TO s4;
COMMIT;
SELECT * FROM save_states;
SELECT onceq.ack(min(token)) FROM save_held;
SELECT * FROM save_states;
SELECT * FROM onceq.audit('save');
CALL save_anew();

-- asked for, undone, asked for again: each job ends once
SELECT save_enqueue('a', 'b');
INSERT INTO save_held SELECT row_number() OVER (), token, id FROM onceq.claim('save', 2);
BEGIN;
SAVEPOINT s;
SELECT onceq.ack(min(token)) FROM save_held;
ROLLBACK TO s;
SELECT onceq.ack(min(token)) FROM save_held;
ROLLBACK TO s;
SELECT onceq.ack(min(token)) FROM save_held;
SELECT onceq.ack(min(token)) FROM save_held;
COMMIT;
SELECT * FROM save_states;
SELECT succeeded FROM onceq.queue_stats WHERE queue = 'save';
CALL save_anew();

-- ---- claim

SELECT save_enqueue('a', 'b', 'c', 'd');
BEGIN;
SELECT payload, attempt FROM onceq.claim('save');
SAVEPOINT s1;
SELECT payload, attempt FROM onceq.claim('save');
SAVEPOINT s2;
SELECT payload, attempt FROM onceq.claim('save');
RELEASE s2;
ROLLBACK TO s1;
COMMIT;
CALL save_recover();
SELECT state, count(*), sum(jobs) AS jobs FROM onceq.leases WHERE queue = 'save' GROUP BY 1;
SELECT * FROM save_states;
SELECT payload, attempt FROM onceq.claim('save', 10);
CALL save_anew();

-- claimed and acked within a savepoint; only the ack within it; released within it
SELECT save_enqueue('a');
BEGIN;
SAVEPOINT s;
SELECT onceq.ack(token) FROM onceq.claim('save');
ROLLBACK TO s;
COMMIT;
CALL save_recover();
SELECT payload, state, attempt FROM onceq.jobs('save');
BEGIN;
INSERT INTO save_held SELECT 1, token, id FROM onceq.claim('save');
SAVEPOINT s;
SELECT onceq.ack(token) FROM save_held;
ROLLBACK TO s;
SELECT onceq.ack(token) FROM save_held;
COMMIT;
SELECT payload, state, attempt FROM onceq.jobs('save');
SELECT save_enqueue('b');
BEGIN;
SAVEPOINT s;
SELECT onceq.release(token) FROM onceq.claim('save');
ROLLBACK TO s;
COMMIT;
SELECT payload, attempt FROM onceq.claim('save', 10);
SELECT * FROM onceq.audit('save');
CALL save_anew();

-- ---- purge, create, drop

SELECT save_enqueue('a', 'b');
BEGIN;
SAVEPOINT s;
SELECT onceq.purge_queue('save');
ROLLBACK TO s;
SELECT payload FROM onceq.claim('save');
SELECT onceq.purge_queue('save');
COMMIT;
SELECT * FROM save_states;
CALL save_anew();

-- ids that a queue undone with its savepoint had reserved ahead are not taken for those of the next queue
BEGIN;
SAVEPOINT s;
SELECT onceq.create_queue('save.gone');
SELECT onceq.enqueue('save.gone', '1') > 0;
SELECT onceq.enqueue('save.gone', '2') > 0;
ROLLBACK TO s;
SELECT onceq.create_queue('save.new');
SELECT count(DISTINCT onceq.enqueue('save.new', to_jsonb(i))) FROM generate_series(1, 20) i;
COMMIT;
SELECT count(*) FROM onceq.claim('save.new', 100);
SELECT * FROM onceq.audit('save.new');
BEGIN;
SAVEPOINT s;
SELECT onceq.drop_queue('save.new');
SAVEPOINT t;
SELECT onceq.create_queue('save.new', max_attempts => 7);
ROLLBACK TO t;
ROLLBACK TO s;
SELECT onceq.enqueue('save.new', '3') > 0;
COMMIT;
SELECT payload FROM onceq.claim('save.new');
SELECT onceq.drop_queue('save.new');

-- ---- exception blocks

CREATE TABLE save_log (what text);
DO $$
DECLARE
	job record;
BEGIN
	PERFORM save_enqueue('a');
	BEGIN
		PERFORM save_enqueue('b');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		PERFORM save_enqueue('c');
		BEGIN
			PERFORM save_enqueue('d');
			PERFORM onceq.enqueue('no.such.queue', '1');
		EXCEPTION WHEN undefined_object THEN
			PERFORM save_enqueue('e');
		END;
	END;
END $$;
SELECT * FROM save_states;

-- the pattern of a consumer: the handler's effects are undone if it fails, the job is nacked in any case
CREATE PROCEDURE save_consume() LANGUAGE plpgsql AS $$
DECLARE
	job record;
BEGIN
	FOR job IN SELECT * FROM onceq.claim('save', 10) LOOP
		BEGIN
			INSERT INTO save_log VALUES (job.payload #>> '{}');
			IF job.payload = '"c"' THEN
				RAISE 'cannot do it';
			END IF;
			PERFORM onceq.ack(job.token, job.id);
			IF job.payload = '"e"' THEN
				RAISE 'too late';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			PERFORM onceq.nack(job.token, job.id, SQLERRM, '1 h');
		END;
		COMMIT;
	END LOOP;
END $$;
CALL save_consume();
SELECT payload, state, attempt, error FROM onceq.jobs('save');
SELECT * FROM save_log;

-- a claim in a block that fails
CALL save_anew();
SELECT save_enqueue('a');
DO $$
BEGIN
	BEGIN
		PERFORM 1 / (attempt - 1) FROM onceq.claim('save');
	EXCEPTION WHEN division_by_zero THEN
		RAISE NOTICE 'failed';
	END;
END $$;
CALL save_recover();
SELECT payload, attempt FROM onceq.claim('save');

-- a lost lease can be caught where it is asked for, and the rest goes on
CALL save_anew();
SELECT save_enqueue('a', 'b');
DO $$
DECLARE
	lease bigint;
BEGIN
	SELECT token INTO lease FROM onceq.claim('save');
	PERFORM onceq.release(lease);
	BEGIN
		PERFORM onceq.ack(lease);
	EXCEPTION WHEN SQLSTATE 'OQ001' THEN
		RAISE NOTICE 'lost';
	END;
	PERFORM onceq.ack(token) FROM onceq.claim('save') LIMIT 1;
END $$;
SELECT * FROM save_states;
SELECT * FROM onceq.audit('save');

SELECT onceq.drop_queue('save');
DROP PROCEDURE save_anew, save_recover, save_consume;
DROP FUNCTION save_enqueue;
DROP VIEW save_states;
DROP TABLE save_held, save_log;
