-- What CREATE EXTENSION makes, to whom it belongs and who may do what with it; and the same of the tables of a
-- queue: who is not meant to get at something, does not (reliability of privileges, and of pg_dump).
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only true

BEGIN;
SELECT plan(31);
SELECT onceq.create_queue('objects');
SELECT substr(privileges::text, 13) AS number FROM onceq.queues WHERE queue = 'objects' \gset

-- ---- the extension

SELECT set_eq($$ SELECT extrelocatable, extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'onceq' $$, $$ VALUES (false, 'onceq') $$, 'it cannot be moved from its schema');
-- A server that finds the extension outside of its own folder (extension_destdir) does not list it.
SELECT CASE WHEN EXISTS (SELECT FROM pg_available_extension_versions WHERE name = 'onceq')
	THEN set_eq($$ SELECT superuser, trusted, relocatable, schema::text FROM pg_available_extension_versions WHERE name = 'onceq' AND installed $$,
		$$ VALUES (true, false, false, 'onceq') $$, 'only a superuser may create it')
	ELSE skip('the server does not list the extension') END;
SELECT set_eq($$ SELECT c.oid::regclass::text FROM pg_class c JOIN pg_extension e ON c.oid = ANY (e.extconfig) WHERE e.extname = 'onceq' $$,
	ARRAY['onceq.queue', 'onceq.queue_id_seq', 'onceq.id_ceiling', 'onceq.installation', 'onceq.segment', 'onceq.unique_key', 'onceq.lease_journal', 'onceq.consumer', 'onceq.consumer_id_seq', 'onceq.processed_event', 'onceq.archive_policy', 'onceq.archive_partition', 'onceq.job_archive'], 'pg_dump keeps the rows of the catalog');
SELECT is_empty($$ SELECT c FROM pg_extension, unnest(extcondition) c WHERE extname = 'onceq' AND c <> '' AND c !~ '^WHERE EXISTS .* c.oid = (source|partition).$' $$, '… all of them, but for policies of tables that are gone');
SELECT set_eq($$ SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'onceq'::regnamespace AND relkind NOT IN ('i', 'S', 'c') $$,
	ARRAY['onceq.queue', 'onceq.id_ceiling', 'onceq.installation', 'onceq.segment', 'onceq.unique_key', 'onceq.lease_journal', 'onceq.queues', 'onceq.queue_stats', 'onceq.leases', 'onceq.memory', 'onceq.workers', 'onceq.worker_chores',
		'onceq.consumer', 'onceq.processed_event', 'onceq.consumers', 'onceq.processed_events', 'onceq.processed_event_duplicates', 'onceq.archive_policy', 'onceq.archive_policies', 'onceq.archive_partition', 'onceq.archive_progress', 'onceq.job_archive', 'onceq.job_archives'],
	'tables and views of schema onceq');
SELECT is_empty($$ SELECT t.oid::regtype FROM pg_type t WHERE typnamespace = 'onceq'::regnamespace AND typtype NOT IN ('c', 'b') $$, 'no domains, enums or ranges');
SELECT is_empty($$ SELECT oprname FROM pg_operator WHERE oprnamespace = 'onceq'::regnamespace UNION ALL SELECT evtname FROM pg_event_trigger
	UNION ALL SELECT castcontext::text FROM pg_cast c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'onceq' $$, 'no operators, casts or event triggers');
SELECT is_empty($$ SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace IN ('onceq'::regnamespace, 'onceq_data'::regnamespace)
	UNION ALL SELECT r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relnamespace IN ('onceq'::regnamespace, 'onceq_data'::regnamespace) AND c.relkind <> 'v'
	UNION ALL SELECT p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace IN ('onceq'::regnamespace, 'onceq_data'::regnamespace) $$, 'no triggers, rules or policies');

-- ---- comments

SELECT is_empty($$ SELECT oid::regclass FROM pg_class WHERE relnamespace = 'onceq'::regnamespace AND relkind IN ('r', 'v', 'c') AND coalesce(obj_description(oid, 'pg_class'), '') = ''
	AND NOT (relkind = 'c' AND coalesce(obj_description(reltype, 'pg_type'), '') <> '') $$, 'every table, view and type has a comment');
