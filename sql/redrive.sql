-- redrive makes dead jobs live again, with all their attempts before them; their attempts go on counting
-- (Invariant 6). It takes effect when the transaction commits, and only for what is dead.
SELECT onceq.create_queue('redrive', max_attempts => 2, backoff_base => '0');
CREATE FUNCTION redrive_fail(error text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(attempt || CASE WHEN onceq.nack(token, id, error) IS NULL THEN ' dead' ELSE ' again' END, ', ') FROM onceq.claim('redrive', worker => 'w') $$;
CREATE FUNCTION redrive_jobs(state text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', payload::text, j.state, attempt || '/' || max_attempts, worker, error), ', ' ORDER BY id) FROM onceq.jobs('redrive', state) j $$;

-- ---- one job, all its attempts anew

SELECT onceq.enqueue('redrive', '1') AS job \gset
SELECT redrive_fail('a');
SELECT redrive_jobs();
SELECT redrive_fail('b');
SELECT redrive_jobs();
SELECT redrive_fail('none left');
SELECT onceq.redrive('redrive', :job);
SELECT redrive_jobs();
SELECT redrive_fail('c');
SELECT redrive_jobs();
SELECT redrive_fail('d');
SELECT redrive_jobs('dead');
SELECT onceq.redrive('redrive', id => :job), onceq.redrive('redrive', :job) AS again;
SELECT redrive_jobs('ready');
SELECT attempt, onceq.reject(token, id, 'e') FROM onceq.claim('redrive');
SELECT redrive_jobs('dead');
SELECT onceq.redrive('redrive', :job);
SELECT attempt, onceq.ack(token, id, '"done"') FROM onceq.claim('redrive', worker => 'last');
SELECT state, attempt, worker, result, error FROM onceq.job('redrive', :job);
SELECT onceq.redrive('redrive', :job) AS succeeded, count(*) FROM onceq.audit('redrive');

-- ---- rejected at the first attempt; priority and max_attempts of its own

SELECT onceq.enqueue('redrive', '2', priority => 5, max_attempts => 1) AS urgent, onceq.enqueue('redrive', '3') AS other \gset
SELECT onceq.reject(token, id, 'no') FROM onceq.claim('redrive', 2);
SELECT redrive_jobs('dead');
SELECT onceq.redrive('redrive');
SELECT payload, priority, attempt FROM onceq.claim('redrive', 1) \gset claimed_
SELECT :claimed_payload AS payload, :claimed_priority AS priority, :claimed_attempt AS attempt;
SELECT redrive_jobs();
SELECT onceq.cancel('redrive', :urgent), onceq.cancel('redrive', :other);
SELECT redrive_jobs('cancelled');
SELECT onceq.redrive('redrive', :urgent) AS cancelled, onceq.redrive('redrive') AS none;

-- ---- rolled back

SELECT onceq.enqueue('redrive', '4') AS job \gset
SELECT onceq.reject(token, id, 'no') FROM onceq.claim('redrive');
BEGIN;
SELECT onceq.redrive('redrive', :job), onceq.redrive('redrive', :job) AS again;
SELECT count(*) FROM onceq.claim('redrive');
ROLLBACK;
SELECT redrive_jobs('dead'), count(*) FROM onceq.claim('redrive');
BEGIN;
SAVEPOINT s;
SELECT onceq.redrive('redrive', :job);
ROLLBACK TO s;
SELECT onceq.redrive('redrive');
COMMIT;
SELECT redrive_jobs('ready');
SELECT onceq.ack(token) FROM onceq.claim('redrive');

-- ---- many: by count, and at a rate

SELECT count(*) FROM onceq.enqueue_many('redrive', (SELECT array_agg(to_jsonb(i)) FROM generate_series(100, 124) i));
SELECT count(onceq.reject(token, id)) FROM onceq.claim('redrive', 25);
SELECT onceq.redrive('redrive', count => 10);
SELECT min(payload::int), max(payload::int) FROM onceq.jobs('redrive', 'ready');
BEGIN;
SELECT onceq.redrive('redrive', rate => 5);
SELECT count(*), count(due_at) AS later, max(due_at) - min(due_at) AS span FROM onceq.jobs('redrive') WHERE payload::int >= 110;
COMMIT;
SELECT onceq.redrive('redrive');
SELECT count(*) FROM onceq.jobs('redrive', 'dead'), onceq.audit('redrive');
SELECT onceq.purge_queue('redrive');
SELECT onceq.redrive('redrive') AS purged;

-- ---- nothing to redrive, arguments, and who may

\set VERBOSITY sqlstate
SELECT onceq.redrive('redrive', 0), onceq.redrive('redrive', -1), onceq.redrive('redrive', 1000000), onceq.redrive('redrive', 9223372036854775807), onceq.redrive('redrive', -9223372036854775808);
SELECT onceq.redrive(NULL);
SELECT onceq.redrive('no_such');
SELECT onceq.redrive('redrive', count => 0);
SELECT onceq.redrive('redrive', count => 10001);
SELECT onceq.redrive('redrive', rate => 0);
SELECT onceq.redrive('redrive', rate => 1000001);
CREATE ROLE redrive_consumer;
CREATE ROLE redrive_operator IN ROLE onceq_operator;
SELECT onceq.grant_consumer('redrive', 'redrive_consumer');
SET ROLE redrive_consumer;
SELECT onceq.redrive('redrive');
SET ROLE redrive_operator;
SELECT onceq.redrive('redrive');
RESET ROLE;
BEGIN READ ONLY;
SELECT onceq.redrive('redrive');
ROLLBACK;
\set VERBOSITY default
DROP OWNED BY redrive_consumer, redrive_operator;
DROP ROLE redrive_consumer, redrive_operator;
SELECT onceq.drop_queue('redrive');
DROP FUNCTION redrive_fail, redrive_jobs;
