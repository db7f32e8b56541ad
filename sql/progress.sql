-- What progress() reports is shown by job() and jobs() as long as the job is held, and no longer; a holder hears
-- by progress() and extend() that the soft time limit has passed; no lease lasts beyond the hard time limit, and
-- whoever reaches it has failed the attempt (Invariants 2, 3 and 9).
SELECT onceq.create_queue('progress', backoff_base => '0 s');
SELECT count(*) FROM onceq.enqueue_many('progress', '{1,2,3}');

-- ---- progress, until the job leaves its lease

SELECT token FROM onceq.claim('progress', 3) LIMIT 1 \gset
CREATE VIEW shown AS SELECT id, state, progress_current AS current, progress_total AS total, progress_message AS message
	FROM onceq.jobs('progress') ORDER BY id;
SELECT onceq.progress(:token, 1, 10, 100, 'ten of a hundred'), onceq.progress(:token, 2, 7);
SELECT * FROM shown;
-- whatever becomes of the transaction; the last report is the one that counts
BEGIN;
SELECT onceq.progress(:token, 1, current => 11);
SELECT onceq.progress(:token, 3, 0, 0, '');
ROLLBACK;
SELECT * FROM shown;
-- a message is cut between characters, at 200 bytes
SELECT onceq.progress(:token, 1, 9223372036854775807, 9223372036854775807, 'x' || repeat('é', 150));
SELECT current, total, octet_length(message), message = 'x' || repeat('é', 99) AS cut FROM shown WHERE id = 1;
SELECT progress_current, progress_total FROM onceq.job('progress', 1);
SELECT onceq.nack(:token, 1) IS NOT NULL AS again;
SELECT onceq.release(:token, 2);
SELECT onceq.ack(:token, 3);
SELECT * FROM shown;
\set VERBOSITY terse
SELECT onceq.progress(:token, 1, 12);

-- ---- only the holder, of a job that is held

SELECT id, token FROM onceq.claim('progress') \gset
SELECT onceq.progress(:token, :id + 1000, 1);
SELECT onceq.progress(1, :id, 1);
BEGIN;
SELECT onceq.ack(:token, :id);
SELECT onceq.progress(:token, :id, 1);
ROLLBACK;
CREATE ROLE progress_other;
SELECT onceq.grant_consumer('progress', 'progress_other');
SET ROLE progress_other;
SELECT onceq.progress(:token, :id, 1);
RESET ROLE;
\set VERBOSITY default

-- ---- arguments

SELECT onceq.progress(NULL, :id, 1);
SELECT onceq.progress(:token, NULL, 1);
SELECT onceq.progress(:token, :id, NULL);
SELECT onceq.progress(:token, :id, -1);
SELECT onceq.progress(:token, :id, 1, -1);
SELECT onceq.ack(:token);
SELECT onceq.purge_queue('progress');

-- ---- time limits: a soft one is told

CREATE PROCEDURE until_told(token bigint, id bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		IF onceq.progress(token, id, i) IS NOT NULL THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'nobody is told';
END $$;
SELECT onceq.alter_queue('progress', soft_time_limit => '100 ms');
SELECT count(*) FROM onceq.enqueue_many('progress', '{1,2,3}');
SELECT min(id) AS first, token FROM onceq.claim('progress', 3) GROUP BY token \gset
CALL until_told(:token, :first);
SELECT onceq.progress(:token, :first, 1), onceq.progress(:token, :first + 2, 1);
SELECT onceq.ack(:token, :first + 1);
SELECT onceq.extend(:token) > now() + '20 s' AS extended;
\set VERBOSITY sqlstate
SELECT onceq.extend(:token) > now() + '20 s' AS extended;
\set VERBOSITY default
-- and no more than told
SELECT onceq.ack(:token);

-- ---- as a cancellation is, of one job of several

SELECT count(*) FROM onceq.enqueue_many('progress', '{1,2}');
SELECT onceq.alter_queue('progress', soft_time_limit => '0');
SELECT min(id) AS first, token FROM onceq.claim('progress', 2) GROUP BY token \gset
SELECT onceq.progress(:token, :first, 1);
SELECT onceq.cancel('progress', :first);
SELECT onceq.progress(:token, :first, 2) AS cancelled, onceq.progress(:token, :first + 1, 2) AS other;
SELECT state, progress_current FROM onceq.job('progress', :first);
SELECT onceq.extend(:token) > now() AS extended;
SELECT onceq.ack(:token, :first + 1);

-- ---- a hard one ends the lease, and the attempt with it

CREATE PROCEDURE until_failed(failed_id bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		IF (SELECT error FROM onceq.job('progress', failed_id)) IS NOT NULL THEN
			RETURN;
		END IF;
		CALL onceq.recover();
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'the job does not fail';
END $$;
SELECT onceq.alter_queue('progress', hard_time_limit => '200 ms');
SELECT onceq.enqueue('progress', '1') AS id \gset
SELECT token, lease_until <= clock_timestamp() + '200 ms' AS limited FROM onceq.claim('progress', lease => '1 h') \gset
\echo :limited
CALL until_failed(:id);
SELECT state, attempt, error FROM onceq.job('progress', :id);
\set VERBOSITY terse
SELECT onceq.extend(:token);
SELECT onceq.ack(:token, :id);
\set VERBOSITY default

-- ---- a job's own limits are used instead of the queue's; a lease has jobs of equal limits

SELECT onceq.purge_queue('progress');
SELECT onceq.alter_queue('progress', hard_time_limit => '1 h');
SELECT onceq.enqueue('progress', '"long"', hard_time_limit => '2 h');
SELECT onceq.enqueue('progress', '"queue"');
SELECT onceq.enqueue('progress', '"long"', hard_time_limit => '2 h');
SELECT onceq.enqueue('progress', '"queue"');
SELECT onceq.enqueue('progress', '"soft"', soft_time_limit => '1 h');
CREATE TEMP TABLE held AS SELECT * FROM onceq.claim('progress', 10, lease => '12 h');
INSERT INTO held SELECT * FROM onceq.claim('progress', 10, lease => '12 h');
SELECT payload, count(*), count(DISTINCT token) AS leases FROM held
	WHERE lease_until - now() BETWEEN CASE payload #>> '{}' WHEN 'long' THEN '119 min' ELSE '59 min' END::interval
		AND CASE payload #>> '{}' WHEN 'long' THEN '121 min' ELSE '61 min' END::interval
	GROUP BY payload ORDER BY payload;
SELECT payload, bool_and(onceq.extend(token, '12 h') - now() < '3 h') AS limited FROM held GROUP BY payload ORDER BY payload;
SELECT payload FROM onceq.claim('progress', 10);
SELECT payload FROM onceq.claim('progress', 10);
SELECT board, stored FROM onceq.audit('progress');

SELECT onceq.drop_queue('progress');
DROP VIEW shown;
DROP PROCEDURE until_told;
DROP PROCEDURE until_failed;
DROP OWNED BY progress_other;
DROP ROLE progress_other;