SELECT is_empty($$ SELECT nspname FROM pg_namespace WHERE nspname IN ('onceq', 'onceq_data') AND coalesce(obj_description(oid, 'pg_namespace'), '') = '' $$, 'both schemas have a comment');

-- ---- members of the extension: nothing of a queue, or pg_dump would lose the jobs

SELECT is_empty($$ SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass
	WHERE c.relnamespace = 'onceq_data'::regnamespace $$, 'no table of a queue is a member');
SELECT is_empty($$ SELECT c.relname FROM pg_class c LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	WHERE c.relnamespace = 'onceq'::regnamespace AND c.relkind IN ('r', 'v') AND d.objid IS NULL $$, 'every table and view of schema onceq is a member');

-- ---- roles

SELECT set_eq($$ SELECT rolname::text, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin, rolconnlimit
		FROM pg_roles WHERE rolname ~ '^onceq_' $$,
	format($$ VALUES ('onceq_admin', false, false, false, false, false, false, -1), ('onceq_monitor', false, false, false, false, false, false, -1),
		('onceq_operator', false, false, false, false, false, false, -1), ('onceq_owner', false, false, false, false, false, false, -1),
		('onceq_worker', false, false, false, false, false, %L::bool, %s) $$,
		current_setting('server_version_num')::int < 170000, CASE WHEN current_setting('server_version_num')::int < 170000 THEN 0 ELSE -1 END),
	'roles, none of which may do anything special or be logged in as');
SELECT is_empty($$ SELECT pg_get_userbyid(member) FROM pg_auth_members WHERE roleid IN ('onceq_owner'::regrole, 'onceq_worker'::regrole) $$, 'nobody is a member of onceq_owner and onceq_worker');
SELECT is_empty($$ SELECT roleid::regrole FROM pg_auth_members WHERE member IN ('onceq_owner'::regrole, 'onceq_worker'::regrole, 'onceq_admin'::regrole, 'onceq_operator'::regrole, 'onceq_monitor'::regrole) $$, 'our roles are members of nothing');
SELECT ok(pg_has_role('pg_monitor', 'onceq_monitor', 'USAGE'), 'pg_monitor monitors us, too');

-- ---- privileges

-- Everything PUBLIC may do in our schemas, found by looking at all that has privileges.
CREATE TEMP VIEW public_may AS
	SELECT 'schema ' || nspname AS object, privilege_type AS privilege FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE grantee = 0 AND nspname LIKE 'onceq%'
	UNION ALL SELECT 'table ' || c.oid::regclass, privilege_type FROM pg_class c, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
		WHERE grantee = 0 AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'onceq%') AND relkind NOT IN ('i', 'c')
	UNION ALL SELECT 'column ' || c.oid::regclass || '.' || attname, privilege_type FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(attacl)
		WHERE grantee = 0 AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'onceq%')
	UNION ALL SELECT 'function ' || p.oid::regproc, privilege_type FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner)))
		WHERE grantee = 0 AND pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'onceq%')
	UNION ALL SELECT 'type ' || t.oid::regtype, privilege_type FROM pg_type t, aclexplode(coalesce(typacl, acldefault('T', typowner)))
		WHERE grantee = 0 AND typnamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'onceq%') AND typrelid IN ('onceq.job_info'::regclass, 'onceq.claimed_job'::regclass);
SELECT set_eq($$ SELECT object, privilege FROM public_may WHERE object !~ '^function' $$,
	$$ VALUES ('schema onceq', 'USAGE'), ('table onceq.archive_policies', 'SELECT'), ('table onceq.archive_progress', 'SELECT'), ('table onceq.job_archives', 'SELECT'), ('table onceq.queues', 'SELECT'), ('table onceq.consumers', 'SELECT'), ('table onceq.processed_events', 'SELECT'), ('table onceq.processed_event_duplicates', 'SELECT'), ('table onceq.queue_stats', 'SELECT'), ('table onceq.leases', 'SELECT'), ('table onceq.workers', 'SELECT'), ('type onceq.job_info', 'USAGE'), ('type onceq.claimed_job', 'USAGE') $$,
	'PUBLIC may see the schema and the views that filter by themselves, and nothing else');
