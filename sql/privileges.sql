-- Each privilege on a queue's table allows exactly what it should, and no more; a token works for the role
-- that claimed and for administrators; nobody gets at the tables themselves.
SELECT onceq.create_queue('priv', backoff_base => '0 s'), onceq.create_queue('priv.closed');
SELECT privileges AS anchor FROM onceq.queues WHERE queue = 'priv' \gset
CREATE TABLE priv_roles (role name, privilege text);
INSERT INTO priv_roles VALUES ('regress_priv_insert', 'INSERT'), ('regress_priv_select', 'SELECT'), ('regress_priv_update', 'UPDATE'),
	('regress_priv_delete', 'DELETE'), ('regress_priv_truncate', 'TRUNCATE'), ('regress_priv_none', NULL);
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM priv_roles LOOP
		EXECUTE format('CREATE ROLE %I', r.role);
		IF r.privilege IS NOT NULL THEN
			EXECUTE format('GRANT %s ON %s TO %I', r.privilege, (SELECT privileges FROM onceq.queues WHERE queue = 'priv'), r.role);
		END IF;
	END LOOP;
END $$;
CREATE ROLE regress_priv_admin IN ROLE onceq_admin;
CREATE ROLE regress_priv_operator IN ROLE onceq_operator;
CREATE ROLE regress_priv_monitor IN ROLE onceq_monitor;
INSERT INTO priv_roles VALUES ('regress_priv_admin'), ('regress_priv_operator'), ('regress_priv_monitor');

-- Does a statement, undoes it, and says how it went.
CREATE FUNCTION priv_try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE SQLSTATE 'YES00';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'YES00' THEN 'yes' WHEN '42501' THEN '' ELSE SQLSTATE END;
END $$;
CREATE TABLE priv_held (role name, token bigint, id bigint);
GRANT SELECT ON priv_held TO PUBLIC;
CREATE FUNCTION priv_token() RETURNS bigint LANGUAGE sql AS 'SELECT min(token) FROM priv_held WHERE role = current_user';
CREATE FUNCTION priv_id() RETURNS bigint LANGUAGE sql AS 'SELECT min(id) FROM priv_held WHERE role = current_user';
CREATE TABLE priv_calls (n int GENERATED ALWAYS AS IDENTITY, name text, statement text);
GRANT SELECT ON priv_calls TO PUBLIC;
INSERT INTO priv_calls (name, statement) VALUES
	('enqueue', 'SELECT onceq.enqueue(''priv'', ''1'')'), ('enqueue_many', 'SELECT onceq.enqueue_many(''priv'', ''{1}'')'),
	('job', 'SELECT onceq.job(''priv'', 1)'), ('jobs', 'SELECT onceq.jobs(''priv'')'),
	('claim', 'SELECT * FROM onceq.claim(''priv'')'), ('next_claim_at', 'SELECT onceq.next_claim_at(''priv'')'), ('extend', 'SELECT onceq.extend(priv_token())'),
	('nack', 'SELECT onceq.nack(priv_token(), priv_id())'),
	('ack', 'SELECT onceq.ack(priv_token())'), ('ack one', 'SELECT onceq.ack(priv_token(), priv_id())'), ('ack some', 'SELECT onceq.ack(priv_token(), ARRAY[priv_id()])'),
	('reject', 'SELECT onceq.reject(priv_token(), priv_id())'), ('ack_and_claim', 'SELECT * FROM onceq.ack_and_claim(priv_token(), ''priv'')'),
	('purge', 'SELECT onceq.purge_queue(''priv'')'),
	('pause', 'SELECT onceq.pause_queue(''priv'')'), ('resume', 'SELECT onceq.resume_queue(''priv'')'), ('audit', 'SELECT * FROM onceq.audit(''priv'')'),
	('recover', 'CALL onceq.recover()'), ('maintain', 'CALL onceq.maintain()'), ('chores', 'SELECT * FROM onceq.worker_chores'),
	('alter', 'SELECT onceq.alter_queue(''priv'')'), ('drop', 'SELECT onceq.drop_queue(''priv'')'), ('create', 'SELECT onceq.create_queue(''priv.new'')'),
	('grant', 'SELECT onceq.grant_producer(''priv'', ''regress_priv_none'')'), ('adopt', 'SELECT onceq.adopt()'),
	('release', 'SELECT onceq.release(priv_token())');
CREATE TABLE priv_result (role name, n int, name text, got text);
GRANT INSERT ON priv_result TO PUBLIC;

-- Every role holds a lease: it was allowed to claim, and then only what is its own.
SELECT count(*) FROM onceq.enqueue_many('priv', array_fill('1'::jsonb, ARRAY[50]));
DO $$
DECLARE
	r record;
	anchor regclass := (SELECT privileges FROM onceq.queues WHERE queue = 'priv');
	lease bigint;
	job bigint;
