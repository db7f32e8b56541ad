-- Bad input of every kind gets the SQLSTATE that is promised, changes nothing and loses nothing: a lease that
-- is held meanwhile is held afterwards, with all its jobs.
SELECT onceq.create_queue('errors'), onceq.create_queue('errors.other');
-- The SQLSTATE of a statement; 00000: none.
CREATE FUNCTION errors_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE TABLE errors_calls (n int GENERATED ALWAYS AS IDENTITY, promised text, call text);
-- What did not do as promised.
CREATE VIEW errors_broken AS
	SELECT promised, got, call FROM (SELECT n, promised, call, errors_of('SELECT ' || call) AS got FROM errors_calls OFFSET 0) x
	WHERE got <> promised ORDER BY n;

SELECT count(*) FROM onceq.enqueue_many('errors', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 20) i));
SELECT count(*) FROM onceq.enqueue_many('errors.other', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 20) i));
SELECT min(token) AS token, min(id) AS id, max(id) AS last FROM onceq.claim('errors', 10, lease => '1 h') \gset
SELECT min(token) AS other FROM onceq.claim('errors.other', 10, lease => '1 h') \gset
SELECT min(token) AS ended FROM onceq.claim('errors', 1) \gset
SELECT onceq.ack(:ended);
SELECT min(token) AS released FROM onceq.claim('errors', 1) \gset
SELECT onceq.release(:released);
CREATE TABLE errors_before AS SELECT * FROM onceq.queue_stats WHERE queue LIKE 'errors%';

-- ---- queues that are not there, and names that are none

INSERT INTO errors_calls (promised, call)
SELECT '42704', format(c, quote_literal(name)) FROM (VALUES ('onceq.enqueue(%s, ''1'')'), ('onceq.enqueue_many(%s, ''{1}'')'),
	('* FROM onceq.claim(%s)'), ('* FROM onceq.ack_and_claim(NULL, %s)'), ('onceq.purge_queue(%s)'), ('onceq.drop_queue(%s)'),
	('onceq.alter_queue(%s)'), ('onceq.pause_queue(%s)'), ('onceq.resume_queue(%s)'), ('onceq.job(%s, 1)'), ('onceq.jobs(%s)'),
	('* FROM onceq.audit(%s)'), ('onceq.grant_producer(%s, ''postgres'')'), ('onceq.grant_consumer(%s, ''postgres'')')) t (c),
	unnest(ARRAY['none', '', ' ', 'Errors', 'errors ', 'errors''', '"errors"', 'errors.', E'err\nors', 'ärger', repeat('e', 63), repeat('e', 64), repeat('e', 100000)]) name;
INSERT INTO errors_calls (promised, call)
SELECT '22023', format('onceq.create_queue(%L)', name)
FROM unnest(ARRAY['', ' ', 'Errors', '1', '-', 'e e', 'e/', 'e''', 'é', E'e\t', repeat('e', 64), repeat('e', 100000)]) name;
SELECT count(*) FROM errors_calls;
SELECT * FROM errors_broken;
TRUNCATE errors_calls;

-- ---- null where something must be

INSERT INTO errors_calls (promised, call) SELECT '22004', call FROM (VALUES
	('onceq.enqueue(NULL, ''1'')'), ('onceq.enqueue(''errors'', NULL)'), ('onceq.enqueue(''errors'', ''1'', priority => NULL)'),
	('onceq.enqueue_many(NULL, ''{1}'')'), ('onceq.enqueue_many(''errors'', NULL)'), ('onceq.enqueue_many(''errors'', ARRAY[NULL]::jsonb[])'),
	('onceq.enqueue_many(''errors'', ARRAY[''1'', NULL, ''3'']::jsonb[])'), ('onceq.enqueue_many(''errors'', ''{1}'', priority => NULL)'),
	('* FROM onceq.claim(NULL)'), ('* FROM onceq.claim(''errors'', NULL)'), ('* FROM onceq.claim(''errors'', hold => NULL)'),
	('* FROM onceq.ack_and_claim(NULL, NULL)'), ('* FROM onceq.ack_and_claim(NULL, ''errors'', NULL)'),
	('onceq.ack(NULL::bigint)'), ('onceq.ack(NULL, 1)'), ('onceq.ack(NULL, ARRAY[1])'), ('onceq.nack(NULL, 1)'), ('onceq.reject(NULL, 1)'),
	('onceq.release(NULL)'), ('onceq.extend(NULL)'), ('onceq.next_claim_at(NULL)'), ('onceq.purge_queue(NULL)'), ('onceq.drop_queue(NULL)'), ('onceq.drop_queue(NULL, true)'),
	('onceq.create_queue(NULL)'), ('onceq.alter_queue(NULL)'), ('onceq.pause_queue(NULL)'), ('onceq.resume_queue(NULL)'),
	('onceq.job(NULL, 1)'), ('onceq.job(''errors'', NULL)'), ('onceq.jobs(NULL)'), ('onceq.jobs(''errors'', after_id => NULL)'), ('onceq.jobs(''errors'', count => NULL)'),
	('* FROM onceq.audit(NULL)'), ('onceq.grant_producer(NULL, ''postgres'')'), ('onceq.grant_producer(''errors'', NULL)'), ('onceq.adopt(NULL)')) t (call);
