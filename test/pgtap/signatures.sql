-- The contract of the SQL functions: what there is, names and defaults of arguments, result columns, and how
-- each may be used. Clients call with named arguments: a change here breaks them.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only true

BEGIN;
SELECT plan(24);

-- name, arguments, result; S: a set
CREATE TEMP TABLE promised (name text, arguments text, result text);
INSERT INTO promised VALUES
	('create_queue', 'queue text, lease interval DEFAULT ''00:00:30''::interval, max_attempts integer DEFAULT 20, backoff_base interval DEFAULT ''00:00:01''::interval, backoff_factor double precision DEFAULT 2, backoff_max interval DEFAULT ''01:00:00''::interval, backoff_jitter double precision DEFAULT 0.1, retention interval DEFAULT ''7 days''::interval, segment_age interval DEFAULT ''1 day''::interval, soft_time_limit interval DEFAULT NULL::interval, hard_time_limit interval DEFAULT NULL::interval, on_dead_key text DEFAULT ''block''::text, max_running integer DEFAULT NULL::integer, max_running_per_key integer DEFAULT NULL::integer, rate_limit integer DEFAULT NULL::integer, rate_period interval DEFAULT ''00:00:01''::interval, rate_burst integer DEFAULT NULL::integer, durable_leases boolean DEFAULT false, priority_ageing interval DEFAULT NULL::interval, dead_letter_queue text DEFAULT NULL::text, archive_to text DEFAULT NULL::text, if_not_exists boolean DEFAULT false', 'void'),
	('alter_queue', 'queue text, lease interval DEFAULT NULL::interval, max_attempts integer DEFAULT NULL::integer, backoff_base interval DEFAULT NULL::interval, backoff_factor double precision DEFAULT NULL::double precision, backoff_max interval DEFAULT NULL::interval, backoff_jitter double precision DEFAULT NULL::double precision, retention interval DEFAULT NULL::interval, segment_age interval DEFAULT NULL::interval, soft_time_limit interval DEFAULT NULL::interval, hard_time_limit interval DEFAULT NULL::interval, on_dead_key text DEFAULT NULL::text, max_running integer DEFAULT NULL::integer, max_running_per_key integer DEFAULT NULL::integer, rate_limit integer DEFAULT NULL::integer, rate_period interval DEFAULT NULL::interval, rate_burst integer DEFAULT NULL::integer, durable_leases boolean DEFAULT NULL::boolean, priority_ageing interval DEFAULT NULL::interval, dead_letter_queue text DEFAULT NULL::text, archive_to text DEFAULT NULL::text', 'void'),
	('drop_queue', 'queue text, if_exists boolean DEFAULT false', 'void'),
	('pause_queue', 'queue text', 'void'),
	('resume_queue', 'queue text', 'void'),
	('purge_queue', 'queue text', 'bigint'),
	('grant_producer', 'queue text, role name', 'void'),
	('grant_consumer', 'queue text, role name', 'void'),
	('adopt', 'keep_leases boolean DEFAULT false', 'void'),
	('enqueue', 'queue text, payload jsonb, headers jsonb DEFAULT NULL::jsonb, priority integer DEFAULT 0, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay interval DEFAULT NULL::interval, unique_key text DEFAULT NULL::text, unique_mode text DEFAULT ''skip''::text, unique_for interval DEFAULT NULL::interval, ordering_key text DEFAULT NULL::text, max_attempts integer DEFAULT NULL::integer, soft_time_limit interval DEFAULT NULL::interval, hard_time_limit interval DEFAULT NULL::interval', 'bigint'),
	('find_unique', 'queue text, unique_key text', 'bigint'),
	('enqueue_many', 'queue text, payloads jsonb[], headers jsonb[] DEFAULT NULL::jsonb[], priority integer DEFAULT 0, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay interval DEFAULT NULL::interval', 'SETOF bigint'),
	('claim', 'queue text, count integer DEFAULT 1, lease interval DEFAULT NULL::interval, wait interval DEFAULT ''00:00:00''::interval, worker text DEFAULT NULL::text, hold text DEFAULT ''time''::text', 'SETOF onceq.claimed_job'),
	('next_claim_at', 'queue text', 'timestamp with time zone'),
	('claim_any', 'queues text[], weights integer[] DEFAULT NULL::integer[], count integer DEFAULT 1, lease interval DEFAULT NULL::interval, wait interval DEFAULT ''00:00:00''::interval, worker text DEFAULT NULL::text, hold text DEFAULT ''time''::text', 'TABLE(queue text, id bigint, token bigint, attempt integer, payload jsonb, headers jsonb, priority integer, enqueued_at timestamp with time zone, lease_until timestamp with time zone, ordering_key text)'),
	('ack', 'token bigint', 'bigint'),
	('ack', 'token bigint, id bigint, result jsonb DEFAULT NULL::jsonb', 'bigint'),
	('ack', 'token bigint, ids bigint[]', 'bigint'),
	('ack_and_claim', 'token bigint, queue text, count integer DEFAULT 1, lease interval DEFAULT NULL::interval', 'SETOF onceq.claimed_job'),
	('nack', 'token bigint, id bigint, error text DEFAULT NULL::text, retry_in interval DEFAULT NULL::interval', 'timestamp with time zone'),
	('reject', 'token bigint, id bigint, error text DEFAULT NULL::text', 'void'),
	('release', 'token bigint, id bigint DEFAULT NULL::bigint', 'void'),
	('extend', 'token bigint, lease interval DEFAULT NULL::interval', 'timestamp with time zone'),
	('cancel', 'queue text, id bigint', 'boolean'),
	('redrive', 'queue text, id bigint DEFAULT NULL::bigint, count integer DEFAULT NULL::integer, rate integer DEFAULT NULL::integer', 'bigint'),
	('cancel_jobs', 'queue text, state text DEFAULT NULL::text, ids bigint[] DEFAULT NULL::bigint[], first_id bigint DEFAULT NULL::bigint, last_id bigint DEFAULT NULL::bigint, enqueued_after timestamp with time zone DEFAULT NULL::timestamp with time zone, enqueued_before timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT NULL::integer, ordering_key text DEFAULT NULL::text, payload jsonb DEFAULT NULL::jsonb, headers jsonb DEFAULT NULL::jsonb, error_like text DEFAULT NULL::text, count integer DEFAULT NULL::integer', 'bigint'),
	('reject_jobs', 'queue text, error text DEFAULT NULL::text, state text DEFAULT NULL::text, ids bigint[] DEFAULT NULL::bigint[], first_id bigint DEFAULT NULL::bigint, last_id bigint DEFAULT NULL::bigint, enqueued_after timestamp with time zone DEFAULT NULL::timestamp with time zone, enqueued_before timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT NULL::integer, ordering_key text DEFAULT NULL::text, payload jsonb DEFAULT NULL::jsonb, headers jsonb DEFAULT NULL::jsonb, error_like text DEFAULT NULL::text, count integer DEFAULT NULL::integer', 'bigint'),
	('reschedule_jobs', 'queue text, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay interval DEFAULT NULL::interval, state text DEFAULT NULL::text, ids bigint[] DEFAULT NULL::bigint[], first_id bigint DEFAULT NULL::bigint, last_id bigint DEFAULT NULL::bigint, enqueued_after timestamp with time zone DEFAULT NULL::timestamp with time zone, enqueued_before timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT NULL::integer, ordering_key text DEFAULT NULL::text, payload jsonb DEFAULT NULL::jsonb, headers jsonb DEFAULT NULL::jsonb, error_like text DEFAULT NULL::text, count integer DEFAULT NULL::integer', 'bigint'),
	('redrive_jobs', 'queue text, ids bigint[] DEFAULT NULL::bigint[], first_id bigint DEFAULT NULL::bigint, last_id bigint DEFAULT NULL::bigint, enqueued_after timestamp with time zone DEFAULT NULL::timestamp with time zone, enqueued_before timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT NULL::integer, ordering_key text DEFAULT NULL::text, payload jsonb DEFAULT NULL::jsonb, headers jsonb DEFAULT NULL::jsonb, error_like text DEFAULT NULL::text, count integer DEFAULT NULL::integer, rate integer DEFAULT NULL::integer', 'bigint'),
	('cancelled', 'token bigint', 'SETOF bigint'),
	('progress', 'token bigint, id bigint, current bigint, total bigint DEFAULT NULL::bigint, message text DEFAULT NULL::text', 'text'),
	('job', 'queue text, id bigint', 'onceq.job_info'),
	('job_attempts', 'queue text, id bigint', 'TABLE(attempt integer, outcome text, ended_at timestamp with time zone, worker text, error text)'),
	('jobs', 'queue text, state text DEFAULT NULL::text, after_id bigint DEFAULT 0, count integer DEFAULT 100', 'SETOF onceq.job_info'),
	('audit', 'queue text', 'TABLE(id bigint, board text, stored text)'),
	('create_consumer', 'consumer text, retention interval DEFAULT ''30 days''::interval, if_not_exists boolean DEFAULT false', 'void'),
	('alter_consumer', 'consumer text, retention interval', 'void'),
	('drop_consumer', 'consumer text, if_exists boolean DEFAULT false', 'void'),
	('grant_marker', 'consumer text, role name', 'void'),
	('once', 'consumer text, event_id text, topic text DEFAULT NULL::text', 'boolean'),
	('once_many', 'consumer text, event_ids text[], topic text DEFAULT NULL::text', 'boolean[]'),
	('ack_once', 'token bigint, id bigint, consumer text, event_id text, topic text DEFAULT NULL::text, result jsonb DEFAULT NULL::jsonb', 'boolean'),
	('is_processed', 'consumer text, event_id text', 'boolean'),
	('forget', 'consumer text, event_id text', 'boolean'),
	('set_archive_policy', 'source regclass, age_column name, older_than interval, archive_to text DEFAULT NULL::text, batch integer DEFAULT 1000, not_before time without time zone DEFAULT NULL::time without time zone, not_after time without time zone DEFAULT NULL::time without time zone, vacuum_after boolean DEFAULT true', 'void'),
	('drop_archive_policy', 'source regclass', 'void'),
	('archive', 'IN source regclass DEFAULT NULL::regclass', 'procedure'),
	('use_pg_cron', 'recover text DEFAULT ''* * * * *''::text, maintain text DEFAULT ''* * * * *''::text, archive text DEFAULT ''0 * * * *''::text, database name DEFAULT NULL::name', 'integer'),
	('leave_pg_cron', 'database name DEFAULT NULL::name', 'integer'),
	('recover', '', 'procedure'),
	('maintain', '', 'procedure');

