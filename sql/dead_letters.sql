-- A job that dies in a queue with a dead_letter_queue is copied there in the same transaction, however it dies; it stays
-- dead where it was. What is in the way of the copy never fails the end of the job.
SELECT onceq.create_queue('dl', max_attempts => 1, dead_letter_queue => 'dl.dead'), onceq.create_queue('dl.dead', dead_letter_queue => 'dl.worse', max_attempts => 1);
CREATE FUNCTION dl_copies(queue text DEFAULT 'dl.dead') RETURNS TABLE (payload jsonb, headers jsonb, priority int) LANGUAGE sql AS $$
	SELECT payload, headers #- '{onceq.dead_letter,id}', priority FROM onceq.jobs(queue) ORDER BY id $$;

-- ---- nack, reject, and the lease that ends

SELECT onceq.enqueue('dl', '{"n": 1}', headers => '{"trace": "t1", "onceq.dead_letter": "mine"}', priority => 3) AS nacked \gset
SELECT onceq.nack(token, id, 'first "error" \ é', retry_in => '1 h') IS NULL AS dead FROM onceq.claim('dl', worker => 'w1');
SELECT onceq.enqueue('dl', '[2]', headers => '["no object"]') AS rejected \gset
SELECT onceq.reject(token, id) FROM onceq.claim('dl');
SELECT onceq.enqueue('dl', '3') AS expired \gset
SELECT count(*) FROM onceq.claim('dl', lease => '100 ms');
DO $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		CALL onceq.recover();
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM onceq.leases WHERE queue = 'dl');
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT * FROM dl_copies();
SELECT j.id = (c.headers #>> '{onceq.dead_letter,id}')::bigint AS is_origin, j.state FROM onceq.jobs('dl') j JOIN onceq.jobs('dl.dead') c USING (payload) ORDER BY j.id;
SELECT id IN (:nacked, :rejected, :expired) AS here, state, attempt FROM onceq.jobs('dl');

-- ---- rolled back with the death; an attempt that is not the last makes no copy

SELECT onceq.purge_queue('dl.dead');
SELECT onceq.enqueue('dl', '4') > 0;
SELECT token, id FROM onceq.claim('dl', lease => '1 h') \gset
BEGIN;
SELECT onceq.reject(:token, :id);
SELECT count(*) FROM onceq.jobs('dl.dead') WHERE payload = '4';
ROLLBACK;
SELECT onceq.ack(:token), count(*) FROM onceq.jobs('dl.dead') WHERE payload = '4';
SELECT onceq.enqueue('dl', '5', max_attempts => 2, priority => 9) > 0;
SELECT onceq.nack(token, id, retry_in => '1 h') IS NULL AS dead FROM onceq.claim('dl');
SELECT count(*) FROM onceq.jobs('dl.dead', 'ready');

-- ---- a copy that dies goes on to the next queue, if there is one; its headers tell of the last death only

SELECT onceq.enqueue('dl', '6', headers => '{"trace": "t6"}', priority => 9) > 0;
SELECT onceq.reject(token, id, 'one') FROM onceq.claim('dl', worker => 'w6');
SELECT onceq.reject(token, id, 'two') FROM onceq.claim('dl.dead');
SELECT count(*) FROM onceq.jobs('dl.dead', 'dead');
SELECT onceq.create_queue('dl.worse');
SELECT onceq.redrive('dl.dead');
SELECT onceq.reject(token, id, 'three') FROM onceq.claim('dl.dead');
SELECT * FROM dl_copies('dl.worse');

-- ---- a job redriven and dead again is copied again; no copy without the option

SELECT onceq.redrive('dl', min(id)) FROM onceq.jobs('dl', 'dead');
SELECT onceq.reject(token, id, 'again') FROM onceq.claim('dl');
SELECT headers #> '{onceq.dead_letter,attempts}' AS attempts FROM onceq.jobs('dl.dead', 'ready') WHERE payload = '{"n": 1}';
SELECT onceq.alter_queue('dl', dead_letter_queue => '');
SELECT onceq.enqueue('dl', '7', priority => 9) > 0;
SELECT onceq.reject(token, id) FROM onceq.claim('dl');
SELECT count(*) FROM onceq.jobs('dl.dead') WHERE payload = '7';

-- ---- circles are refused; privileges

\set VERBOSITY sqlstate
SELECT onceq.alter_queue('dl', dead_letter_queue => 'dl');
SELECT onceq.alter_queue('dl.worse', dead_letter_queue => 'dl.dead');
SELECT onceq.create_queue('dl.own', dead_letter_queue => 'dl.own');
SELECT onceq.alter_queue('dl', dead_letter_queue => 'Not a name');
SELECT onceq.alter_queue('dl', dead_letter_queue => 'dl.dead');
SELECT onceq.alter_queue('dl.worse', dead_letter_queue => 'dl');
CREATE ROLE dl_admin IN ROLE onceq_admin;
CREATE ROLE dl_consumer;
SELECT onceq.grant_consumer('dl', 'dl_consumer');
SELECT privileges FROM onceq.queues WHERE queue = 'dl.worse' \gset
REVOKE INSERT ON :privileges FROM onceq_admin;
SET ROLE dl_admin;
SELECT onceq.alter_queue('dl', dead_letter_queue => 'dl.worse');
SELECT onceq.alter_queue('dl', dead_letter_queue => 'dl.dead');
-- Who ends the job need not be allowed to enqueue the copy.
RESET ROLE;
SELECT onceq.enqueue('dl', '8', priority => 9) > 0;
SET ROLE dl_consumer;
SELECT onceq.enqueue('dl.dead', '8');
SELECT onceq.reject(token, id) FROM onceq.claim('dl');
RESET ROLE;
SELECT count(*) FROM onceq.jobs('dl.dead', 'ready') WHERE payload = '8';
\set VERBOSITY default
SELECT count(*) FROM onceq.audit('dl') a, onceq.audit('dl.dead') b;
DROP OWNED BY dl_admin, dl_consumer;
DROP ROLE dl_admin, dl_consumer;
SELECT onceq.drop_queue('dl'), onceq.drop_queue('dl.dead'), onceq.drop_queue('dl.worse');
DROP FUNCTION dl_copies;
