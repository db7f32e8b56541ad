-- Attacks, a named test each: what a user may try who can log in, makes objects of his own, holds some privilege on a
-- queue or was given one by mistake. Each is refused with the SQLSTATE that is promised, or does nothing.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only true

SELECT * FROM no_plan();
SET client_min_messages = warning;

SELECT onceq.create_queue('victim', backoff_base => '0'), onceq.create_queue('gone'), onceq.create_consumer('victim');
SELECT onceq.once('victim', 'secret event');
SELECT count(*) FROM onceq.enqueue_many('victim', array_fill('"secret"'::jsonb, ARRAY[20]));
SELECT onceq.enqueue('gone', '1');
CREATE ROLE att_mallory;
CREATE ROLE att_producer;
CREATE ROLE att_consumer;
CREATE ROLE att_admin IN ROLE onceq_admin;
CREATE ROLE att_operator IN ROLE onceq_operator;
SELECT onceq.grant_producer('victim', 'att_producer'), onceq.grant_consumer('victim', 'att_consumer'), onceq.grant_consumer('gone', 'att_consumer');
CREATE SCHEMA evil AUTHORIZATION att_mallory;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
SELECT privileges AS anchor, min(c.oid::regclass::text) AS segment FROM onceq.queues q JOIN pg_class c ON c.relkind = 'r'
	AND c.relname ~ ('^j' || substr(q.privileges::text, 13) || '_') WHERE queue = 'victim' GROUP BY 1 \gset

CREATE TABLE att (name text PRIMARY KEY, token bigint, id bigint);
GRANT SELECT ON att TO PUBLIC;
SET ROLE att_consumer;
SELECT token AS gone FROM onceq.claim('gone', lease => '1 h') \gset
SELECT token AS held, id AS held_id FROM onceq.claim('victim', lease => '1 h') \gset
SELECT token AS released FROM onceq.claim('victim', lease => '1 h') \gset
SELECT onceq.release(:released);
RESET ROLE;
INSERT INTO att VALUES ('held', :held, :held_id), ('released', :released, 0), ('gone', :gone, 0);
CREATE FUNCTION t(text) RETURNS bigint LANGUAGE sql AS 'SELECT token FROM public.att WHERE name = $1';
CREATE FUNCTION i(text) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM public.att WHERE name = $1';
SELECT onceq.drop_queue('gone');

-- ---- shadows: objects that are found first by whoever has schema evil in his search_path

