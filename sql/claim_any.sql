-- A claim over several queues takes jobs of one of them: of the first in the order given, or by weights in the
-- long run. Queues that are empty or paused hold nobody up. Privileges are needed on each.
SELECT onceq.create_queue('any.a', lease => '1 h'), onceq.create_queue('any.b', lease => '2 h'), onceq.create_queue('any.c');
CREATE FUNCTION any_code(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- in order: the next one only when the one before has nothing
SELECT count(*) FROM onceq.claim_any('{any.a,any.b,any.c}');
SELECT onceq.enqueue('any.b', '"b1"') + onceq.enqueue('any.b', '"b2"') + onceq.enqueue('any.a', '"a1"') > 0;
SELECT queue, payload, attempt, priority FROM onceq.claim_any('{any.a,any.b,any.c}', count => 10);
SELECT queue, payload, lease_until > clock_timestamp() + interval '110 min' AS own_lease FROM onceq.claim_any('{any.a,any.b,any.c}', count => 10);
SELECT count(*) FROM onceq.claim_any('{any.a,any.b,any.c}', count => 10);
SELECT queue, count(*), sum(jobs) FROM onceq.leases WHERE queue LIKE 'any.%' GROUP BY queue ORDER BY queue;

-- one token for all rows of a call; it works as any other
SELECT count(*) FROM onceq.enqueue_many('any.c', '{1,2,3}');
SELECT count(DISTINCT token), min(token) AS token, min(queue) AS queue FROM onceq.claim_any(ARRAY['any.a', 'any.c'], count => 3, lease => '1 h', worker => 'w') \gset
SELECT :'queue' AS queue, worker, jobs FROM onceq.leases WHERE queue = 'any.c';
SELECT onceq.ack(:token);

-- a call for one queue stays what it was
SELECT onceq.enqueue('any.a', '"a2"') > 0;
SELECT payload FROM onceq.claim('any.a');

-- a paused queue is passed over, and comes back
SELECT onceq.enqueue('any.a', '"a3"') + onceq.enqueue('any.b', '"b3"') > 0;
SELECT onceq.pause_queue('any.a');
SELECT queue, payload FROM onceq.claim_any('{any.a,any.b}');
SELECT count(*) FROM onceq.claim_any('{any.a,any.b}');
SELECT count(*) FROM onceq.claim_any('{any.a,any.b}', wait => '10 ms');
SELECT onceq.resume_queue('any.a');
SELECT queue, payload FROM onceq.claim_any('{any.a,any.b}');

-- weights: shares of the claims, also beside a queue that is empty and one that is paused
SELECT onceq.create_queue('any.' || i) FROM generate_series(1, 4) i;
SELECT count(*) FROM generate_series(1, 3) i, LATERAL onceq.enqueue_many('any.' || i, array_fill('1'::jsonb, ARRAY[4000]));
SELECT onceq.pause_queue('any.3');
CREATE TABLE any_turns (queue text);
DO $$
BEGIN
	FOR i IN 1 .. 2000 LOOP
		INSERT INTO any_turns SELECT queue FROM onceq.claim_any('{any.1,any.2,any.3,any.4}', '{1,3,1000,1000}');
	END LOOP;
END $$;
-- 500 expected, 6 standard deviations
SELECT count(*) AS claims, count(*) FILTER (WHERE queue = 'any.1') BETWEEN 384 AND 616 AS a_quarter,
	count(*) FILTER (WHERE queue IN ('any.3', 'any.4')) AS of_others FROM any_turns;
SELECT onceq.drop_queue('any.' || i) FROM generate_series(1, 4) i;

-- arguments
SELECT code, any_code('SELECT * FROM onceq.claim_any(' || call || ')') = code AS as_promised, call FROM (VALUES
	('22004', 'NULL'), ('22004', '''{any.a,NULL}'''), ('22023', '''{}'''), ('22023', '''{any.a,any.b,any.a}'''), ('2202E', '''{{any.a,any.b},{any.a,any.b}}'''),
	('22023', 'array_fill(''any.a''::text, ARRAY[33])'), ('42704', '''{any.a,any.none}'''), ('42704', '''{any.a,"Any A"}'''),
	('22023', '''{any.a,any.b}'', ''{1}'''), ('22023', '''{any.a}'', ''{1,2}'''), ('22023', '''{any.a}'', ''{0}'''), ('22023', '''{any.a}'', ''{1001}'''),
	('22023', '''{any.a}'', ''{-1}'''), ('22023', '''{any.a}'', ''{}'''), ('22004', '''{any.a,any.b}'', ''{1,NULL}'''), ('2202E', '''{any.a,any.b}'', ''{{1,2},{3,4}}'''),
	('22004', '''{any.a}'', count => NULL'), ('22023', '''{any.a}'', count => 0'), ('22023', '''{any.a}'', count => 1001'), ('22023', '''{any.a}'', lease => ''1 ms'''),
	('22023', '''{any.a}'', wait => ''61 s'''), ('22023', '''{any.a}'', wait => ''-1 s'''), ('22023', '''{any.a}'', hold => ''x'''), ('00000', '''{any.c}'', ''{1000}''')) t (code, call);
SELECT any_code('SELECT onceq.claim_any(''{any.a}'')') AS not_in_from;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM onceq.claim_any('{any.a}', wait => '1 s');
ROLLBACK;

-- privileges: UPDATE on each of them
CREATE ROLE regress_any_consumer;
GRANT EXECUTE ON FUNCTION any_code TO regress_any_consumer;
SELECT onceq.grant_consumer('any.a', 'regress_any_consumer'), onceq.grant_producer('any.b', 'regress_any_consumer');
SELECT onceq.enqueue('any.a', '"a5"') > 0;
SET ROLE regress_any_consumer;
SELECT any_code('SELECT * FROM onceq.claim_any(''{any.a,any.b}'')') AS one_missing;
SELECT any_code('SELECT * FROM onceq.claim_any(''{any.b,any.a}'')') AS one_missing;
SELECT queue, payload FROM onceq.claim_any('{any.a}');
RESET ROLE;

DROP TABLE any_turns;
DROP FUNCTION any_code;
DROP OWNED BY regress_any_consumer;
DROP ROLE regress_any_consumer;
SELECT onceq.drop_queue('any.a'), onceq.drop_queue('any.b'), onceq.drop_queue('any.c');