CREATE TEMP VIEW made AS
SELECT p.oid, p.proname::text AS name, pg_get_function_arguments(p.oid) AS arguments,
	CASE p.prokind WHEN 'p' THEN 'procedure' ELSE pg_get_function_result(p.oid) END AS result,
	p.prokind, p.provolatile, p.proparallel, p.prosecdef, p.proisstrict, p.proleakproof, p.prolang, p.proacl, p.proowner, p.probin, p.prosrc, p.procost, p.prorows, p.proretset, p.prosqlbody IS NOT NULL AS is_parsed
FROM pg_proc p WHERE p.pronamespace = 'onceq'::regnamespace;

SELECT set_eq('SELECT name, arguments, result FROM made WHERE name NOT LIKE ''list\_%''', 'SELECT * FROM promised', 'functions, arguments, defaults and results are as promised');
-- What the views are made of is nobody's to call, but it is there.
SELECT set_eq('SELECT name FROM made WHERE name LIKE ''list\_%''', ARRAY['list_archive_progress', 'list_leases', 'list_memory', 'list_queue_stats', 'list_worker_chores', 'list_workers'], 'functions behind the views');

SELECT is_empty('SELECT name FROM made WHERE provolatile <> ''v''', 'all are volatile: none may be folded, or called twice or not at all');
SELECT is_empty('SELECT name FROM made WHERE proparallel <> ''u''', 'all are parallel unsafe');
SELECT is_empty('SELECT name FROM made WHERE prosecdef', 'none is SECURITY DEFINER');
SELECT is_empty('SELECT name FROM made WHERE proleakproof', 'none is leakproof');
SELECT is_empty('SELECT name FROM made WHERE proisstrict', 'none is strict: null arguments are refused, and not passed over');
SELECT is_empty('SELECT name FROM made WHERE NOT is_parsed AND prolang <> (SELECT oid FROM pg_language WHERE lanname = ''c'')', 'all are in C, or were parsed when they were made: no body depends on a search_path');
SELECT is_empty('SELECT name FROM made WHERE NOT is_parsed AND (prosrc !~ ''^onceq_[a-z_]+$'' OR probin <> ''$libdir/onceq'')', 'C symbols carry the prefix, and are in our library');
SELECT is_empty('SELECT name FROM made WHERE NOT EXISTS (SELECT FROM pg_roles WHERE oid = proowner AND rolsuper)', 'they belong to a superuser');
SELECT is_empty('SELECT name FROM made WHERE coalesce(obj_description(oid, ''pg_proc''), '''') = ''''', 'each has a comment');
SELECT is_empty('SELECT name FROM made m WHERE EXISTS (SELECT FROM pg_proc p WHERE p.oid = m.oid AND p.provariadic <> 0)', 'none is variadic');

