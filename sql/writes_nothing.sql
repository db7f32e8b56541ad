-- A claim writes nothing: no transaction id, no WAL, no row; and nothing ever updates or deletes a row of a job
-- or of an outcome. A batch that is acknowledged whole is one row.
SELECT onceq.create_queue('writes');
SELECT substr(privileges::text, 13) AS number FROM onceq.queues WHERE queue = 'writes' \gset
SELECT 'onceq_data.j' || :'number' || '_0000' AS jobs, 'onceq_data.o' || :'number' || '_0000' AS outcomes, 'onceq_data.r' || :'number' || '_0000' AS results \gset
SELECT count(*) FROM onceq.enqueue_many('writes', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 3000) i));

-- ---- no transaction id

BEGIN;
SELECT count(*) FROM onceq.claim('writes', 100);
SELECT token FROM onceq.claim('writes') \gset
SELECT onceq.extend(:token) IS NOT NULL AS extended;
SELECT onceq.release(:token);
SELECT count(*) FROM onceq.jobs('writes');
SELECT count(*) > 0 AS stats FROM onceq.queue_stats;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT onceq.ack(token) FROM onceq.claim('writes');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;

-- ---- no WAL, once the hint bits of the jobs are set (the first look at a row after its commit may set them,
-- which is logged if checksums are on). Others may write at the same time: it is enough to see it once.

SELECT count(*) FROM :jobs;
CREATE FUNCTION writes_wal(n int) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	before pg_lsn;
BEGIN
	FOR i IN 1 .. 20 LOOP
		before := pg_current_wal_insert_lsn();
		PERFORM count(*) FROM onceq.claim('writes', n);
		IF pg_current_wal_insert_lsn() = before THEN
			RETURN false;
		END IF;
	END LOOP;
	RETURN true;
END $$;
SELECT writes_wal(1), writes_wal(50);

-- ---- one row for the ack of a whole batch

SELECT onceq.drop_queue('writes'), onceq.create_queue('writes');
SELECT substr(privileges::text, 13) AS number FROM onceq.queues WHERE queue = 'writes' \gset
SELECT 'onceq_data.j' || :'number' || '_0000' AS jobs, 'onceq_data.o' || :'number' || '_0000' AS outcomes, 'onceq_data.r' || :'number' || '_0000' AS results \gset
SELECT count(*) FROM onceq.enqueue_many('writes', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 3000) i));
SELECT min(token) AS token FROM onceq.claim('writes', 1000) \gset
SELECT onceq.ack(:token);
SELECT count(*) AS rows, sum(last_id - first_id + 1) AS jobs, min(outcome::text) AS outcome FROM :outcomes;
-- two rows where a job of the middle went another way before, and one more for that
SELECT min(token) AS token, min(id) AS id FROM onceq.claim('writes', 1000) \gset
SELECT onceq.reject(:token, :id + 500);
SELECT onceq.ack(:token);
SELECT count(*) AS rows, sum(last_id - first_id + 1) AS jobs FROM :outcomes;
-- a purge is one row for neighbouring jobs, too
SELECT onceq.purge_queue('writes');
SELECT count(*) - 4 BETWEEN 1 AND 4 AS few FROM :outcomes;
SELECT count(*) AS results FROM :results;

-- ---- rows are only ever inserted: after jobs have gone every way, no update, no delete, no dead row, and no
-- lock on a row (xmax) but those of nobody

SELECT count(*) FROM onceq.enqueue_many('writes', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 100) i));
SELECT onceq.nack(token, id, 'n', '0') IS NULL AS dead FROM onceq.claim('writes', 2);
SELECT onceq.ack(token, id, '"result"') FROM onceq.claim('writes', 2);
SELECT onceq.release(token) FROM onceq.claim('writes');
SELECT onceq.reject(token, id) FROM onceq.claim('writes');
SELECT count(*) FROM onceq.ack_and_claim(NULL, 'writes', 10);
CALL onceq.recover();
CALL onceq.maintain();
SELECT pg_stat_force_next_flush();
SELECT relname = ltrim(:'jobs', 'onceq_data.') AS j, n_tup_ins > 0 AS inserted, n_tup_upd, n_tup_del, n_tup_hot_upd, n_dead_tup
FROM pg_stat_user_tables WHERE relid IN (:'jobs'::regclass, :'outcomes'::regclass, :'results'::regclass) ORDER BY n_tup_ins DESC;
SELECT (SELECT count(*) FROM :jobs WHERE xmax::text <> '0') AS jobs, (SELECT count(*) FROM :outcomes WHERE xmax::text <> '0') AS outcomes,
	(SELECT count(*) FROM :results WHERE xmax::text <> '0') AS results;

SELECT onceq.drop_queue('writes');
DROP FUNCTION writes_wal;