SET SESSION AUTHORIZATION att_mallory;
CREATE TABLE evil.caught (what text, by name);
GRANT INSERT ON evil.caught TO PUBLIC;
CREATE FUNCTION evil.caught(what text) RETURNS text LANGUAGE sql AS 'INSERT INTO evil.caught VALUES (what, current_user); SELECT what';
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT evil.caught('now'); SELECT pg_catalog.now() $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT evil.caught('clock_timestamp'); SELECT pg_catalog.now() $$;
CREATE FUNCTION evil.has_table_privilege(oid, text) RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('has_table_privilege'); SELECT true $$;
CREATE FUNCTION evil.pg_has_role(name, text) RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('pg_has_role'); SELECT true $$;
CREATE FUNCTION evil.pg_get_userbyid(oid) RETURNS name LANGUAGE sql AS $$ SELECT evil.caught('pg_get_userbyid'); SELECT 'x'::name $$;
CREATE FUNCTION evil.text_eq(text, text) RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('= text'); SELECT true $$;
CREATE FUNCTION evil.name_eq(name, name) RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('= name'); SELECT true $$;
CREATE FUNCTION evil.int_eq(int, int) RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('= int'); SELECT true $$;
CREATE FUNCTION evil.bigint_eq(bigint, bigint) RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('= bigint'); SELECT true $$;
CREATE FUNCTION evil.oid_eq(oid, oid) RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('= oid'); SELECT true $$;
CREATE FUNCTION evil.char_eq("char", "char") RETURNS bool LANGUAGE sql AS $$ SELECT evil.caught('= char'); SELECT true $$;
CREATE FUNCTION evil.text_int(text, int) RETURNS text LANGUAGE sql AS $$ SELECT evil.caught('||'); SELECT 'q1'::text $$;
CREATE OPERATOR evil.= (FUNCTION = evil.text_eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR evil.= (FUNCTION = evil.name_eq, LEFTARG = name, RIGHTARG = name);
CREATE OPERATOR evil.= (FUNCTION = evil.int_eq, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR evil.= (FUNCTION = evil.bigint_eq, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR evil.= (FUNCTION = evil.oid_eq, LEFTARG = oid, RIGHTARG = oid);
CREATE OPERATOR evil.= (FUNCTION = evil.char_eq, LEFTARG = "char", RIGHTARG = "char");
CREATE OPERATOR evil.|| (FUNCTION = evil.text_int, LEFTARG = text, RIGHTARG = int);
CREATE DOMAIN evil.interval AS text;
CREATE DOMAIN evil.jsonb AS text;
CREATE TABLE evil.queue (LIKE pg_catalog.pg_class);
CREATE TABLE evil.segment (x int);
CREATE TABLE evil.id_ceiling (x int);
CREATE VIEW evil.pg_class AS SELECT evil.caught('pg_class') AS relname;
CREATE VIEW evil.pg_roles AS SELECT evil.caught('pg_roles') AS rolname;
RESET SESSION AUTHORIZATION;

-- What everybody does, done by a superuser with that search_path.
CREATE FUNCTION everything(queue text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	lease pg_catalog.int8;
	job pg_catalog.int8;
BEGIN
	PERFORM onceq.create_queue(queue, lease => '1 min');
	PERFORM onceq.alter_queue(queue, max_attempts => 3);
	PERFORM onceq.grant_producer(queue, 'att_producer');
	PERFORM onceq.enqueue(queue, '1', delay => '1 h');
	PERFORM onceq.enqueue_many(queue, '{1,2,3,4}');
	RETURN 'done';
END $$;
CREATE FUNCTION everything_else(queue text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	lease pg_catalog.int8;
	job pg_catalog.int8;
BEGIN
	SELECT c.token, c.id INTO lease, job FROM onceq.claim(queue) c;
	PERFORM onceq.progress(lease, job, 1), onceq.extend(lease), onceq.nack(lease, job);
	SELECT c.token, c.id INTO lease, job FROM onceq.claim_any(ARRAY[queue]) c;
	PERFORM onceq.ack(lease, job, '1');
	PERFORM onceq.job(queue, 1), onceq.next_claim_at(queue), onceq.pause_queue(queue), onceq.resume_queue(queue);
	PERFORM onceq.jobs(queue);
	PERFORM * FROM onceq.audit(queue);
	PERFORM * FROM onceq.queues;
	PERFORM * FROM onceq.queue_stats;
	PERFORM * FROM onceq.leases;
	PERFORM * FROM onceq.workers;
	PERFORM * FROM onceq.worker_chores;
	PERFORM * FROM onceq.consumers;
	PERFORM * FROM onceq.processed_events;
	PERFORM onceq.once('victim', queue), onceq.is_processed('victim', queue), onceq.forget('victim', queue);
	CALL onceq.recover();
	CALL onceq.maintain();
	PERFORM onceq.purge_queue(queue), onceq.drop_queue(queue);
	RETURN 'done';
END $$;
SET search_path = evil, pg_catalog, public;
SELECT public.everything('shadowed') AS first \gset
SELECT public.everything_else('shadowed') AS second \gset
RESET search_path;
SELECT is(:'first'::text, 'done', 'functions, operators, types and tables of another schema come first: producers and administrators work');
SELECT is(:'second'::text, 'done', '… consumers and operators work');
SELECT is_empty('SELECT * FROM evil.caught', '… and none of them was ever called');
CREATE TEMP TABLE queue (x int);
CREATE TEMP TABLE segment (x int);
CREATE TEMP TABLE pg_class (relname name);
CREATE TEMP TABLE pg_roles (rolname name);
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT evil.caught('pg_temp'); SELECT pg_catalog.now() $$;
SET search_path = pg_temp, evil, pg_catalog, public;
SELECT public.everything('temporary') AS first \gset
SELECT public.everything_else('temporary') AS second \gset
RESET search_path;
DROP TABLE pg_temp.queue, pg_temp.segment, pg_temp.pg_class, pg_temp.pg_roles;
SELECT is(:'first'::text, 'done', 'so do temporary tables and functions: producers and administrators work');
SELECT is(:'second'::text, 'done', '… consumers and operators work');
SELECT is_empty('SELECT * FROM evil.caught', '… and nothing was called');

-- ---- a stranger with objects of his own

SET SESSION AUTHORIZATION att_mallory;
SELECT throws_ok('CREATE FUNCTION onceq.enqueue(text, json) RETURNS bigint LANGUAGE sql AS ''SELECT 1::bigint''', '42501', NULL, 'a better match for onceq.enqueue');
SELECT throws_ok('CREATE TABLE onceq_data.j9_0 (id bigint)', '42501', NULL, 'a segment of his own');
SELECT throws_ok('CREATE FUNCTION evil.adopt() RETURNS void LANGUAGE c AS ''onceq'', ''onceq_adopt''', '42501', NULL, 'the library by another name');
SELECT throws_ok('CREATE OR REPLACE VIEW onceq.queues AS SELECT 1 AS x', '42501', NULL, 'a view replaced');
SELECT throws_ok('ALTER FUNCTION onceq.claim(text, int, interval, interval, text, text) OWNER TO att_mallory', '42501', NULL, 'a function taken over');
SELECT throws_ok('ALTER EXTENSION onceq ADD FUNCTION evil.now()', '42501', NULL, 'something smuggled into the extension');
SELECT throws_ok('DROP EXTENSION onceq', '42501', NULL, 'the extension dropped');
SELECT throws_ok('COMMENT ON FUNCTION onceq.adopt(bool) IS ''harmless''', '42501', NULL, 'a comment forged');
SELECT throws_ok('SET ROLE onceq_owner', '42501', NULL, 'SET ROLE to the owner');
SELECT throws_ok('SET ROLE onceq_worker', '42501', NULL, 'SET ROLE to the worker');
SELECT throws_ok('SET ROLE onceq_admin', '42501', NULL, 'SET ROLE to the administrators');
SELECT throws_ok('GRANT onceq_owner TO att_mallory', '42501', NULL, 'membership in the owner');
SELECT throws_ok('GRANT onceq_admin TO att_mallory', '42501', NULL, 'membership in the administrators');
SELECT throws_ok('ALTER ROLE onceq_worker CONNECTION LIMIT 10', '42501', NULL, 'the worker''s role opened for clients');
SELECT throws_ok('ALTER DEFAULT PRIVILEGES FOR ROLE onceq_owner GRANT ALL ON TABLES TO PUBLIC', '42501', NULL, 'default privileges on the segments to come');
SELECT throws_ok('SET onceq.payload_max = ''1 GB''', '42501', NULL, 'a limit lifted by SET');
SELECT throws_ok('SET onceq.queue_lease_share = 100', '55P02', NULL, 'a share of the leases taken by SET');
SELECT throws_ok(format('SELECT * FROM %s', :'segment'), '42501', NULL, 'jobs read from their table');
SELECT throws_ok('SELECT * FROM onceq.lease_journal', '42501', NULL, 'tokens read from the journal');
SELECT throws_ok('SELECT nextval(''onceq.queue_id_seq'')', '42501', NULL, 'numbers of queues used up');
SELECT throws_ok('LOCK TABLE onceq.queue IN ACCESS SHARE MODE', '42501', NULL, 'everybody stopped by a lock on the catalog');
SELECT throws_ok(format('LOCK TABLE %s IN ACCESS SHARE MODE', :'segment'), '42501', NULL, '… or on a segment');
SELECT throws_ok(format('SELECT onceq.ack(%s)', :held), '42501', NULL, 'a token that was overheard: ack');
SELECT throws_ok(format('SELECT onceq.nack(%s, %s)', :held, :held_id), '42501', NULL, '… nack');
SELECT throws_ok(format('SELECT onceq.release(%s)', :held), '42501', NULL, '… release');
SELECT throws_ok(format('SELECT onceq.extend(%s)', :held), '42501', NULL, '… extend');
SELECT throws_ok(format('SELECT onceq.cancelled(%s)', :held), '42501', NULL, '… cancelled');
SELECT throws_ok(format('SELECT onceq.progress(%s, %s, 1)', :held, :held_id), '42501', NULL, '… progress');

-- A function that costs nothing is called before the conditions of a view, unless the view is a barrier.
CREATE TABLE evil.leaked (what text);
CREATE FUNCTION evil.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN INSERT INTO evil.leaked VALUES ($1); RETURN true; END';
SELECT is((SELECT count(*) FROM onceq.queues WHERE evil.leak(queue)), 0::bigint, 'no queues are shown to him');
SELECT is((SELECT count(*) FROM onceq.consumers WHERE evil.leak(consumer)), 0::bigint, 'no consumers');
SELECT is((SELECT count(*) FROM onceq.processed_events WHERE evil.leak(event_id)), 0::bigint, 'no events');
SELECT is((SELECT count(*) FROM onceq.queue_stats WHERE evil.leak(queue)), 0::bigint, 'no counters');
SELECT is((SELECT count(*) FROM onceq.leases WHERE evil.leak(worker)), 0::bigint, 'no leases');
SELECT is_empty('SELECT * FROM evil.leaked', '… nor to a function of his in the WHERE clause');
RESET SESSION AUTHORIZATION;
SELECT is_empty($$ SELECT attname FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'onceq'::regnamespace AND relkind = 'v') AND attname ~ 'token' $$, 'no view shows tokens');

-- ---- a producer who wants more

SET SESSION AUTHORIZATION att_producer;
SELECT throws_ok('SELECT * FROM onceq.claim(''victim'')', '42501', NULL, 'a producer claims');
SELECT throws_ok('SELECT * FROM onceq.claim_any(''{victim}'')', '42501', NULL, '… from several');
SELECT throws_ok('SELECT onceq.jobs(''victim'')', '42501', NULL, '… looks');
SELECT throws_ok('SELECT onceq.purge_queue(''victim'')', '42501', NULL, '… purges');
SELECT throws_ok('SELECT onceq.cancel(''victim'', 1)', '42501', NULL, '… cancels');
SELECT throws_ok('SELECT onceq.grant_producer(''victim'', ''att_mallory'')', '42501', NULL, '… lets his friend in');
SELECT throws_ok(format('GRANT INSERT ON %s TO att_mallory', :'anchor'), '42501', NULL, '… by GRANT');
SELECT throws_ok(format('INSERT INTO %s DEFAULT VALUES', :'anchor'), '42501', NULL, '… fills the table that carries the privileges');
SELECT throws_ok(format('LOCK TABLE %s IN ROW EXCLUSIVE MODE', :'anchor'), '42501', NULL, '… locks it');
SELECT throws_ok(format('INSERT INTO %s (id, payload) VALUES (1, ''1'')', :'segment'), '42501', NULL, '… writes a job by hand');
RESET SESSION AUTHORIZATION;

-- ---- a consumer

SET SESSION AUTHORIZATION att_consumer;
SELECT throws_ok(format('SELECT onceq.ack(%s)', :held + 1), 'OQ001', NULL, 'a token that is guessed: one more');
SELECT throws_ok(format('SELECT onceq.ack(%s)', :held # (1::bigint << 40)), 'OQ001', NULL, '… another random part');
SELECT throws_ok(format('SELECT onceq.ack(%s)', -:held), 'OQ001', NULL, '… another sign');
SELECT throws_ok(format('SELECT onceq.ack(%s)', :released), 'OQ001', NULL, 'a token that was released');
SELECT throws_ok(format('SELECT onceq.ack(%s)', :gone), 'OQ001', NULL, 'a token of a queue that is dropped');
SELECT throws_ok(format('SELECT onceq.ack(%s, %s)', :held, :held_id + 1), 'OQ001', NULL, 'a job that is not of the lease');
SELECT throws_ok('SELECT onceq.enqueue(''victim'', ''1'')', '42501', NULL, 'a consumer enqueues');
SELECT throws_ok('SELECT onceq.purge_queue(''victim'')', '42501', NULL, '… purges');
SELECT throws_ok('SELECT onceq.drop_queue(''victim'')', '42501', NULL, '… drops');
SELECT throws_ok('SELECT onceq.alter_queue(''victim'', max_attempts => 1)', '42501', NULL, '… alters');
SELECT throws_ok('SELECT onceq.adopt()', '42501', NULL, '… adopts');
RESET SESSION AUTHORIZATION;

-- Rights of a definer are rights of the definer: what was claimed with them is not the caller's.
CREATE FUNCTION claim_for_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT token FROM onceq.claim(''victim'')';
ALTER FUNCTION claim_for_all() OWNER TO att_consumer;
SET SESSION AUTHORIZATION att_mallory;
SELECT throws_ok('SELECT onceq.ack(public.claim_for_all())', '42501', NULL, 'a token from a function with the rights of its definer');
RESET SESSION AUTHORIZATION;
SELECT is_empty($$ SELECT proname FROM pg_proc WHERE pronamespace = 'onceq'::regnamespace AND prosecdef $$, 'no function of ours runs with the rights of its definer');

-- ---- names that are SQL

SELECT throws_ok('SELECT onceq.create_queue(''x"; DROP TABLE onceq.queue; --'')', '22023', NULL, 'SQL in the name of a queue');
SELECT throws_ok('SELECT onceq.create_queue(''victim; select 1'')', '22023', NULL, '… with a blank');
SELECT throws_ok('SELECT onceq.enqueue(''victim'''' OR ''''1''''=''''1'', ''1'')', '42704', NULL, '… in that of one to enqueue to');
SELECT throws_ok('SELECT * FROM onceq.claim_any(ARRAY[''victim'', ''x'''' UNION SELECT 1''])', '42704', NULL, '… in a list');
SELECT throws_ok('SELECT onceq.grant_producer(''victim'', ''att_mallory; ALTER ROLE att_mallory SUPERUSER'')', '42704', NULL, '… in the name of a role');
SELECT throws_ok('SELECT onceq.create_consumer(''x"; DROP TABLE onceq.queue; --'')', '22023', NULL, '… in that of a consumer');

-- ---- administrators and operators, who may do much and not all

SET SESSION AUTHORIZATION att_operator;
SELECT throws_ok('SELECT onceq.jobs(''victim'')', '42501', NULL, 'an operator reads payloads');
SELECT throws_ok('SELECT * FROM onceq.claim(''victim'')', '42501', NULL, '… claims');
SELECT throws_ok('SELECT onceq.grant_consumer(''victim'', ''att_operator'')', '42501', NULL, '… grants himself what he lacks');
SET SESSION AUTHORIZATION att_admin;
SELECT throws_ok('UPDATE onceq.queue SET name = ''taken''', '42501', NULL, 'an administrator writes the catalog');
SELECT throws_ok(format('SELECT * FROM %s', :'segment'), '42501', NULL, '… reads a segment');
SELECT throws_ok(format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', :'segment'), '42501', NULL, '… opens it');
SELECT throws_ok(format('DROP TABLE %s', :'anchor'), '42501', NULL, '… drops the table that carries the privileges');
SELECT throws_ok(format('ALTER TABLE %s OWNER TO att_admin', :'anchor'), '42501', NULL, '… takes it over');
SELECT throws_ok('CREATE FUNCTION onceq.f() RETURNS int LANGUAGE sql AS ''SELECT 1''', '42501', NULL, '… adds to the schema');
RESET SESSION AUTHORIZATION;

-- ---- privileges given by mistake: row security still hides the jobs, and nothing of a table's owner runs

SELECT format('GRANT USAGE ON SCHEMA onceq_data TO att_mallory; GRANT ALL ON %s TO att_mallory', :'segment') \gexec
SET SESSION AUTHORIZATION att_mallory;
SELECT is_empty(format('SELECT * FROM %s', :'segment'), 'a stray GRANT on a segment shows no job');
SELECT lives_ok(format('DELETE FROM %s', :'segment'), '… deletes none');
SELECT lives_ok(format('UPDATE %s SET payload = ''0''', :'segment'), '… changes none');
SELECT throws_ok(format('INSERT INTO %s (id, enqueued_at, payload) VALUES (1000000, now(), ''1'')', :'segment'), '42501', NULL, '… adds none');
SET row_security = off;
SELECT throws_ok(format('SELECT * FROM %s', :'segment'), '42501', NULL, '… nor with row security off');
RESET row_security;
CREATE FUNCTION evil.trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO evil.caught VALUES (''trigger'', current_user); RETURN NEW; END';
SELECT lives_ok(format('CREATE TRIGGER trap BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION evil.trap()', :'segment'), 'a trigger on a segment can be made with that');
RESET SESSION AUTHORIZATION;
SELECT lives_ok('SELECT onceq.enqueue(''victim'', ''"after the trigger"'')', '… producers work as before');
SELECT is((SELECT count(*) FROM evil.caught), 0::bigint, '… and it is not called');
SELECT is((SELECT count(*) FROM onceq.jobs('victim') WHERE state IN ('ready', 'running')), 21::bigint, 'all jobs are there');

-- An event trigger sees our DDL. Its function runs as the owner of the segments, but in a restricted operation.
CREATE TABLE evil.events (as_whom name, role_changed bool);
GRANT INSERT ON evil.events TO PUBLIC;
CREATE FUNCTION evil.event() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
	changed bool := false;
	whom name := current_user;
BEGIN
	BEGIN
		EXECUTE 'SET LOCAL ROLE att_admin';
		changed := true;
	EXCEPTION WHEN insufficient_privilege THEN NULL;
	END;
	INSERT INTO evil.events VALUES (whom, changed);
END $$;
CREATE EVENT TRIGGER att_event ON ddl_command_start EXECUTE FUNCTION evil.event();
SELECT lives_ok('SELECT onceq.create_queue(''beside.a.trigger'')', 'an event trigger does not disturb');
DROP EVENT TRIGGER att_event;
SELECT set_eq('SELECT DISTINCT as_whom, role_changed FROM evil.events WHERE as_whom = ''onceq_owner''', $$ VALUES ('onceq_owner'::name, false) $$, '… and cannot change its role');

-- ---- after all that

SELECT is((SELECT onceq.ack(t('held'))), 1::bigint, 'the lease is held as before');
SELECT is_empty('SELECT * FROM onceq.audit(''victim'')', 'board and tables agree');
SELECT is((SELECT count(*) FROM pg_roles WHERE rolname IN ('att_mallory', 'onceq_owner') AND rolsuper), 0::bigint, 'nobody became a superuser');
SELECT is_empty($$ SELECT * FROM pg_auth_members WHERE roleid IN ('onceq_owner'::regrole, 'onceq_worker'::regrole) $$, 'nobody became a member');

SELECT * FROM finish();
DROP FUNCTION claim_for_all();
DROP SCHEMA evil CASCADE;
DROP OWNED BY att_mallory, att_producer, att_consumer, att_admin, att_operator CASCADE;
DROP ROLE att_mallory, att_producer, att_consumer, att_admin, att_operator;
