-- Who may call what: every function, procedure and view of schema onceq against every kind of role. One that is
-- added and not listed here fails the test, so that nobody forgets to think about it.
-- Columns: Superuser, onceq_Admin, onceq_Operator, onceq_Monitor, producer, consumer, looker (SELECT only), marker (of
-- the ledger), neighbour (who has everything on another queue and another consumer), stranger.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only true

SELECT * FROM no_plan();
SET client_min_messages = warning;

SELECT onceq.create_queue('m', backoff_base => '0'), onceq.create_queue('m.other'), onceq.create_consumer('m'), onceq.create_consumer('m.other');
SELECT count(*) FROM onceq.enqueue_many('m', array_fill('"secret"'::jsonb, ARRAY[40])), onceq.once('m', 'event');
SELECT onceq.once('m', 'event');
CREATE TABLE archived (id bigint PRIMARY KEY, at timestamptz);
SELECT onceq.set_archive_policy('archived', 'at', '1 day'), onceq.alter_queue('m', archive_to => 'public.done');
CREATE TABLE matrix_roles (n int PRIMARY KEY, role name, letter text, token bigint, id bigint);
INSERT INTO matrix_roles VALUES (1, 'm_super', 'S'), (2, 'm_admin', 'A'), (3, 'm_operator', 'O'), (4, 'm_monitor', 'M'), (5, 'm_producer', 'p'),
	(6, 'm_consumer', 'c'), (7, 'm_looker', 'l'), (8, 'm_marker', 'k'), (9, 'm_neighbour', 'n'), (10, 'm_stranger', 'x');
CREATE ROLE m_super SUPERUSER;
CREATE ROLE m_admin IN ROLE onceq_admin;
CREATE ROLE m_operator IN ROLE onceq_operator;
CREATE ROLE m_monitor IN ROLE onceq_monitor;
CREATE ROLE m_producer;
CREATE ROLE m_consumer;
CREATE ROLE m_looker;
CREATE ROLE m_marker;
CREATE ROLE m_neighbour;
CREATE ROLE m_stranger;
SELECT onceq.grant_producer('m', 'm_producer'), onceq.grant_consumer('m', 'm_consumer'), onceq.grant_marker('m', 'm_marker');
SELECT format('GRANT SELECT ON %s TO m_looker', privileges) FROM onceq.queues WHERE queue = 'm' \gexec
SELECT format('GRANT ALL ON %s TO m_neighbour WITH GRANT OPTION', privileges) FROM onceq.queues WHERE queue = 'm.other' \gexec
SELECT format('GRANT ALL ON %s TO m_neighbour WITH GRANT OPTION', privileges) FROM onceq.consumers WHERE consumer = 'm.other' \gexec

-- Each of them holds a lease: it was allowed to claim at that time.
DO $$
DECLARE
	r record;
	anchor regclass := (SELECT privileges FROM onceq.queues WHERE queue = 'm');
	lease bigint;
	job bigint;
BEGIN
	FOR r IN SELECT * FROM matrix_roles LOOP
		EXECUTE format('GRANT UPDATE ON %s TO %I', anchor, r.role);
		EXECUTE format('SET LOCAL ROLE %I', r.role);
		SELECT c.token, c.id INTO lease, job FROM onceq.claim('m', lease => '1 h') c;
		RESET ROLE;
		UPDATE matrix_roles m SET token = lease, id = job WHERE m.n = r.n;
		IF r.role NOT IN ('m_super', 'm_admin', 'm_consumer') THEN
			EXECUTE format('REVOKE UPDATE ON %s FROM %I', anchor, r.role);
		END IF;
	END LOOP;
END $$;

