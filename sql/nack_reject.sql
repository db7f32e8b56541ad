-- A failed attempt: nack counts it and the job comes again, at once, later, or never; reject ends the job.
SELECT onceq.create_queue('nack', max_attempts => 3, backoff_base => '1 h', backoff_factor => 2, backoff_max => '3 h', backoff_jitter => 0);
CREATE TABLE nack_held (token bigint, id bigint, attempt int);
CREATE FUNCTION nack_claim() RETURNS int LANGUAGE sql AS $$
	DELETE FROM nack_held;
	INSERT INTO nack_held SELECT token, id, attempt FROM onceq.claim('nack') RETURNING attempt $$;
-- Whether a time is this far away; a nack within BETWEEN would be done twice.
CREATE FUNCTION nack_in(due timestamptz, delay interval) RETURNS bool LANGUAGE sql AS $$
	SELECT due - clock_timestamp() BETWEEN delay - interval '1 min' AND delay $$;

-- ---- attempts count up to max_attempts, and the backoff grows

SELECT onceq.enqueue('nack', '1') > 0;
SELECT nack_claim();
SELECT nack_in(onceq.nack(token, id, 'first'), '1 h') FROM nack_held;
SELECT state, attempt, error, due_at > clock_timestamp() AS later, lease_until IS NULL AS free FROM onceq.jobs('nack');
SELECT count(*) FROM onceq.claim('nack');
SELECT onceq.purge_queue('nack');

SELECT onceq.enqueue('nack', '2', max_attempts => 5) > 0;
SELECT nack_claim();
SELECT onceq.nack(token, id, retry_in => '0') <= clock_timestamp() AS at_once FROM nack_held;
SELECT nack_claim();
SELECT nack_in(onceq.nack(token, id), '2 h') FROM nack_held;
SELECT onceq.purge_queue('nack');
SELECT onceq.enqueue('nack', '3', max_attempts => 4) > 0;
SELECT nack_claim();
SELECT nack_in(onceq.nack(token, id, retry_in => '5 h'), '5 h') AS as_asked FROM nack_held;
SELECT onceq.purge_queue('nack');
SELECT onceq.enqueue('nack', '4', max_attempts => 4) > 0;
SELECT nack_claim();
SELECT onceq.nack(token, id, retry_in => '0') IS NULL AS dead FROM nack_held;
SELECT nack_claim();
SELECT onceq.nack(token, id, retry_in => '0') IS NULL AS dead FROM nack_held;
SELECT nack_claim();
SELECT nack_in(onceq.nack(token, id), '3 h') FROM nack_held;
SELECT state, attempt, max_attempts, nack_in(due_at, '3 h') AS at_most_backoff_max FROM onceq.jobs('nack', state => 'scheduled');
SELECT onceq.purge_queue('nack');

-- ---- the last attempt: dead

SELECT onceq.enqueue('nack', '5') > 0, onceq.enqueue('nack', '6', max_attempts => 1) > 0;
SELECT nack_claim();
SELECT onceq.nack(token, id, 'one', '0') IS NULL AS dead FROM nack_held;
SELECT nack_claim();
SELECT onceq.nack(token, id, 'two', '0') IS NULL AS dead FROM nack_held;
SELECT nack_claim();
SELECT onceq.nack(token, id, 'three', '0') IS NULL AS dead FROM nack_held;
SELECT nack_claim();
SELECT onceq.nack(token, id, retry_in => '1 day') IS NULL AS dead FROM nack_held;
SELECT payload, state, attempt, max_attempts, error, finished_at IS NOT NULL AS finished FROM onceq.jobs('nack', state => 'dead');
SELECT count(*) FROM onceq.claim('nack');

-- ---- reject

SELECT onceq.enqueue('nack', '7') > 0;
SELECT nack_claim();
SELECT onceq.reject(token, id, 'not for us') FROM nack_held;
SELECT payload, state, attempt, error FROM onceq.jobs('nack', state => 'dead') ORDER BY id DESC LIMIT 1;
\set VERBOSITY sqlstate
SELECT onceq.reject(token, id) FROM nack_held;
SELECT onceq.nack(token, id) FROM nack_held;
SELECT onceq.ack(token, id) FROM nack_held;
\set VERBOSITY default

-- ---- one job of several; the others stay with the holder

SELECT count(*) FROM onceq.enqueue_many('nack', ARRAY['8', '9', '10', '11']::jsonb[]);
SELECT min(token) AS token, min(id) AS id FROM onceq.claim('nack', 4) \gset
SELECT onceq.nack(:token, :id + 1, retry_in => '0') IS NULL AS dead;
SELECT onceq.reject(:token, :id + 2);
SELECT payload FROM onceq.claim('nack', 4);
SELECT onceq.ack(:token);
SELECT payload, state FROM onceq.jobs('nack', after_id => :id - 1);

-- ---- errors are kept up to 2 kB, cut between characters; empty and absent ones are none

SELECT onceq.purge_queue('nack');
SELECT count(*) FROM onceq.enqueue_many('nack', array_fill('"long"'::jsonb, ARRAY[6]));
SELECT min(token) AS token, min(id) AS id FROM onceq.claim('nack', 6) \gset
SELECT onceq.reject(:token, :id, repeat('x', 2048));
SELECT onceq.reject(:token, :id + 1, repeat('x', 1000000));
SELECT onceq.reject(:token, :id + 2, repeat('ä', 1500));
SELECT onceq.nack(:token, :id + 3, 'x' || repeat('€', 1500)) IS NULL AS dead;
SELECT onceq.reject(:token, :id + 4, '');
SELECT onceq.reject(:token, :id + 5, E'line\n"quoted" \\ ''single''');
SELECT left(error, 4), length(error), octet_length(error) FROM onceq.jobs('nack', after_id => :id - 1);
SELECT error FROM onceq.job('nack', :id + 5);

-- ---- in one transaction: different ends of one lease, all at once

SELECT count(*) FROM onceq.enqueue_many('nack', ARRAY['12', '13', '14', '15']::jsonb[]);
SELECT min(token) AS token, min(id) AS id FROM onceq.claim('nack', 4) \gset
BEGIN;
SELECT onceq.nack(:token, :id, retry_in => '0') IS NULL AS dead;
SELECT onceq.reject(:token, :id + 1);
SELECT onceq.ack(:token, :id + 2);
SELECT onceq.release(:token, :id + 3);
SELECT payload FROM onceq.claim('nack', 4);
COMMIT;
SELECT payload, attempt FROM onceq.claim('nack', 4);
SELECT payload, state, attempt FROM onceq.jobs('nack', after_id => :id - 1);

-- ---- the counters

SELECT enqueued, delivered - succeeded - failed - released AS running, succeeded, dead, cancelled, released, expired FROM onceq.queue_stats WHERE queue = 'nack';
SELECT * FROM onceq.audit('nack');
SELECT onceq.drop_queue('nack');

-- ---- jitter: a share of the delay, either way

SELECT onceq.create_queue('nack', backoff_base => '100 s', backoff_jitter => 0.5);
SELECT count(*) FROM onceq.enqueue_many('nack', array_fill('1'::jsonb, ARRAY[100]));
SELECT bool_and(d BETWEEN '49 s' AND '150 s') AS near, max(d) - min(d) > '1 s' AS spread
FROM (SELECT onceq.nack(token, id) - clock_timestamp() AS d FROM onceq.claim('nack', 100) OFFSET 0) x;
SELECT onceq.drop_queue('nack');
DROP TABLE nack_held;
DROP FUNCTION nack_claim, nack_in;
