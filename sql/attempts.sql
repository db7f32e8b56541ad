-- job_attempts() tells what became of each attempt of a job, in their order: of failed ones with worker and error,
-- of the running one, of the last one. What is no attempt is not there.
SELECT onceq.create_queue('attempts', backoff_base => '0 s', max_attempts => 3);
SELECT count(*) FROM onceq.enqueue_many('attempts', '{1,2,3,4,5}');
CREATE FUNCTION attempts(id bigint) RETURNS TABLE (attempt int, outcome text, ended bool, worker text, error text)
	LANGUAGE sql AS 'SELECT attempt, outcome, ended_at IS NOT NULL, worker, error FROM onceq.job_attempts(''attempts'', id)';

-- ---- none; a release; one that runs

SELECT * FROM attempts(1);
SELECT token FROM onceq.claim('attempts', worker => 'ada') \gset
SELECT * FROM attempts(1);
SELECT onceq.release(:token);
SELECT * FROM attempts(1);

-- ---- failed, failed by the holder's end, succeeded

SELECT onceq.nack(token, id, 'no route') IS NOT NULL AS again FROM onceq.claim('attempts', worker => 'bob');
SELECT onceq.nack(token, id) IS NOT NULL AS again FROM onceq.claim('attempts');
SELECT token FROM onceq.claim('attempts', worker => 'cyd') \gset
SELECT * FROM attempts(1);
BEGIN;
SELECT onceq.ack(:token, 1);
SELECT * FROM attempts(1);
COMMIT;
SELECT * FROM attempts(1);

-- ---- the last one failed; rejected; cancelled while it ran, and while it did not

SELECT onceq.nack(token, id, 'error 1') IS NOT NULL AS again FROM onceq.claim('attempts', worker => 'dan');
SELECT onceq.nack(token, id, 'error 2') IS NOT NULL AS again FROM onceq.claim('attempts', worker => 'dan');
SELECT onceq.nack(token, id, 'error 3') IS NOT NULL AS again FROM onceq.claim('attempts', worker => 'dan');
SELECT * FROM attempts(2);
SELECT onceq.reject(token, id, 'nonsense') FROM onceq.claim('attempts');
SELECT * FROM attempts(3);
SELECT token FROM onceq.claim('attempts', worker => 'eve') \gset
SELECT onceq.cancel('attempts', 4), onceq.cancel('attempts', 5);
SELECT * FROM attempts(4);
SELECT * FROM attempts(5);

-- ---- who may; what there is not

SELECT * FROM attempts(6);
SELECT * FROM attempts(-1);
SELECT onceq.job_attempts('attempts', NULL);
SELECT onceq.job_attempts(NULL, 1);
CREATE ROLE attempts_other;
SET ROLE attempts_other;
\set VERBOSITY terse
SELECT onceq.job_attempts('attempts', 1);
RESET ROLE;
DROP ROLE attempts_other;

SELECT onceq.drop_queue('attempts');
DROP FUNCTION attempts;