-- Every call by name, by position, and mixed finds exactly one function.
SELECT lives_ok($$ SELECT onceq.create_queue(queue => 'named', lease => '1 min', max_attempts => 3, backoff_base => '1 s', backoff_factor => 2, backoff_max => '1 h', backoff_jitter => 0.5, retention => '1 day', segment_age => '1 day', soft_time_limit => '1 min', hard_time_limit => '2 min', on_dead_key => 'continue', max_running => 10, max_running_per_key => 1, rate_limit => 100, rate_period => '1 min', rate_burst => 10, durable_leases => false, priority_ageing => '1 h', dead_letter_queue => 'dead', archive_to => 'public.done', if_not_exists => true) $$, 'create_queue by names');
SELECT lives_ok($$ SELECT onceq.enqueue(queue => 'named', payload => '1', headers => '{}', priority => 1, run_at => NULL, delay => '1 h', unique_key => 'k', unique_mode => 'skip', unique_for => '1 h', ordering_key => NULL, max_attempts => 2, soft_time_limit => '1 min', hard_time_limit => '1 min') $$, 'enqueue by names');
SELECT lives_ok($$ SELECT onceq.find_unique(queue => 'named', unique_key => 'k') $$, 'find_unique by names');
SELECT lives_ok($$ SELECT onceq.enqueue_many('named', payloads => '{1,2}', headers => NULL, priority => 1, run_at => NULL, delay => NULL) $$, 'enqueue_many, mixed');
SELECT lives_ok($$ SELECT * FROM onceq.claim(queue => 'named', count => 2, lease => '1 min', wait => '0', worker => 'w', hold => 'time') $$, 'claim by names');
SELECT lives_ok($$ SELECT onceq.create_consumer(consumer => 'named', retention => '1 day', if_not_exists => true) $$, 'create_consumer by names');
SELECT lives_ok($$ SELECT onceq.once(consumer => 'named', event_id => '1', topic => 't'), onceq.once_many('named', event_ids => '{1,2}', topic => 't'), onceq.is_processed('named', event_id => '1') $$, 'once by names');
SELECT lives_ok($$ SELECT * FROM onceq.claim_any(queues => '{named}', weights => '{1}', count => 2, lease => '1 min', wait => '0', worker => 'w', hold => 'time') $$, 'claim_any by names');
SELECT lives_ok($$ SELECT * FROM onceq.claim('named') UNION ALL SELECT id, token, attempt, payload, headers, priority, enqueued_at, lease_until, ordering_key FROM onceq.claim_any('{named}') $$, 'literals of unknown type find their function');

