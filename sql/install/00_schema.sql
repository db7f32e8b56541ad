-- Roles, schemas, and who may use what is in them.
\echo Use "CREATE EXTENSION onceq" to load this file. \quit

-- The schema was made by CREATE EXTENSION, or was there before: then its owner could replace what is in it.
DO $$
DECLARE
	stranger text;
BEGIN
	SELECT r.rolname INTO stranger
	FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
	WHERE n.nspname = 'onceq' AND NOT r.rolsuper;
	IF FOUND THEN
		RAISE EXCEPTION 'schema "onceq" belongs to role "%", which is not a superuser', stranger
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Drop or rename that schema, or make a superuser its owner.';
	END IF;
END
$$;

-- Roles belong to all databases of the server: the first one that gets the extension makes them.
DO $$
DECLARE
	wanted text;
	worker_login bool := pg_catalog.current_setting('server_version_num')::int < 170000;
BEGIN
	FOREACH wanted IN ARRAY ARRAY['onceq_owner', 'onceq_worker', 'onceq_admin', 'onceq_operator', 'onceq_monitor']
	LOOP
		CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted);
		-- Before PostgreSQL 17 a background worker needs a role with LOGIN. The limit keeps clients out;
		-- background workers do not count.
		EXECUTE pg_catalog.format('CREATE ROLE %I %s', wanted,
			CASE WHEN wanted = 'onceq_worker' AND worker_login THEN 'LOGIN CONNECTION LIMIT 0' ELSE 'NOLOGIN' END);
	END LOOP;
	IF NOT pg_catalog.pg_has_role('pg_monitor', 'onceq_monitor', 'MEMBER') THEN
		GRANT onceq_monitor TO pg_monitor;
	END IF;
	IF NOT pg_catalog.has_database_privilege('onceq_worker', pg_catalog.current_database(), 'CONNECT') THEN
		EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO onceq_worker', pg_catalog.current_database());
	END IF;
END
$$;

-- Roles that were there before may have been made by somebody who wants more than he may.
DO $$
DECLARE
	unsafe text;
BEGIN
	SELECT r.rolname INTO unsafe
	FROM pg_catalog.pg_roles r
	WHERE r.rolname IN ('onceq_owner', 'onceq_worker', 'onceq_admin', 'onceq_operator', 'onceq_monitor')
	AND (r.rolsuper OR r.rolcreaterole OR r.rolbypassrls OR r.rolreplication
		OR r.rolcanlogin AND (r.rolname <> 'onceq_worker' OR r.rolconnlimit <> 0));
	IF FOUND THEN
		RAISE EXCEPTION 'role "%" has more attributes than it may have', unsafe
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = pg_catalog.format('ALTER ROLE %I NOSUPERUSER NOCREATEROLE NOBYPASSRLS NOREPLICATION %s;', unsafe,
					CASE unsafe WHEN 'onceq_worker' THEN 'CONNECTION LIMIT 0' ELSE 'NOLOGIN' END);
	END IF;
	SELECT g.rolname || '" is a member of role "' || o.rolname INTO unsafe
	FROM pg_catalog.pg_auth_members m
	JOIN pg_catalog.pg_roles o ON o.oid = m.roleid JOIN pg_catalog.pg_roles g ON g.oid = m.member
	WHERE o.rolname IN ('onceq_owner', 'onceq_worker');
	IF FOUND THEN
		RAISE EXCEPTION 'role "%"', unsafe
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'What that role owns must be out of reach for everybody.',
				HINT = 'Revoke the membership.';
	END IF;
END
$$;

COMMENT ON SCHEMA onceq IS 'functions and views of the job queue onceq';
GRANT USAGE ON SCHEMA onceq TO PUBLIC, onceq_owner;

CREATE SCHEMA onceq_data AUTHORIZATION onceq_owner;
COMMENT ON SCHEMA onceq_data IS 'segments of queues, and one empty table per queue that carries its privileges';
-- So that administrators can GRANT and REVOKE on the tables q<id>.
GRANT USAGE ON SCHEMA onceq_data TO onceq_admin;