INSERT INTO errors_calls (promised, call) SELECT '22004', format(call, :token) FROM (VALUES
	('onceq.ack(%s, NULL::bigint)'), ('onceq.ack(%s, NULL::bigint[])'), ('onceq.ack(%s, ARRAY[NULL]::bigint[])'),
	('onceq.ack(%s, ARRAY[1, NULL])'), ('onceq.nack(%s, NULL)'), ('onceq.reject(%s, NULL)')) t (call);
SELECT * FROM errors_broken;
TRUNCATE errors_calls;

-- ---- numbers and times out of range

INSERT INTO errors_calls (promised, call)
SELECT '22023', format('onceq.enqueue(''errors'', ''1'', priority => %s)', p) FROM unnest(ARRAY[-1, 10, 32768, 2147483647, -2147483648]) p
UNION ALL SELECT '22023', format('onceq.enqueue_many(''errors'', ''{1}'', priority => %s)', p) FROM unnest(ARRAY[-1, 10, 2147483647, -2147483648]) p
UNION ALL SELECT '22023', format('onceq.enqueue(''errors'', ''1'', max_attempts => %s)', p) FROM unnest(ARRAY[0, -1, 1001, 2147483647, -2147483648]) p
UNION ALL SELECT '22023', format('onceq.enqueue(''errors'', ''1'', run_at => %L)', t) FROM unnest(ARRAY['infinity', '-infinity', '294276-12-31', (now() + '367 days')::text]) t
UNION ALL SELECT '22023', format('onceq.enqueue_many(''errors'', ''{1}'', run_at => %L)', t) FROM unnest(ARRAY['infinity', '-infinity', '294276-12-31']) t
UNION ALL SELECT '22023', format('onceq.enqueue(''errors'', ''1'', delay => %L)', t) FROM unnest(ARRAY['-1 us', '-1 day', '367 days', '13 months', '1000000 years', '-178000000 years', '2147483647 days', '2562047788 h']) t
UNION ALL SELECT '22023', format('onceq.enqueue_many(''errors'', ''{1}'', delay => %L)', t) FROM unnest(ARRAY['-1 us', '367 days', '178000000 years']) t
UNION ALL SELECT '22023', 'onceq.enqueue(''errors'', ''1'', run_at => now(), delay => ''0'')'
UNION ALL SELECT '22023', 'onceq.enqueue_many(''errors'', ''{1}'', run_at => now(), delay => ''0'')'
UNION ALL SELECT '22023', format('* FROM onceq.claim(''errors'', %s)', c) FROM unnest(ARRAY[0, -1, 1001, 2147483647, -2147483648]) c
UNION ALL SELECT '22023', format('* FROM onceq.ack_and_claim(NULL, ''errors'', %s)', c) FROM unnest(ARRAY[0, -1, 1001, 2147483647, -2147483648]) c
UNION ALL SELECT '22023', format('* FROM onceq.claim(''errors'', lease => %L)', t) FROM unnest(ARRAY['0', '-1 s', '99 ms', '99999 us', '12 h 1 us', '1 day', '1 mon -30 days', '178000000 years', '-178000000 years']) t
UNION ALL SELECT '22023', format('* FROM onceq.ack_and_claim(NULL, ''errors'', lease => %L)', t) FROM unnest(ARRAY['0', '-1 s', '99 ms', '12 h 1 us']) t
UNION ALL SELECT '22023', format('* FROM onceq.claim(''errors'', hold => %L)', t) FROM unnest(ARRAY['', 'Time', 'session ', 'transaction', repeat('x', 100000)]) t
UNION ALL SELECT '22023', format('onceq.extend(%s, %L)', :token, t) FROM unnest(ARRAY['0', '-1 s', '99 ms', '12 h 1 us', '178000000 years']) t
UNION ALL SELECT '22023', format('onceq.nack(%s, %s, retry_in => %L)', :token, :id, t) FROM unnest(ARRAY['-1 us', '367 days', '178000000 years', '-178000000 years']) t
UNION ALL SELECT '22023', format('onceq.jobs(''errors'', count => %s)', c) FROM unnest(ARRAY[0, -1, 10001, 2147483647, -2147483648]) c
UNION ALL SELECT '22023', format('onceq.jobs(''errors'', state => %L)', s) FROM unnest(ARRAY['', 'Ready', 'done', 'leased', repeat('x', 100000)]) s
UNION ALL SELECT '22023', format('onceq.create_queue(''errors.bad'', %s)', o) FROM unnest(ARRAY['lease => ''99 ms''', 'lease => ''13 h''', 'max_attempts => 0',
	'max_attempts => 1001', 'backoff_base => ''-1 s''', 'backoff_factor => 0.99', 'backoff_factor => 101', 'backoff_factor => ''NaN''', 'backoff_factor => ''infinity''',
	'backoff_max => ''-1 s''', 'backoff_jitter => -0.1', 'backoff_jitter => 1.1', 'backoff_jitter => ''NaN''', 'retention => ''-1 s''', 'retention => ''178000000 years''', 'segment_age => ''0''',
	'soft_time_limit => ''99 ms''', 'hard_time_limit => ''13 h''', 'hard_time_limit => ''-1 s''', 'on_dead_key => ''''', 'on_dead_key => ''stop''', 'max_running => -1',
	'max_running_per_key => 1000001', 'rate_limit => -1', 'rate_period => ''0''', 'rate_period => ''2 days''', 'rate_burst => 2147483647',
	'priority_ageing => ''1 ms''', 'dead_letter_queue => ''No queue''', 'dead_letter_queue => repeat(''a'', 64)', 'archive_to => repeat(''a'', 200)']) o