-- Columns that clients name.
SELECT set_eq($$ SELECT attnum::int, attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'onceq.claimed_job'::regclass AND attnum > 0 $$,
	$$ SELECT row_number() OVER ()::int, * FROM (VALUES ('id', 'bigint'), ('token', 'bigint'), ('attempt', 'integer'), ('payload', 'jsonb'), ('headers', 'jsonb'), ('priority', 'integer'),
		('enqueued_at', 'timestamp with time zone'), ('lease_until', 'timestamp with time zone'), ('ordering_key', 'text')) v $$, 'columns of claimed_job');
SELECT set_eq($$ SELECT attnum::int, attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'onceq.job_info'::regclass AND attnum > 0 $$,
	$$ SELECT row_number() OVER ()::int, * FROM (VALUES ('queue', 'text'), ('id', 'bigint'), ('state', 'text'), ('priority', 'integer'), ('attempt', 'integer'), ('max_attempts', 'integer'),
		('enqueued_at', 'timestamp with time zone'), ('due_at', 'timestamp with time zone'), ('claimed_at', 'timestamp with time zone'),
		('finished_at', 'timestamp with time zone'), ('lease_until', 'timestamp with time zone'), ('worker', 'text'), ('progress_current', 'bigint'), ('progress_total', 'bigint'), ('progress_message', 'text'),
		('result', 'jsonb'), ('error', 'text'),
		('payload', 'jsonb'), ('headers', 'jsonb')) v $$, 'columns of job_info');
SELECT set_eq($$ SELECT c.relname::text, string_agg(a.attname, ' ' ORDER BY a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'onceq'::regnamespace AND c.relkind = 'v' GROUP BY 1 $$,
	$$ VALUES ('archive_policies', 'source owner age_column older_than archive_to batch not_before not_after vacuum_after last_run last_duration last_rows total_rows next_run failures last_error'),
		('archive_progress', 'source pid phase started_at batches rows'),
		('job_archives', 'queue archive_to owner last_run last_jobs total_jobs next_run failures last_error'),
		('consumers', 'consumer retention created_at oldest_event privileges'),
		('processed_event_duplicates', 'consumer event_id times first_processed_at last_processed_at'),
		('processed_events', 'consumer event_id topic processed_at'),
		('leases', 'queue worker role pid hold state jobs claimed_at expires_in journalled'),
		('memory', 'setting used capacity'),
		('queue_stats', 'queue ready scheduled running oldest_ready_age enqueued claims delivered succeeded failed dead cancelled released expired restored held_back blocked'),
		('queues', 'queue lease max_attempts backoff_base backoff_factor backoff_max backoff_jitter retention segment_age soft_time_limit hard_time_limit on_dead_key max_running max_running_per_key rate_limit rate_period rate_burst durable_leases priority_ageing dead_letter_queue archive_to paused created_at privileges'),
		('worker_chores', 'database chore runs last_run duration_ms next_run failures last_error'),
		('workers', 'database pid state since failed_starts next_start') $$, 'columns of the views');

SELECT * FROM finish();
ROLLBACK;