SELECT set_eq($$ SELECT proname::text FROM pg_proc WHERE pronamespace = 'onceq'::regnamespace EXCEPT SELECT split_part(object, '.', 2) FROM public_may WHERE object ~ '^function' $$,
	ARRAY['recover', 'maintain', 'list_memory', 'list_worker_chores'], 'PUBLIC may call what checks privileges by itself, but not the chores');
SELECT set_eq($$ SELECT nspname::text, grantee::regrole::text, privilege_type FROM pg_namespace, aclexplode(nspacl) WHERE nspname LIKE 'onceq%' AND grantee <> 0 AND grantee <> nspowner $$,
	$$ VALUES ('onceq', 'onceq_owner', 'USAGE'), ('onceq_data', 'onceq_admin', 'USAGE') $$, 'schemas: nobody else, and nobody may create in them');
SELECT is_empty($$ SELECT oid::regclass FROM pg_class WHERE relnamespace IN ('onceq'::regnamespace, 'onceq_data'::regnamespace) AND relkind IN ('r', 'S', 't') AND relowner <> 'onceq_owner'::regrole $$,
	'all tables belong to onceq_owner');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c, aclexplode(relacl) WHERE relnamespace = 'onceq'::regnamespace AND relkind IN ('r', 'S') AND grantee <> relowner $$, 'nobody has privileges on the catalog');
SELECT set_eq(format($$ SELECT grantee::regrole::text, privilege_type, is_grantable FROM pg_class c, aclexplode(relacl) WHERE oid = 'onceq_data.q%s'::regclass AND grantee <> relowner $$, :number),
	$$ SELECT 'onceq_admin' AS grantee, p AS privilege, true AS grantable FROM unnest(ARRAY['INSERT', 'SELECT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
		|| CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] ELSE '{}' END) p $$, 'administrators may grant privileges on a queue');

-- ---- the tables of a queue

SELECT set_eq(format($$ SELECT regexp_replace(relname, '%s(_\d+)?$', '') FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace AND relkind = 'r' AND relname ~ '^[a-z]%s(_|$)' $$, :number, :number),
	ARRAY['q', 'j', 'o', 'r'], 'one table for privileges, and three of each segment');
SELECT is_empty($$ SELECT oid::regclass FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace AND relkind = 'r' AND relname ~ '^[jor]' AND NOT relrowsecurity $$, 'row level security is on in every segment');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c, aclexplode(relacl) WHERE relnamespace = 'onceq_data'::regnamespace AND relname ~ '^[jor]' AND grantee <> relowner $$, 'nobody has privileges on segments');
SELECT is_empty($$ SELECT oid::regclass FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace AND relkind = 'r' AND relname ~ '^[jor]' AND NOT 'autovacuum_enabled=off' = ANY (reloptions) $$, 'autovacuum leaves segments alone');
SELECT is_empty($$ SELECT oid::regclass FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace AND relkind = 'r' AND relpersistence <> 'p' $$, 'all are logged');
SELECT is_empty($$ SELECT attname FROM pg_attribute WHERE attrelid = (SELECT privileges FROM onceq.queues WHERE queue = 'objects') AND attnum > 0 $$, 'the table that carries the privileges has no columns');
SELECT is_empty($$ SELECT conname FROM pg_constraint WHERE connamespace = 'onceq_data'::regnamespace AND contype IN ('f', 'c', 't', 'x') $$, 'no constraints that could call something');
SELECT is_empty($$ SELECT adrelid::regclass FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid WHERE c.relnamespace = 'onceq_data'::regnamespace $$, 'no defaults that could call something');
SELECT is_empty($$ SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'onceq_data'::regnamespace AND i.indexprs IS NOT NULL
	AND pg_get_indexdef(i.indexrelid, 1, true) <> '(hashtextextended(ordering_key COLLATE "C", 0::bigint) | 1::bigint)' $$, 'no expressions in indexes that could call something, but the hash of the ordering key');

SELECT * FROM finish();
ROLLBACK;