UNION ALL SELECT '22023', format('onceq.enqueue(''errors'', ''1'', %s => %L)', l, t) FROM unnest(ARRAY['soft_time_limit', 'hard_time_limit']) l,
	unnest(ARRAY['0', '-1 s', '99 ms', '12 h 1 us', '178000000 years']) t;
SELECT count(*) FROM errors_calls;
SELECT * FROM errors_broken;
TRUNCATE errors_calls;

-- ---- too large; arrays of the wrong shape

INSERT INTO errors_calls (promised, call) VALUES
	('54000', 'onceq.enqueue(''errors'', to_jsonb(repeat(''x'', 300000)))'),
	('54000', 'onceq.enqueue(''errors'', (SELECT jsonb_agg(i) FROM generate_series(1, 100000) i))'),
	('54000', 'onceq.enqueue(''errors'', to_jsonb(repeat(''x'', 16777216)))'),
	('54000', 'onceq.enqueue(''errors'', ''1'', headers => to_jsonb(repeat(''x'', 9000)))'),
	('54000', 'onceq.enqueue_many(''errors'', ARRAY[''1'', to_jsonb(repeat(''x'', 300000)), ''3''])'),
	('54000', 'onceq.enqueue_many(''errors'', ''{1}'', headers => ARRAY[to_jsonb(repeat(''x'', 9000))])'),
	('54000', 'onceq.enqueue_many(''errors'', array_fill(''1''::jsonb, ARRAY[10001]))'),
	('2202E', 'onceq.enqueue_many(''errors'', array_fill(''1''::jsonb, ARRAY[2, 2]))'),
	('2202E', 'onceq.enqueue_many(''errors'', ''{1,2,3,4}'', headers => array_fill(''1''::jsonb, ARRAY[2, 2]))'),
	('22023', 'onceq.enqueue_many(''errors'', ''{1,2}'', headers => ''{1}'')'),
	('22023', 'onceq.enqueue_many(''errors'', ''{1}'', headers => ''{1,2}'')'),
	('22023', 'onceq.enqueue_many(''errors'', ''{1}'', headers => ''{}'')'),
	('22023', 'onceq.enqueue_many(''errors'', ''{}'', headers => ''{1}'')');