BEGIN
	FOR r IN SELECT * FROM priv_roles LOOP
		EXECUTE format('GRANT UPDATE ON %s TO %I', anchor, r.role);
		EXECUTE format('SET LOCAL ROLE %I', r.role);
		SELECT token, id INTO lease, job FROM onceq.claim('priv', lease => '1 h');
		RESET ROLE;
		INSERT INTO priv_held VALUES (r.role, lease, job);
		IF r.privilege IS DISTINCT FROM 'UPDATE' THEN
			EXECUTE format('REVOKE UPDATE ON %s FROM %I', anchor, r.role);
		END IF;
	END LOOP;
END $$;
DO $$
DECLARE
	r record;
BEGIN
	SET LOCAL client_min_messages = error;
	FOR r IN SELECT * FROM priv_roles LOOP
		EXECUTE format('SET LOCAL ROLE %I', r.role);
		INSERT INTO priv_result SELECT r.role, n, name, priv_try(statement) FROM (SELECT * FROM priv_calls ORDER BY n) c;
		RESET ROLE;
	END LOOP;
END $$;
SELECT name, substr(role, 14) AS role, got, n FROM priv_result ORDER BY n, role \crosstabview name role got

-- extend and release work at once, so that the roles that may have released by now; the others hold on
SELECT role, jobs FROM onceq.leases WHERE queue = 'priv' ORDER BY role;

-- ---- two privileges: the consumer of grant_consumer

SELECT onceq.grant_consumer('priv', 'regress_priv_none');
SET ROLE regress_priv_none;
SELECT token, id FROM onceq.claim('priv', lease => '1 h') \gset
SELECT priv_try('SELECT onceq.enqueue(''priv'', ''1'')') AS enqueue, priv_try(format('SELECT onceq.nack(%s, %s)', :token, :id)) AS nack,
	priv_try(format('SELECT onceq.ack(%s)', :token)) AS ack, priv_try('SELECT onceq.jobs(''priv'')') AS jobs, priv_try('SELECT onceq.purge_queue(''priv'')') AS purge;
SELECT count(*) > 0 AS payloads FROM onceq.jobs('priv') WHERE payload = '1';

-- ---- a token of another role: for its role, superusers and administrators only

\set VERBOSITY sqlstate
SET ROLE regress_priv_update;
SELECT onceq.extend(:token);
SELECT onceq.release(:token);
SELECT onceq.nack(:token, :id);
SET ROLE regress_priv_delete;
SELECT onceq.ack(:token);
SELECT onceq.ack(:token, :id);
SELECT onceq.reject(:token, :id);
SET ROLE regress_priv_operator;
SELECT onceq.ack(:token);
SET ROLE regress_priv_monitor;
SELECT onceq.release(:token);
\set VERBOSITY default
SET ROLE regress_priv_admin;
SELECT onceq.extend(:token) IS NOT NULL AS extended;
SELECT onceq.ack(:token);
SET ROLE regress_priv_none;
SELECT token AS of_none FROM onceq.claim('priv') \gset
RESET ROLE;
SELECT onceq.ack(:of_none);

-- a group: who claims as the group leaves the lease to all who may act as it
CREATE ROLE regress_priv_group ROLE regress_priv_select, regress_priv_insert;
SELECT onceq.grant_consumer('priv', 'regress_priv_group');
SET SESSION AUTHORIZATION regress_priv_select;
SELECT count(*) AS by_membership FROM onceq.claim('priv');
SET ROLE regress_priv_group;
SELECT token FROM onceq.claim('priv') \gset
SET SESSION AUTHORIZATION regress_priv_insert;
\set VERBOSITY sqlstate
SELECT onceq.ack(:token);
\set VERBOSITY default
SET ROLE regress_priv_group;
SELECT onceq.ack(:token);
RESET SESSION AUTHORIZATION;

-- SECURITY DEFINER: the function's owner is who acts
CREATE FUNCTION priv_enqueue() RETURNS bool LANGUAGE sql SECURITY DEFINER AS 'SELECT onceq.enqueue(''priv'', ''"definer"'') > 0';
SET ROLE regress_priv_truncate;
SELECT priv_enqueue();
RESET ROLE;

-- ---- a privilege taken away is gone at once, for leases that are held too

SET ROLE regress_priv_group;
SELECT token FROM onceq.claim('priv', lease => '1 h') \gset
RESET ROLE;
REVOKE DELETE ON :anchor FROM regress_priv_group;
SET ROLE regress_priv_group;
\set VERBOSITY sqlstate
SELECT onceq.ack(:token);
\set VERBOSITY default
SELECT onceq.release(:token);
RESET ROLE;

