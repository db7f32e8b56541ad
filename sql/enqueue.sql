-- What is enqueued is delivered as it was given: payload, headers, priority, due time, attempts; in the order
-- of priority and then of enqueueing; from every place SQL can be written in; and not at all if it rolls back.
SELECT onceq.create_queue('enqueue'), onceq.create_queue('enqueue.other');

-- ---- one job

SELECT onceq.enqueue('enqueue', '{"to": "ada@example.org", "n": [1, 2.50, null, true]}') > 0 AS enqueued;
SELECT onceq.enqueue(queue => 'enqueue', payload => '"named"', headers => '{"trace": "abc"}', priority => 3,
	run_at => '2020-01-01', max_attempts => 7) > 0 AS enqueued;
SELECT payload, headers, priority, attempt, enqueued_at <= clock_timestamp() AS enqueued FROM onceq.claim('enqueue', 2);
SELECT payload, max_attempts, state FROM onceq.jobs('enqueue') ORDER BY priority DESC;
SELECT onceq.purge_queue('enqueue');

-- any JSON is a payload, also null; null is none
SELECT count(onceq.enqueue('enqueue', p)) FROM unnest(ARRAY['null', 'true', '0', '-1.5e3', '""', '{}', '[]',
	'"\u00e4\ud83d\ude00"', '{"a": {"b": [[]]}}']::jsonb[]) p;
SELECT payload, jsonb_typeof(payload) FROM onceq.claim('enqueue', 10);

-- ---- order: the highest priority first, then as enqueued

SELECT count(onceq.enqueue('enqueue', to_jsonb(format('%s-%s', p, i)), priority => p))
FROM generate_series(1, 3) i, (VALUES (0), (9), (5)) v (p);
SELECT priority, payload FROM onceq.claim('enqueue', 4);
SELECT priority, payload FROM onceq.claim('enqueue', 10);

-- ---- many at once

SELECT count(*), count(DISTINCT id) AS different, bool_and(id > before) AS ascending
FROM (SELECT id, lag(id, 1, 0::bigint) OVER (ORDER BY n) AS before
	FROM onceq.enqueue_many('enqueue', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 1000) i)) WITH ORDINALITY e (id, n)) x;
SELECT count(*), bool_and(payload = to_jsonb(n)) AS in_order
FROM (SELECT payload, row_number() OVER () AS n FROM onceq.claim('enqueue', 1000)) x;

SELECT count(*) FROM onceq.enqueue_many('enqueue', ARRAY['1', '2', '3']::jsonb[],
	headers => ARRAY['{"h": 1}', NULL, '{"h": 3}']::jsonb[], priority => 2);
SELECT payload, headers, priority FROM onceq.claim('enqueue', 10);
SELECT * FROM onceq.enqueue_many('enqueue', '{}');
SELECT * FROM onceq.enqueue_many('enqueue', ARRAY[]::jsonb[], headers => ARRAY[]::jsonb[]);
SELECT count(*) FROM onceq.enqueue_many('enqueue', array_fill('"full"'::jsonb, ARRAY[10000]));
SELECT onceq.purge_queue('enqueue');

-- ---- due later, and due already

SELECT onceq.enqueue('enqueue', '"in a day"', delay => '1 day') > 0,
	onceq.enqueue('enqueue', '"next year"', run_at => clock_timestamp() + '365 days') > 0,
	onceq.enqueue('enqueue', '"now"', delay => '0') > 0,
	onceq.enqueue('enqueue', '"past"', run_at => '1999-12-31') > 0,
	onceq.enqueue('enqueue', '"ancient"', run_at => '4713-01-01 BC') > 0;
SELECT count(*) FROM onceq.enqueue_many('enqueue', ARRAY['"many later"']::jsonb[], delay => '1 h');
SELECT payload, state, due_at > clock_timestamp() AS later FROM onceq.jobs('enqueue', state => 'scheduled');
SELECT payload FROM onceq.claim('enqueue', 10);
SELECT onceq.purge_queue('enqueue');

-- ---- in a transaction: invisible to a claim, of the same transaction too; all or nothing

BEGIN;
SELECT onceq.enqueue('enqueue', '"rolled back"') > 0;
SELECT count(*) FROM onceq.claim('enqueue');
ROLLBACK;
SELECT count(*) FROM onceq.claim('enqueue');
BEGIN;
SELECT onceq.enqueue('enqueue', '"one queue"') > 0, onceq.enqueue('enqueue.other', '"and another"') > 0;
SELECT count(*) FROM onceq.claim('enqueue');
COMMIT;
SELECT payload FROM onceq.claim('enqueue', 10) UNION ALL SELECT payload FROM onceq.claim('enqueue.other', 10);

