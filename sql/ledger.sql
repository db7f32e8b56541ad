-- An event is new to a consumer once, in the transaction that marks it; batches, names and sizes, who may do
-- what; what is forgotten and what is not; ack_once.
\pset null '(null)'
CREATE ROLE regress_ledger_admin IN ROLE onceq_admin;
CREATE ROLE regress_ledger_app;
CREATE ROLE regress_ledger_stranger;
SELECT onceq.create_consumer('billing'), onceq.create_consumer('mailing', retention => '1 h');
SELECT consumer, retention, created_at <= clock_timestamp() AS created, oldest_event FROM onceq.consumers ORDER BY 1;

-- ---- once per consumer and event

SELECT onceq.once('billing', 'order-1'), onceq.once('billing', 'order-1', 'orders'), onceq.once('mailing', 'order-1', 'orders');
SELECT onceq.once(consumer => 'billing', event_id => 'order-2', topic => 'orders');
SELECT consumer, event_id, topic, processed_at <= clock_timestamp() AS processed FROM onceq.processed_events ORDER BY 1, 2;
SELECT onceq.is_processed('billing', 'order-2'), onceq.is_processed('mailing', 'order-2');
-- the topic is no part of what is compared, upper and lower case and blanks are
SELECT onceq.once('billing', 'order-2', 'other'), onceq.once('billing', 'Order-2'), onceq.once('billing', 'order-2 '), onceq.once('billing', ' ');

-- ---- as long as the transaction stands

BEGIN;
SELECT onceq.once('billing', 'undone');
SAVEPOINT s;
SELECT onceq.once('billing', 'undone'), onceq.once('billing', 'inner');
ROLLBACK TO s;
SELECT onceq.once('billing', 'undone'), onceq.once('billing', 'inner');
ROLLBACK;
SELECT onceq.once('billing', 'undone'), onceq.once('billing', 'inner');

-- ---- a batch: what is new in it, in its order; of equal ones the first

SELECT onceq.once_many('billing', ARRAY['c', 'a', 'c', 'order-1', 'b', 'a'], 'letters');
SELECT onceq.once_many('billing', ARRAY['d', 'c', 'b', 'a']);
SELECT onceq.once_many('billing', '{}');
SELECT id, is_new FROM unnest(ARRAY['e', 'a', 'e'], onceq.once_many('billing', ARRAY['e', 'a', 'e'])) AS u (id, is_new);
SELECT count(*) FILTER (WHERE is_new), count(*)
FROM unnest(onceq.once_many('mailing', ARRAY(SELECT (i % 7000)::text FROM generate_series(1, 10000) i))) is_new;
SELECT string_agg(event_id, ' ' ORDER BY event_id) FROM onceq.processed_events WHERE topic = 'letters';

-- ---- a duplicate is told of at DEBUG1

SET client_min_messages = debug1;
SELECT onceq.once('billing', 'a'), onceq.once('billing', 'f');
RESET client_min_messages;

-- ---- forgotten, an event is new again

SELECT onceq.forget('billing', 'a'), onceq.forget('billing', 'a'), onceq.forget('mailing', 'order-2');
SELECT onceq.once('billing', 'a');

-- ---- no event twice

SELECT * FROM onceq.processed_event_duplicates;
-- because PostgreSQL forbids it
SELECT contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'onceq.processed_event'::regclass AND contype <> 'n';
-- the view would show it
BEGIN;
ALTER TABLE onceq.processed_event DROP CONSTRAINT processed_event_pkey;
INSERT INTO onceq.processed_event SELECT * FROM onceq.processed_event WHERE event_id = 'order-1';
SELECT consumer, event_id, times FROM onceq.processed_event_duplicates ORDER BY 1;
ROLLBACK;

-- ---- names, sizes, nulls, places