SELECT * FROM errors_broken;
TRUNCATE errors_calls;

-- ---- tokens that hold nothing

CREATE TABLE errors_tokens (token bigint, what text);
INSERT INTO errors_tokens VALUES (0, 'none'), (-1, 'none'), (1, 'none'), (9223372036854775807, 'max'), (-9223372036854775808, 'min'),
	(-:token, 'negated'), (:ended, 'ended'), (:released, 'released');
INSERT INTO errors_tokens SELECT :token # (1::bigint << bit), 'bit ' || bit FROM generate_series(0, 63) bit;
INSERT INTO errors_tokens SELECT (random() * 9.2e18)::bigint, 'random' FROM generate_series(1, 2000);
INSERT INTO errors_calls (promised, call) SELECT 'OQ001', format(call, quote_literal(token) || '::bigint', :id) FROM errors_tokens, (VALUES
	('onceq.ack(%1$s)'), ('onceq.ack(%1$s, %2$s)'), ('onceq.ack(%1$s, ARRAY[%2$s])'), ('onceq.ack(%1$s, ''{}''::bigint[])'), ('onceq.nack(%1$s, %2$s)'),
	('onceq.reject(%1$s, %2$s)'), ('onceq.release(%1$s)'), ('onceq.release(%1$s, %2$s)'), ('onceq.extend(%1$s)'),
	('* FROM onceq.ack_and_claim(%1$s, ''errors'')')) t (call);
SELECT count(*) FROM errors_calls;
SELECT * FROM errors_broken;
TRUNCATE errors_calls;

-- ---- jobs that are not of the lease

INSERT INTO errors_calls (promised, call) SELECT 'OQ001', format(call, :token, quote_literal(id) || '::bigint') FROM
	(SELECT unnest(ARRAY[0, -1, 9223372036854775807, -9223372036854775808, :last + 1, :last + 2, :id - 1, :id + 1048576, 4294967297])
	 UNION ALL SELECT :id + (1::bigint << bit) FROM generate_series(4, 62) bit) i (id), (VALUES
	('onceq.ack(%s, %s)'), ('onceq.ack(%s, ARRAY[%s])'), ('onceq.nack(%s, %s)'), ('onceq.reject(%s, %s)'), ('onceq.release(%s, %s)')) t (call);
INSERT INTO errors_calls (promised, call) VALUES ('OQ001', format('onceq.ack(%s, ARRAY[%s, %s])', :token, :id, :last + 1));
SELECT count(*) FROM errors_calls;
SELECT * FROM errors_broken;
TRUNCATE errors_calls;

-- ---- what a read-only transaction may not do

BEGIN READ ONLY;
SELECT errors_of('SELECT onceq.enqueue(''errors'', ''1'')') AS enqueue, errors_of('SELECT onceq.enqueue_many(''errors'', ''{1}'')') AS enqueue_many,
	errors_of(format('SELECT onceq.ack(%s)', :token)) AS ack, errors_of(format('SELECT onceq.ack(%s, %s)', :token, :id)) AS ack_id,
	errors_of(format('SELECT onceq.ack(%s, ARRAY[%s])', :token, :id)) AS ack_ids, errors_of(format('SELECT onceq.nack(%s, %s)', :token, :id)) AS nack,
	errors_of(format('SELECT onceq.reject(%s, %s)', :token, :id)) AS reject, errors_of('SELECT * FROM onceq.ack_and_claim(NULL, ''errors'')') AS again;
SELECT errors_of('SELECT onceq.create_queue(''errors.new'')') AS create_queue, errors_of('SELECT onceq.alter_queue(''errors'')') AS alter_queue,
	errors_of('SELECT onceq.drop_queue(''errors'')') AS drop_queue, errors_of('SELECT onceq.purge_queue(''errors'')') AS purge,
	errors_of('SELECT onceq.pause_queue(''errors'')') AS pause, errors_of('SELECT onceq.grant_producer(''errors'', ''postgres'')') AS grant_producer,
	errors_of('CALL onceq.recover()') AS recover, errors_of('CALL onceq.maintain()') AS maintain;