-- jobs of all kinds in one transaction, one by one: what each was given stays with it
BEGIN;
SELECT count(onceq.enqueue(CASE WHEN i % 7 = 0 THEN 'enqueue.other' ELSE 'enqueue' END, to_jsonb(i), priority => i % 3,
	delay => CASE WHEN i % 5 = 0 THEN interval '1 h' END)) FROM generate_series(1, 500) i;
COMMIT;
SELECT ready, scheduled FROM onceq.queue_stats WHERE queue LIKE 'enqueue%' ORDER BY queue;
SELECT count(*), bool_and(priority = (payload #>> '{}')::int % 3) AS priority, bool_and((payload #>> '{}')::int % 5 > 0) AS due,
	bool_and((payload #>> '{}')::int % 7 > 0) AS queue
FROM generate_series(100, 108) n, onceq.claim('enqueue', n); -- a lease of scattered ids may take fewer than asked for
SELECT count(*), bool_and((payload #>> '{}')::int % 7 = 0) AS queue FROM onceq.claim('enqueue.other', 1000);
SELECT count(*), bool_and((payload #>> '{}')::int % 5 = 0) AS late FROM onceq.jobs('enqueue', state => 'scheduled');
SELECT onceq.purge_queue('enqueue'), onceq.purge_queue('enqueue.other');

-- ---- from everywhere

CREATE TABLE enqueue_orders (id int PRIMARY KEY, job bigint);
CREATE FUNCTION enqueue_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.job := onceq.enqueue('enqueue', jsonb_build_object('order', NEW.id));
	RETURN NEW;
END $$;
CREATE TRIGGER enqueue BEFORE INSERT ON enqueue_orders FOR EACH ROW EXECUTE FUNCTION enqueue_order();
INSERT INTO enqueue_orders SELECT generate_series(1, 3);
INSERT INTO enqueue_orders VALUES (4), (3); -- and fails
COPY enqueue_orders (id) FROM stdin;
5
6
\.
WITH o AS (INSERT INTO enqueue_orders VALUES (7) RETURNING id) SELECT onceq.enqueue('enqueue', to_jsonb(id)) > 0 FROM o;
DO $$ BEGIN PERFORM onceq.enqueue('enqueue', '"do"'); END $$;
PREPARE enqueue_prepared AS SELECT onceq.enqueue($1, $2) > 0;
EXECUTE enqueue_prepared('enqueue', '"prepared"');
CREATE FUNCTION enqueue_sql(p jsonb) RETURNS bigint LANGUAGE sql AS 'SELECT onceq.enqueue(''enqueue'', p)';
SELECT enqueue_sql('"sql"') > 0;
SELECT payload FROM onceq.claim('enqueue', 20);
SELECT count(*) FROM enqueue_orders o JOIN LATERAL onceq.job('enqueue', o.job) j ON j.payload = jsonb_build_object('order', o.id);

-- at the very end of a transaction, by a deferred trigger; then it is committed with it, or not
CREATE FUNCTION enqueue_deferred() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM onceq.enqueue('enqueue', jsonb_build_object('deferred', NEW.id));
	IF NEW.id > 10 THEN
		RAISE 'too high';
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER deferred AFTER UPDATE ON enqueue_orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION enqueue_deferred();
BEGIN;
UPDATE enqueue_orders SET job = NULL WHERE id IN (1, 2);
SELECT count(*) FROM onceq.jobs('enqueue', state => 'ready');
COMMIT;
BEGIN;
UPDATE enqueue_orders SET id = 11 WHERE id = 3;
COMMIT;
SELECT payload FROM onceq.claim('enqueue', 20);

-- a call that is never evaluated enqueues nothing
EXPLAIN (COSTS OFF) SELECT onceq.enqueue('enqueue', '1');
SELECT CASE WHEN false THEN onceq.enqueue('enqueue', '1') END;
SELECT onceq.enqueue('enqueue', '1') LIMIT 0;
SELECT count(*) FROM onceq.claim('enqueue');

-- ---- isolation levels make no difference

BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT onceq.enqueue('enqueue', '"serializable"') > 0;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT onceq.enqueue('enqueue', '"repeatable read"') > 0;
COMMIT;
SELECT payload FROM onceq.claim('enqueue', 10);
SELECT * FROM onceq.audit('enqueue');

DROP TABLE enqueue_orders;
DROP FUNCTION enqueue_order, enqueue_sql, enqueue_deferred;
SELECT onceq.drop_queue('enqueue'), onceq.drop_queue('enqueue.other');