\set VERBOSITY sqlstate
SELECT onceq.once('none', '1');
SELECT onceq.once(NULL, '1');
SELECT onceq.once('billing', NULL);
SELECT onceq.once('billing', '');
SELECT onceq.once('billing', repeat('x', 513));
SELECT onceq.once('billing', repeat('ä', 257));
SELECT onceq.once('billing', '1', '');
SELECT onceq.once('billing', '1', repeat('x', 256));
SELECT onceq.once(repeat('x', 100000), '1');
SELECT onceq.once_many('billing', NULL);
SELECT onceq.once_many('billing', ARRAY['1', NULL]);
SELECT onceq.once_many('billing', ARRAY['1', '']);
SELECT onceq.once_many('billing', ARRAY[ARRAY['1'], ARRAY['2']]);
SELECT onceq.once_many('billing', array_fill('1'::text, ARRAY[10001]));
SELECT onceq.once_many('none', '{}');
SELECT onceq.is_processed('none', '1');
SELECT onceq.is_processed('billing', NULL);
SELECT onceq.forget('billing', '');
SELECT onceq.create_consumer('billing');
SELECT onceq.create_consumer('Billing');
SELECT onceq.create_consumer('');
SELECT onceq.create_consumer(NULL);
SELECT onceq.create_consumer('new', retention => '59 min');
SELECT onceq.create_consumer('new', retention => '102 years');
SELECT onceq.create_consumer('new', retention => NULL);
SELECT onceq.create_consumer('new', if_not_exists => NULL);
SELECT onceq.alter_consumer('none', '1 day');
SELECT onceq.alter_consumer('billing', '1 s');
SELECT onceq.alter_consumer('billing', NULL);
SELECT onceq.drop_consumer('none');
SELECT onceq.drop_consumer(NULL);
SELECT onceq.grant_marker('none', 'regress_ledger_app');
SELECT onceq.grant_marker('billing', 'no_such_role');
SELECT onceq.grant_marker('billing', NULL);
SET default_transaction_read_only = on;
SELECT onceq.once('billing', 'read-only');
SELECT onceq.once_many('billing', '{read-only}');
SELECT onceq.forget('billing', 'a');
SELECT onceq.create_consumer('read.only');
SELECT onceq.is_processed('billing', 'a'), onceq.is_processed('billing', 'read-only');
RESET default_transaction_read_only;
\set VERBOSITY default
SELECT onceq.once('billing', repeat('x', 513));
SELECT onceq.once('no.such.consumer', '1');
SELECT onceq.create_consumer('billing', if_not_exists => true);
SELECT onceq.drop_consumer('none', if_exists => true);
SELECT onceq.once('billing', repeat('x', 512), repeat('y', 255)), onceq.once('billing', repeat('ä', 256));

-- ---- who may

SET ROLE regress_ledger_stranger;
SELECT onceq.once('billing', 'stolen');
\set VERBOSITY sqlstate
SELECT onceq.once_many('billing', '{stolen}');
SELECT onceq.is_processed('billing', 'order-1');
SELECT onceq.forget('billing', 'order-1');
SELECT onceq.create_consumer('mine');
SELECT onceq.alter_consumer('billing', '1 day');
SELECT onceq.drop_consumer('billing');
SELECT onceq.grant_marker('billing', 'regress_ledger_stranger');
SELECT count(*) FROM onceq.processed_event;
INSERT INTO onceq.processed_event VALUES (now(), 1, 'forged');
\set VERBOSITY default
SELECT count(*) FROM onceq.processed_events;
SELECT count(*) FROM onceq.processed_event_duplicates;
SELECT count(*) FROM onceq.consumers;
RESET ROLE;

-- an administrator grants; then it is the matter of a moment
SET ROLE regress_ledger_admin;
SELECT onceq.grant_marker('billing', 'regress_ledger_app');
SET ROLE regress_ledger_app;
SELECT onceq.once('billing', 'mine'), onceq.is_processed('billing', 'mine'), onceq.once_many('billing', '{mine,ours}');
SELECT consumer FROM onceq.consumers;
SELECT count(*) > 0 AS sees_its_own, count(*) FILTER (WHERE consumer <> 'billing') AS others FROM onceq.processed_events;
\set VERBOSITY sqlstate
SELECT onceq.once('mailing', 'mine');
SELECT onceq.forget('billing', 'mine');
\set VERBOSITY default
RESET ROLE;
SELECT privileges AS billing FROM onceq.consumers WHERE consumer = 'billing' \gset
SET ROLE regress_ledger_admin;
GRANT DELETE ON :billing TO regress_ledger_app;
SET ROLE regress_ledger_app;
SELECT onceq.forget('billing', 'mine');
SET ROLE regress_ledger_admin;
REVOKE ALL ON :billing FROM regress_ledger_app;
SET ROLE regress_ledger_app;
\set VERBOSITY sqlstate
SELECT onceq.once('billing', 'mine');
\set VERBOSITY default
RESET ROLE;

-- ---- forgotten after the retention, and not before; the rows are made older by hand

CREATE FUNCTION events(consumer text) RETURNS bigint LANGUAGE sql
	RETURN (SELECT count(*) FROM onceq.processed_events e WHERE e.consumer = $1);