SELECT errors_of('SELECT onceq.jobs(''errors'')') AS jobs, errors_of('SELECT * FROM onceq.queue_stats') AS stats, errors_of('SELECT * FROM onceq.leases') AS leases;
ROLLBACK;

-- ---- two-phase commit is refused; a transaction that only looked may prepare (and fails for another reason here)

\set VERBOSITY sqlstate
BEGIN;
SELECT onceq.enqueue('errors', '"prepared"') > 0;
PREPARE TRANSACTION 'errors';
BEGIN;
SELECT onceq.ack(:token, :id);
PREPARE TRANSACTION 'errors';
\set VERBOSITY default

-- ---- in a parallel worker, where a function that claims to be safe might call them

CREATE FUNCTION errors_unsafe() RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN
	RETURN onceq.enqueue('errors', '"parallel"');
END $$;
SELECT set_config(name, 'on', false) AS forced FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
\set VERBOSITY sqlstate
SELECT errors_unsafe();
\set VERBOSITY default
SELECT set_config(name, 'off', false) AS forced FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
DROP FUNCTION errors_unsafe;

-- ---- functions that are not there

SELECT errors_of('SELECT onceq.ack()') AS no_argument, errors_of('SELECT onceq.ack(''x'')') AS no_number, errors_of('SELECT onceq.ack(1.5)') AS numeric,
	errors_of('SELECT onceq.enqueue(''errors'', ''{'')') AS no_json, errors_of('SELECT onceq.enqueue(''errors'', ''1'', unknown => 1)') AS unknown_argument,
	errors_of('SELECT onceq.enqueue(''errors'', E''"\\u0000"'')') AS null_character;

-- ---- tables that a superuser has altered are no crash

BEGIN;
ALTER TABLE onceq.queue ADD COLUMN extra int DEFAULT 1;
SELECT errors_of('SELECT onceq.enqueue(''errors'', ''1'')') AS queue;
ROLLBACK;
BEGIN;
ALTER TABLE onceq.id_ceiling ADD COLUMN extra int DEFAULT 1;
SELECT errors_of('SELECT onceq.create_queue(''errors.altered'')') AS id_ceiling;
ROLLBACK;
BEGIN;
DO $$ BEGIN EXECUTE format('ALTER TABLE %s ADD COLUMN extra int DEFAULT 1', replace((SELECT privileges FROM onceq.queues WHERE queue = 'errors')::text, '.q', '.j') || '_0000'); END $$;
SELECT errors_of('SELECT onceq.enqueue(''errors'', ''1'')') AS jobs;
ROLLBACK;
BEGIN;
ALTER TABLE onceq.unique_key ADD COLUMN extra int DEFAULT 1;
SELECT errors_of('SELECT onceq.enqueue(''errors'', ''1'', unique_key => ''k'')') AS unique_key;
ROLLBACK;

-- ---- nothing was lost, nothing came to be

SELECT onceq.ack(:token, ids => '{}') AS still_held;
SELECT b.queue, s.ready - b.ready AS ready, s.running - b.running AS running, s.enqueued - b.enqueued AS enqueued, s.delivered - b.delivered AS delivered,
	s.succeeded - b.succeeded AS succeeded, s.failed - b.failed AS failed, s.dead - b.dead AS dead, s.cancelled - b.cancelled AS cancelled, s.released - b.released AS released
FROM errors_before b JOIN onceq.queue_stats s USING (queue) ORDER BY queue;
SELECT onceq.ack(:token), onceq.ack(:other);
SELECT queue, state, count(*) FROM (SELECT * FROM onceq.jobs('errors') UNION ALL SELECT * FROM onceq.jobs('errors.other')) j GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM onceq.audit('errors');
SELECT * FROM onceq.audit('errors.other');
SELECT count(*) FROM onceq.queues WHERE queue LIKE 'errors%';

SELECT onceq.drop_queue('errors'), onceq.drop_queue('errors.other');
DROP VIEW errors_broken;
DROP TABLE errors_calls, errors_tokens, errors_before;
DROP FUNCTION errors_of;
