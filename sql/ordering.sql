-- Jobs with the same ordering key run one after the other, in the order of their ids, whatever becomes of each;
-- jobs of other keys, and without one, are not held up.
SELECT onceq.create_queue('ordering', lease => '10 min', backoff_base => '1 h', max_attempts => 2);
CREATE FUNCTION ordering_put(key text, what text, VARIADIC more text[] DEFAULT '{}') RETURNS bigint LANGUAGE sql AS $$
	SELECT onceq.enqueue('ordering', to_jsonb(what), ordering_key => key, priority => coalesce(more[1], '0')::int, delay => more[2]::interval) $$;
CREATE TABLE ordering_held (id bigint, token bigint, what text);
-- Claims, and shows what it got.
CREATE FUNCTION ordering_take(count int DEFAULT 1, wait interval DEFAULT '0') RETURNS text LANGUAGE sql AS $$
	WITH got AS (INSERT INTO ordering_held SELECT c.id, c.token, c.payload #>> '{}' FROM onceq.claim('ordering', count, wait => wait) c RETURNING *)
	SELECT coalesce(string_agg(got.what, ' ' ORDER BY got.id), '-') FROM got $$;
CREATE FUNCTION ordering_done(what text) RETURNS bigint LANGUAGE sql AS $$
	SELECT onceq.ack(h.token, h.id) FROM ordering_held h WHERE h.what = $1 $$;
CREATE VIEW ordering_now AS SELECT ready, scheduled, running, blocked, dead FROM onceq.queue_stats WHERE queue = 'ordering';

-- ---- one after the other

SELECT count(ordering_put(key, key || i)) FROM generate_series(1, 3) i, (VALUES ('a'), ('b'), ('c')) k (key);
SELECT count(ordering_put(NULL, 'p' || i)) FROM generate_series(1, 2) i;
SELECT ordering_take(20);
SELECT * FROM ordering_now;
SELECT ordering_take(20);
SELECT ordering_done('b1');
SELECT ordering_take(20);
SELECT ordering_done('p1'), ordering_done('a1'), ordering_done('c1');
SELECT ordering_take(20);
SELECT ordering_done('a2'), ordering_done('b2'), ordering_done('c2'), ordering_done('p2');
SELECT ordering_take(1);
SELECT ordering_take(1);
SELECT ordering_take(1);
SELECT ordering_take(1);
SELECT ordering_done('a3'), ordering_done('b3'), ordering_done('c3');
SELECT * FROM ordering_now;

-- the key comes with the job
SELECT ordering_put('key "ü"', 'x') > 0 AS ok;
SELECT onceq.enqueue('ordering', '"y"') > 0 AS ok;
SELECT ordering_key, payload, onceq.ack(token, id) FROM onceq.claim('ordering', 2);
SELECT onceq.drop_queue('ordering');
SELECT onceq.create_queue('ordering', lease => '10 min', backoff_base => '1 h', max_attempts => 2);

DELETE FROM ordering_held;

-- ---- an ack that rolls back; a claim that rolls back; release

SELECT ordering_put('a', 'a1') < ordering_put('a', 'a2') AS ok;
SELECT ordering_take(5);
BEGIN;
SELECT ordering_done('a1');
SELECT ordering_take(5);
ROLLBACK;
SELECT ordering_take(5);
SELECT onceq.release(token) FROM ordering_held WHERE what = 'a1';
DELETE FROM ordering_held;
SELECT ordering_take(5), ordering_take(5);
SELECT ordering_done('a1');
BEGIN;
SELECT payload FROM onceq.claim('ordering');
ROLLBACK;
-- the worker counts the attempt
DO $$ BEGIN FOR i IN 1 .. 6000 LOOP EXIT WHEN (SELECT scheduled = 1 FROM ordering_now); PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT * FROM ordering_now;
SELECT onceq.purge_queue('ordering');

-- ---- a job that failed, or is delayed, holds its key up; priority does not pass

DELETE FROM ordering_held;
SELECT ordering_put('a', 'a1') < ordering_put('a', 'a2') AS ok, ordering_put('b', 'b1', '0', '2 h') < ordering_put('b', 'b2', '9') AS ok, ordering_put('c', 'c1') < ordering_put('c', 'c2', '9') AS ok;
SELECT ordering_take(9);
SELECT onceq.nack(token, id, retry_in => '0') IS NULL AS dead FROM ordering_held WHERE what = 'a1';
SELECT onceq.nack(token, id, retry_in => '1 h') IS NULL AS dead FROM ordering_held WHERE what = 'c1';
DELETE FROM ordering_held;
SELECT ordering_take(9);
SELECT * FROM ordering_now;
SELECT payload, state FROM onceq.jobs('ordering');
SELECT onceq.audit('ordering');

-- ---- a dead job blocks its key until it is cancelled

SELECT onceq.nack(token, id) IS NULL AS dead FROM ordering_held WHERE what = 'a1';
SELECT ordering_take(9);
SELECT * FROM ordering_now;
SELECT payload, state, attempt FROM onceq.jobs('ordering', state => 'dead');
SELECT onceq.audit('ordering');
SELECT onceq.cancel('ordering', id) FROM onceq.jobs('ordering', state => 'dead');
SELECT ordering_take(9, wait => '30 s');
SELECT state FROM onceq.job('ordering', (SELECT min(id) FROM ordering_held WHERE what = 'a1'));

-- one that waits is cancelled: the next
SELECT onceq.cancel('ordering', id) FROM onceq.jobs('ordering') WHERE payload IN ('"b1"', '"c1"');
SELECT ordering_take(9, wait => '30 s');
SELECT ordering_done(what) FROM ordering_held WHERE what IN ('a2', 'b2', 'c2');
SELECT * FROM ordering_now;

-- ---- or does not, if the queue says so

SELECT onceq.alter_queue('ordering', on_dead_key => 'continue');
DELETE FROM ordering_held;
SELECT ordering_put('a', 'd1') < ordering_put('a', 'd2') AS ok;
SELECT ordering_take(9);
SELECT onceq.reject(token, id) FROM ordering_held WHERE what = 'd1';
SELECT ordering_take(9);
SELECT ordering_done('d2');

-- ---- more than one at once, but no more

SELECT onceq.alter_queue('ordering', max_running_per_key => 2);
SELECT count(ordering_put('a', 'e' || i)) FROM generate_series(1, 5) i;
SELECT count(ordering_put('b', 'f' || i)) FROM generate_series(1, 3) i;
SELECT ordering_take(20);
SELECT ordering_done('e1');
SELECT ordering_take(20);
SELECT ordering_done('e2'), ordering_done('f1'), ordering_done('f2');
SELECT ordering_take(20);
SELECT ordering_done('e3'), ordering_done('f3'), ordering_done('e4');
SELECT ordering_take(20);
SELECT ordering_done('e5');
SELECT * FROM ordering_now;

-- a higher limit holds for jobs that wait already

SELECT onceq.create_queue('ordering.raised', lease => '10 min');
SELECT count(onceq.enqueue('ordering.raised', to_jsonb('g' || i), ordering_key => 'a')) FROM generate_series(1, 3) i;
SELECT payload FROM onceq.claim('ordering.raised', 9);
SELECT onceq.alter_queue('ordering.raised', max_running_per_key => 2);
SELECT payload FROM onceq.claim('ordering.raised', 9, wait => '30 s');
SELECT payload FROM onceq.claim('ordering.raised', 9);

-- ---- arguments

\set VERBOSITY sqlstate
SELECT onceq.enqueue('ordering', '1', ordering_key => '');
SELECT onceq.enqueue('ordering', '1', ordering_key => repeat('x', 257));
\set VERBOSITY default
SELECT onceq.enqueue('ordering', '1', ordering_key => repeat('x', 256)) > 0 AS ok;

-- ---- a dead job that blocks its key is redriven: it comes first, and then the others of the key

SELECT onceq.create_queue('ordering.redrive', max_attempts => 1, lease => '10 min');
SELECT count(onceq.enqueue('ordering.redrive', to_jsonb('a' || i), ordering_key => 'a')) FROM generate_series(1, 2) i;
SELECT token, id FROM onceq.claim('ordering.redrive') \gset
SELECT onceq.nack(:token, :id) IS NULL AS dead;
SELECT payload FROM onceq.claim('ordering.redrive', 5);
SELECT ready, running, blocked, dead FROM onceq.queue_stats WHERE queue = 'ordering.redrive';
SELECT onceq.redrive('ordering.redrive', :id), onceq.redrive('ordering.redrive', :id);
SELECT token, payload, attempt FROM onceq.claim('ordering.redrive', 5, wait => '30 s') \gset
SELECT :'payload' AS payload, :attempt AS attempt;
SELECT payload FROM onceq.claim('ordering.redrive', 5);
SELECT onceq.ack(:token);
SELECT payload FROM onceq.claim('ordering.redrive', 5, wait => '30 s');
SELECT * FROM onceq.audit('ordering.redrive');

-- ---- dead jobs that block their keys, neighbours, are purged for good

SELECT onceq.create_queue('ordering.purged');
SELECT count(onceq.enqueue('ordering.purged', to_jsonb(n), ordering_key => 'k' || n)) FROM generate_series(1, 3) n;
SELECT count(onceq.reject(token, id)) FROM onceq.claim('ordering.purged', 3);
SELECT onceq.purge_queue('ordering.purged');
SELECT onceq.redrive('ordering.purged') AS redriven;
SELECT payload, state FROM onceq.jobs('ordering.purged');
SELECT count(*) FROM onceq.audit('ordering.purged');
SELECT onceq.drop_queue('ordering.purged');
