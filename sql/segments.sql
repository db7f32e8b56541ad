-- Segments come and go without anybody noticing: an old one is sealed when it holds finished jobs, the next
-- takes over; claims, acks, purges and looks reach across; a drained one is dropped after the retention, never
-- one that holds an unfinished job.
SELECT onceq.create_queue('segments', segment_age => '1 s', backoff_base => '0', retention => '0');
CREATE VIEW segments_now AS
	SELECT s.number, s.sealed_at IS NOT NULL AS sealed, s.drained_at IS NOT NULL AS drained,
		(SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'onceq_data'::regnamespace AND c.relkind = 'r' AND c.relname ~ ('^[jor]' || s.queue_id || '_0*' || s.number || '$')) AS tables
	FROM onceq.segment s JOIN onceq.queue q ON q.id = s.queue_id WHERE q.name = 'segments' AND q.dropped_at IS NULL ORDER BY number;
-- Does the worker's work until a condition holds.
CREATE PROCEDURE segments_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	holds bool;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		CALL onceq.maintain();
		COMMIT;
		EXECUTE 'SELECT ' || condition INTO holds;
		IF holds THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.02);
	END LOOP;
	RAISE 'not so in time: %', condition;
END $$;

-- ---- an idle queue makes no tables, however old its segment is; finished jobs let it be sealed

SELECT count(*) FROM onceq.enqueue_many('segments', '{1,2,3,4,5,6}');
SELECT pg_sleep(1.1);
CALL onceq.maintain();
SELECT number, sealed FROM segments_now WHERE sealed;
SELECT onceq.ack(token) FROM onceq.claim('segments');
SELECT onceq.nack(token, id, 'no', '0') IS NULL AS dead FROM onceq.claim('segments');
SELECT onceq.reject(token, id, 'never') FROM onceq.claim('segments') WHERE payload = '2';
CALL segments_until('(SELECT sealed FROM segments_now WHERE number = 0)');
SELECT onceq.alter_queue('segments', segment_age => '1 day'); -- the next one is to stay open

-- ---- a lease over two segments

SELECT count(*) FROM onceq.enqueue_many('segments', '{7,8,9,10}');
SELECT min(id) >> 20 AS first_segment, max(id) >> 20 AS last_segment, count(*), count(DISTINCT token) AS tokens, min(token) AS token FROM onceq.claim('segments', 6) \gset
SELECT :first_segment AS first_segment, :last_segment AS last_segment, :count AS jobs, :tokens AS tokens;
SELECT count(*), count(DISTINCT id >> 20) AS segments FROM onceq.jobs('segments', state => 'running');
SELECT onceq.release(:token, min(id)), onceq.release(:token, max(id)) FROM onceq.jobs('segments', state => 'running');
BEGIN;
SELECT onceq.ack(:token);
ROLLBACK;
SELECT onceq.ack(:token, array_agg(id)) FROM (SELECT id FROM onceq.jobs('segments', state => 'running') ORDER BY id DESC LIMIT 1) x;
SELECT onceq.ack(:token, min(id), '"result of an old segment"') FROM onceq.jobs('segments', state => 'running');
SELECT onceq.ack(:token);
SELECT payload, state, result, attempt FROM onceq.jobs('segments');
SELECT * FROM onceq.audit('segments');

-- ---- a purge over two segments, rolled back and done

SELECT payload, state FROM onceq.jobs('segments', state => 'ready');
BEGIN;
SELECT onceq.purge_queue('segments');
ROLLBACK;
SELECT onceq.purge_queue('segments');
SELECT * FROM onceq.audit('segments');

-- ---- everything has ended: the old segment goes, with what it held, the open one stays

CALL segments_until('NOT EXISTS (SELECT FROM segments_now WHERE number = 0)');
SELECT payload, state FROM onceq.jobs('segments');
SELECT count(*) AS left FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace AND relkind = 'r'
	AND relname ~ ('^[jor]' || (SELECT substr(privileges::text, 13) FROM onceq.queues WHERE queue = 'segments') || '_0+$');
-- its jobs are no jobs any more
SELECT onceq.job('segments', 1) IS NULL AS gone;

-- ---- a straggler keeps its segment: scheduled, running or waiting to be tried again

SELECT onceq.drop_queue('segments'), onceq.create_queue('segments', segment_age => '1 s', backoff_base => '0', retention => '0');
SELECT onceq.enqueue('segments', '"later"', delay => '1 h') > 0;
SELECT count(*) FROM onceq.enqueue_many('segments', '{1,2}');
SELECT onceq.ack(token) FROM onceq.claim('segments');
SELECT token, id FROM onceq.claim('segments', lease => '1 h') \gset
CALL segments_until('(SELECT sealed FROM segments_now WHERE number = 0)');
SELECT onceq.alter_queue('segments', segment_age => '1 day');
CALL onceq.maintain();
CALL onceq.maintain();
SELECT number, sealed, drained, tables FROM segments_now WHERE number = 0;
SELECT onceq.nack(:token, :id, 'no', '1 h') IS NULL AS dead;
CALL onceq.maintain();
SELECT number, sealed, drained, tables FROM segments_now WHERE number = 0;
SELECT payload, state FROM onceq.jobs('segments');
SELECT onceq.purge_queue('segments');
CALL segments_until('NOT EXISTS (SELECT FROM segments_now WHERE number = 0)');
SELECT count(*) FROM onceq.jobs('segments');

-- the queue goes on
SELECT onceq.enqueue('segments', '"after"') > 0;
SELECT payload, id >> 20 > 0 AS next_segment FROM onceq.claim('segments');

SELECT onceq.drop_queue('segments');
DROP VIEW segments_now;
DROP PROCEDURE segments_until;