CREATE FUNCTION age_events(consumer text, age interval) RETURNS void LANGUAGE sql
	AS 'UPDATE onceq.processed_event SET processed_at = clock_timestamp() - $2
		WHERE consumer_id = (SELECT id FROM onceq.consumer WHERE name = $1 AND dropped_at IS NULL)';
-- the worker may be at it already; then a call leaves it to him
CREATE PROCEDURE maintain_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	holds bool;
BEGIN
	FOR i IN 1 .. 600 LOOP
		CALL onceq.maintain();
		EXECUTE 'SELECT ' || condition INTO holds;
		EXIT WHEN holds;
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
SELECT age_events('mailing', '59 min'), age_events('billing', '29 days');
CALL onceq.maintain();
SELECT events('mailing'), events('billing');
SELECT age_events('mailing', '61 min');
CALL maintain_until($$ events('mailing') = 0 $$);
SELECT events('mailing'), events('billing');
SELECT onceq.alter_consumer('billing', '28 days');
SELECT retention FROM onceq.consumers WHERE consumer = 'billing';
CALL maintain_until($$ events('billing') = 0 $$);
SELECT events('billing');

-- ---- never while a job that was enqueued before may be delivered again; an hour is added for clocks

SELECT onceq.create_queue('work', lease => '12 h');
SELECT replace(privileges::text, '.q', '.j') || '_0000' AS jobs FROM onceq.queues WHERE queue = 'work' \gset
SELECT onceq.enqueue('work', '"running"'), onceq.enqueue('work', '"later"', delay => '300 days');
SELECT id, token FROM onceq.claim('work') \gset
SELECT onceq.once_many('mailing', ARRAY['new', 'old']);
BEGIN;
UPDATE onceq.processed_event SET processed_at = clock_timestamp() - interval '90 min' WHERE event_id = 'old';
-- a job that was enqueued two hours ago
UPDATE :jobs SET enqueued_at = clock_timestamp() - interval '2 h' WHERE payload = '"running"';
CALL onceq.maintain();
SELECT events('mailing');
ROLLBACK;
UPDATE onceq.processed_event SET processed_at = clock_timestamp() - interval '90 min' WHERE event_id = 'old';
CALL maintain_until($$ events('mailing') = 1 $$);
SELECT events('mailing') AS "without such a job";

-- ---- ack, mark and effect in one transaction

CREATE TABLE regress_ledger_effect (event text);
BEGIN;
SELECT onceq.ack_once(:token, :id, 'mailing', 'work/1', topic => 'work', result => '"sent"') AS is_new \gset
INSERT INTO regress_ledger_effect SELECT 'work/1' WHERE :'is_new';
COMMIT;
SELECT state, result FROM onceq.job('work', :id);
\set VERBOSITY sqlstate
SELECT onceq.ack_once(:token, :id, 'mailing', 'work/1');
\set VERBOSITY default
SELECT onceq.enqueue('work', '"the same event, enqueued twice"') IS NOT NULL AS enqueued;
SELECT id, token FROM onceq.claim('work') \gset
SELECT onceq.ack_once(:token, :id, 'mailing', 'work/1');
SELECT state FROM onceq.job('work', :id);
SELECT count(*) FROM regress_ledger_effect;

-- ---- a consumer is dropped with all it remembers; another of its name begins anew

BEGIN;
SELECT onceq.drop_consumer('mailing');
SELECT onceq.once('mailing', 'x');
ROLLBACK;
SELECT onceq.drop_consumer('mailing'), onceq.create_consumer('mailing');
SELECT onceq.once('mailing', 'new'), events('mailing');
CALL maintain_until('NOT EXISTS (SELECT FROM onceq.consumer WHERE dropped_at IS NOT NULL)');
SELECT count(*) AS dropped FROM onceq.consumer WHERE dropped_at IS NOT NULL;
SELECT count(*) AS orphans FROM onceq.processed_event WHERE consumer_id NOT IN (SELECT id FROM onceq.consumer);
SELECT events('mailing');

SELECT onceq.drop_queue('work'), onceq.drop_consumer('billing'), onceq.drop_consumer('mailing');
CALL maintain_until('NOT EXISTS (SELECT FROM onceq.processed_event)');
SELECT count(*) FROM onceq.processed_event;
DROP PROCEDURE maintain_until(text);
DROP FUNCTION events(text), age_events(text, interval);
DROP TABLE regress_ledger_effect;
DROP ROLE regress_ledger_admin, regress_ledger_app, regress_ledger_stranger;
