-- PgQ, as its users set it up: one queue, one consumer, which gets what came between two ticks as a batch.
-- Ticks are cut here, not by pgqd, so that batches have the size that is measured.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE EXTENSION IF NOT EXISTS pgq;
SELECT pgq.drop_queue(queue_name, true) FROM pgq.queue WHERE queue_name = 'bench';
SELECT pgq.create_queue('bench'), pgq.set_queue_config('bench', 'ticker_max_count', '1'),
	pgq.register_consumer('bench', 'worker');

CREATE SCHEMA IF NOT EXISTS bench;
CREATE OR REPLACE PROCEDURE bench.fill_pgq(payload text, count int, batch int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('synchronous_commit', 'off', false);
	FOR i IN 1 .. count / batch LOOP
		PERFORM pgq.insert_event('bench', 'job', payload) FROM generate_series(1, batch);
		COMMIT;
		PERFORM pgq.ticker('bench');
		COMMIT;
	END LOOP;
	PERFORM set_config('synchronous_commit', 'on', false);
END
$$;