-- Whether the statement gets past the checks of privileges. What it did is undone.
CREATE FUNCTION is_allowed(statement text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	answer bool;
BEGIN
	EXECUTE statement INTO answer;
	RAISE SQLSTATE 'YES00';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE <> '42501' AND answer IS DISTINCT FROM false;
END $$;
-- The letters of the roles to which a statement is allowed; % stands for the token, # for the id of a job that the role holds.
CREATE FUNCTION allowed_to(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r record;
	letters text := '';
	yes bool;
BEGIN
	FOR r IN SELECT * FROM matrix_roles ORDER BY n LOOP
		EXECUTE format('SET LOCAL ROLE %I', r.role);
		yes := is_allowed(replace(replace(statement, '%', r.token::text), '#', r.id::text));
		RESET ROLE;
		letters := letters || CASE WHEN yes THEN r.letter ELSE '-' END;
	END LOOP;
	RETURN letters;
END $$;

-- what, to whom it is allowed, a call; of a view: whether something of the queue or the consumer is seen
CREATE TABLE matrix (what text PRIMARY KEY, expected text, call text);
INSERT INTO matrix VALUES
	('create_queue', 'SA--------', 'SELECT onceq.create_queue(''m.new'')'),
	('alter_queue', 'SA--------', 'SELECT onceq.alter_queue(''m'', lease => ''1 min'')'),
	('drop_queue', 'SA--------', 'SELECT onceq.drop_queue(''m'')'),
	('pause_queue', 'SAO-------', 'SELECT onceq.pause_queue(''m'')'),
	('resume_queue', 'SAO-------', 'SELECT onceq.resume_queue(''m'')'),
	('purge_queue', 'SA--------', 'SELECT onceq.purge_queue(''m'')'),
	('adopt', 'SA--------', 'SELECT onceq.adopt()'),
	('grant_producer', 'SA--------', 'SELECT onceq.grant_producer(''m'', ''m_stranger'')'),
	('grant_consumer', 'SA--------', 'SELECT onceq.grant_consumer(''m'', ''m_stranger'')'),
	('enqueue', 'SA--p-----', 'SELECT onceq.enqueue(''m'', ''1'')'),
	('enqueue_many', 'SA--p-----', 'SELECT onceq.enqueue_many(''m'', ''{1}'')'),
	('claim', 'SA---c----', 'SELECT id FROM onceq.claim(''m'')'),
	('claim_any', 'SA---c----', 'SELECT id FROM onceq.claim_any(''{m}'')'),
	('next_claim_at', 'SA---c----', 'SELECT onceq.next_claim_at(''m'')'),
	('ack(token bigint)', 'SA---c----', 'SELECT onceq.ack(%)'),
	('ack(token bigint, id bigint, result jsonb DEFAULT NULL::jsonb)', 'SA---c----', 'SELECT onceq.ack(%, #)'),
	('ack(token bigint, ids bigint[])', 'SA---c----', 'SELECT onceq.ack(%, ARRAY[#]::bigint[])'),
	('ack_and_claim', 'SA---c----', 'SELECT id FROM onceq.ack_and_claim(%, ''m'')'),
	('ack_once', 'SA--------', 'SELECT onceq.ack_once(%, #, ''m'', ''e'')'),
	('nack', 'SA---c----', 'SELECT onceq.nack(%, #)'),
	('reject', 'SA---c----', 'SELECT onceq.reject(%, #)'),
	('extend', 'SA---c----', 'SELECT onceq.extend(%, ''1 h'')'),
	('progress', 'SA---c----', 'SELECT onceq.progress(%, #, 1)'),
	('cancelled', 'SA---c----', 'SELECT onceq.cancelled(%)'),
	('cancel', 'SA--------', 'SELECT onceq.cancel(''m'', 39)'),
	('cancel_jobs', 'SA--------', 'SELECT onceq.cancel_jobs(''m'', ids => ''{39}'')'),
	('reject_jobs', 'SA--------', 'SELECT onceq.reject_jobs(''m'', ids => ''{39}'')'),
	('reschedule_jobs', 'SA--------', 'SELECT onceq.reschedule_jobs(''m'', delay => ''1 h'', ids => ''{39}'')'),
	('redrive_jobs', 'SAO-------', 'SELECT onceq.redrive_jobs(''m'') IS NOT NULL'),
	('redrive', 'SAO-------', 'SELECT onceq.redrive(''m'') IS NOT NULL'),
	('job', 'SA---cl---', 'SELECT onceq.job(''m'', 1)'),
	('job_attempts', 'SA---cl---', 'SELECT onceq.job_attempts(''m'', 1)'),
	('jobs', 'SA---cl---', 'SELECT onceq.jobs(''m'')'),
	('find_unique', 'SA--pcl---', 'SELECT onceq.find_unique(''m'', ''key'')'),
	('audit', 'SAO-------', 'SELECT id FROM onceq.audit(''m'')'),
	('list_queue_stats', 'SAOMpcl---', 'SELECT EXISTS (SELECT FROM onceq.list_queue_stats() WHERE queue = ''m'')'),
	('list_leases', 'SAOMpcl---', 'SELECT EXISTS (SELECT FROM onceq.list_leases() WHERE queue = ''m'')'),
	('list_memory', 'SAOM------', 'SELECT onceq.list_memory()'),
	('list_workers', 'SAOMpclknx', 'SELECT onceq.list_workers()'),
	('list_worker_chores', 'SAOM------', 'SELECT onceq.list_worker_chores()'),
	('recover', 'SAO-------', 'CALL onceq.recover()'),
	('maintain', 'SAO-------', 'CALL onceq.maintain()'),
	('create_consumer', 'SA--------', 'SELECT onceq.create_consumer(''m.new'')'),
	('alter_consumer', 'SA--------', 'SELECT onceq.alter_consumer(''m'', ''40 days'')'),
	('drop_consumer', 'SA--------', 'SELECT onceq.drop_consumer(''m'')'),
	('grant_marker', 'SA--------', 'SELECT onceq.grant_marker(''m'', ''m_stranger'')'),
	('once', 'SA-----k--', 'SELECT onceq.once(''m'', ''e'')'),
	('once_many', 'SA-----k--', 'SELECT onceq.once_many(''m'', ''{e}'')'),
	('is_processed', 'SA-----k--', 'SELECT onceq.is_processed(''m'', ''event'')'),
	('forget', 'SA--------', 'SELECT onceq.forget(''m'', ''event'')'),
	('set_archive_policy', 'S---------', 'SELECT onceq.set_archive_policy(''archived'', ''at'', ''1 day'')'),
	('drop_archive_policy', 'S---------', 'SELECT onceq.drop_archive_policy(''archived'')'),
	-- refused in a transaction before it looks at anything; the rights of archive policies are tested by tap/091_archive_rights
	('archive', 'SAOMpclknx', 'CALL onceq.archive(''archived'')'),
	('list_archive_progress', 'SAOMpclknx', 'SELECT onceq.list_archive_progress()'),
	('use_pg_cron', 'SA--------', 'SELECT onceq.use_pg_cron()'),
	('leave_pg_cron', 'SA--------', 'SELECT onceq.leave_pg_cron()'),
	('release', 'SA---c----', 'SELECT onceq.release(%)'),
	('view queues', 'SAOMpcl---', 'SELECT EXISTS (SELECT FROM onceq.queues WHERE queue = ''m'')'),
	('view queue_stats', 'SAOMpcl---', 'SELECT EXISTS (SELECT FROM onceq.queue_stats WHERE queue = ''m'')'),
	('view leases', 'SAOMpcl---', 'SELECT EXISTS (SELECT FROM onceq.leases WHERE queue = ''m'')'),
	('view consumers', 'SAOM---k--', 'SELECT EXISTS (SELECT FROM onceq.consumers WHERE consumer = ''m'')'),
	('view processed_events', 'SA-----k--', 'SELECT EXISTS (SELECT FROM onceq.processed_events WHERE consumer = ''m'')'),
	('view processed_event_duplicates', '----------', 'SELECT EXISTS (SELECT FROM onceq.processed_event_duplicates WHERE consumer = ''m'')'),
	('view memory', 'SAOM------', 'SELECT setting FROM onceq.memory'),
	('view workers', 'SAOMpclknx', 'SELECT pid FROM onceq.workers'),
	('view worker_chores', 'SAOM------', 'SELECT chore FROM onceq.worker_chores'),
	('view archive_policies', 'SAOM------', 'SELECT EXISTS (SELECT FROM onceq.archive_policies)'),
	('view job_archives', 'SAOM-cl---', 'SELECT EXISTS (SELECT FROM onceq.job_archives WHERE queue = ''m'')'),
	('view archive_progress', 'SAOMpclknx', 'SELECT count(*) >= 0 FROM onceq.archive_progress');

-- A function that has no other of its name goes by the name alone.
CREATE VIEW matrix_needed AS
	SELECT CASE WHEN count(*) OVER (PARTITION BY proname) = 1 THEN proname::text ELSE format('%s(%s)', proname, pg_get_function_arguments(oid)) END AS what
	FROM pg_proc WHERE pronamespace = 'onceq'::regnamespace
	UNION ALL SELECT 'view ' || relname FROM pg_class WHERE relnamespace = 'onceq'::regnamespace AND relkind = 'v';
SELECT is_empty('SELECT what FROM matrix_needed EXCEPT SELECT what FROM matrix', 'every function, procedure and view is in the matrix: whoever adds one adds its line');
SELECT is_empty('SELECT what FROM matrix EXCEPT SELECT what FROM matrix_needed', '… and nothing else');

-- Release acts at once, whatever becomes of the transaction: last.
SELECT is(allowed_to(call), expected, what) FROM matrix WHERE what <> 'release';

-- What a role may do it may do by what it was given, and no longer.
SELECT format('REVOKE ALL ON %s FROM m_producer, m_consumer, m_looker', privileges) FROM onceq.queues WHERE queue = 'm' \gexec
SELECT format('REVOKE ALL ON %s FROM m_marker', privileges) FROM onceq.consumers WHERE consumer = 'm' \gexec
SELECT is(translate(allowed_to(call), 'SAOM-', ''), '', what || ' after a REVOKE') FROM matrix
WHERE expected ~ '[pclk]' AND expected !~ 'x' AND what <> 'release';

SELECT onceq.grant_consumer('m', 'm_consumer');
SELECT is(allowed_to(call), expected, what) FROM matrix WHERE what = 'release';

SELECT * FROM finish();
DROP OWNED BY m_super, m_admin, m_operator, m_monitor, m_producer, m_consumer, m_looker, m_marker, m_neighbour, m_stranger;
DROP ROLE m_super, m_admin, m_operator, m_monitor, m_producer, m_consumer, m_looker, m_marker, m_neighbour, m_stranger;