-- ---- what is shown of queues one has no privilege on: nothing

CREATE FUNCTION priv_shown(as_role name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	shown text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', as_role);
	SELECT concat_ws(' ', (SELECT string_agg(queue, ',' ORDER BY queue) FROM onceq.queues WHERE queue LIKE 'priv%'),
		'|', (SELECT string_agg(queue, ',' ORDER BY queue) FROM onceq.queue_stats WHERE queue LIKE 'priv%'),
		'|', (SELECT string_agg(DISTINCT queue, ',') FROM onceq.leases WHERE queue LIKE 'priv%')) INTO shown;
	RESET ROLE;
	RETURN shown;
END $$;
SELECT role, priv_shown(role) AS "queues | queue_stats | leases" FROM priv_roles;

-- ---- the tables

SELECT 'onceq_data.j' || substr(:'anchor', 13) || '_0000' AS segment \gset
\set VERBOSITY sqlstate
SET ROLE regress_priv_select;
SELECT * FROM :anchor;
SELECT count(*) FROM :segment;
SET ROLE regress_priv_admin;
SELECT count(*) FROM :segment;
INSERT INTO :segment (id, enqueued_at, payload) VALUES (1, now(), '1');
DROP TABLE :segment;
TRUNCATE :segment;
SET ROLE regress_priv_operator;
SELECT count(*) FROM :segment;
\set VERBOSITY default
RESET ROLE;

-- row level security hides the rows even from a stray GRANT
GRANT USAGE ON SCHEMA onceq_data TO regress_priv_select;
GRANT ALL ON :segment TO regress_priv_select;
SET ROLE regress_priv_select;
SELECT count(*) FROM :segment;
DELETE FROM :segment;
UPDATE :segment SET payload = '"stolen"';
\set VERBOSITY sqlstate
INSERT INTO :segment (id, enqueued_at, payload) VALUES (0, now(), '1');
\set VERBOSITY default
RESET ROLE;
REVOKE ALL ON :segment FROM regress_priv_select;
REVOKE USAGE ON SCHEMA onceq_data FROM regress_priv_select;

-- ---- names that lie in wait: nothing of the caller's search_path is used

CREATE SCHEMA priv_evil;
CREATE FUNCTION priv_evil.has_table_privilege(oid, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION priv_evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE FUNCTION priv_evil.equal(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE FUNCTION priv_evil.coalesced(interval, interval) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR priv_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = priv_evil.equal);
CREATE OPERATOR priv_evil.= (LEFTARG = interval, RIGHTARG = interval, FUNCTION = priv_evil.coalesced);
CREATE TABLE priv_evil.pg_class (oid oid, relname name);
CREATE TEMP TABLE queue (id int, name text);
CREATE TEMP TABLE segment (queue_id int);
CREATE TEMP TABLE id_ceiling (queue_id int);
SET search_path = priv_evil, pg_temp, pg_catalog;
SELECT onceq.create_queue('priv.evil'), onceq.alter_queue('priv.evil', max_attempts => 3);
SELECT onceq.enqueue('priv.evil', '"good"') OPERATOR(pg_catalog.>) 0 AS enqueued;
SELECT onceq.ack(token) FROM onceq.claim('priv.evil');
SELECT state, payload FROM onceq.jobs('priv.evil');
SELECT onceq.drop_queue('priv.evil');
SET ROLE regress_priv_truncate;
SELECT count(*) FROM onceq.queues WHERE queue OPERATOR(pg_catalog.=) 'priv.closed';
RESET ROLE;
RESET search_path;
DROP TABLE pg_temp.queue, pg_temp.segment, pg_temp.id_ceiling;
SET client_min_messages = warning;
DROP SCHEMA priv_evil CASCADE;

-- ---- roles cannot be dropped while they have privileges, and can afterwards

\set VERBOSITY sqlstate
DROP ROLE regress_priv_insert;
\set VERBOSITY default
REVOKE ALL ON :anchor FROM regress_priv_insert, regress_priv_select, regress_priv_update, regress_priv_delete,
	regress_priv_truncate, regress_priv_none, regress_priv_group;
DROP TABLE priv_roles, priv_held, priv_calls, priv_result;
DROP FUNCTION priv_try, priv_token, priv_id, priv_enqueue, priv_shown;
SELECT onceq.drop_queue('priv'), onceq.drop_queue('priv.closed');
DROP ROLE regress_priv_insert, regress_priv_select, regress_priv_update, regress_priv_delete, regress_priv_truncate, regress_priv_none,
	regress_priv_admin, regress_priv_operator, regress_priv_monitor, regress_priv_group;
