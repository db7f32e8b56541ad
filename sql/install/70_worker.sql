-- The worker of a database, and what it does by hand.

-- recover(), maintain(): what the worker does, in the caller's transaction; for onceq_operator and onceq_admin.
CREATE PROCEDURE onceq.recover() LANGUAGE c AS 'MODULE_PATHNAME', 'onceq_recover';
COMMENT ON PROCEDURE onceq.recover() IS 'does now what falls due: takes expired leases away, makes delayed jobs ready; otherwise the worker does it; what the worker is just doing is not waited for; for superusers, members of onceq_operator and onceq_admin; errors: 25006, 42501';
REVOKE ALL ON PROCEDURE onceq.recover() FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE onceq.recover() TO onceq_operator, onceq_admin;

CREATE PROCEDURE onceq.maintain() LANGUAGE c AS 'MODULE_PATHNAME', 'onceq_maintain';
COMMENT ON PROCEDURE onceq.maintain() IS 'makes room for new jobs and removes old ones now, a bounded number of segments in a call; otherwise the worker does it; what the worker is just doing is not waited for; for superusers, members of onceq_operator and onceq_admin; errors: 25006, 42501';
REVOKE ALL ON PROCEDURE onceq.maintain() FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE onceq.maintain() TO onceq_operator, onceq_admin;

CREATE FUNCTION onceq.use_pg_cron(recover text DEFAULT '* * * * *', maintain text DEFAULT '* * * * *',
	archive text DEFAULT '0 * * * *', database name DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_use_pg_cron';
COMMENT ON FUNCTION onceq.use_pg_cron(text, text, text, name) IS
'lets pg_cron call onceq.recover(), onceq.maintain() and onceq.archive() in a database (NULL: this one), as the current user, instead of what was registered before, and returns the number of jobs; schedules as of pg_cron, NULL: no such job; for superusers and members of onceq_admin; errors: those of pg_cron, 3D000 no such database, 42501, 55000 pg_cron is not installed in this database';

CREATE FUNCTION onceq.leave_pg_cron(database name DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_leave_pg_cron';
COMMENT ON FUNCTION onceq.leave_pg_cron(name) IS
'removes what onceq.use_pg_cron() registered for a database (NULL: this one), and returns the number of jobs; errors: 3D000, 42501, 55000 pg_cron is not installed in this database';

CREATE FUNCTION onceq.list_workers(
	OUT database oid,
	OUT pid int,
	OUT state text,
	OUT since timestamptz,
	OUT failed_starts int,
	OUT next_start timestamptz
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'onceq_workers';
COMMENT ON FUNCTION onceq.list_workers() IS 'rows of onceq.workers';

CREATE VIEW onceq.workers AS
SELECT d.datname AS database, w.pid, w.state, w.since, w.failed_starts, w.next_start
FROM onceq.list_workers() w JOIN pg_catalog.pg_database d ON d.oid = w.database;
GRANT SELECT ON onceq.workers TO PUBLIC;
COMMENT ON VIEW onceq.workers IS 'the worker of each database that has one or wants one';
COMMENT ON COLUMN onceq.workers.state IS 'running, starting, wanted, backing off (after a failed start), held off (by a statement that needs the database for itself)';
COMMENT ON COLUMN onceq.workers.since IS 'when the worker came into this state';
COMMENT ON COLUMN onceq.workers.failed_starts IS 'starts that failed since the worker last ran; the server log tells why';
COMMENT ON COLUMN onceq.workers.next_start IS 'when the next start is tried, at the earliest';

CREATE FUNCTION onceq.list_worker_chores(
	OUT database oid,
	OUT chore text,
	OUT runs bigint,
	OUT last_run timestamptz,
	OUT duration_ms float8,
	OUT next_run timestamptz,
	OUT failures int,
	OUT last_error text
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'onceq_worker_chores';
COMMENT ON FUNCTION onceq.list_worker_chores() IS 'rows of onceq.worker_chores';
REVOKE ALL ON FUNCTION onceq.list_worker_chores() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION onceq.list_worker_chores() TO onceq_monitor, onceq_operator, onceq_admin;

CREATE VIEW onceq.worker_chores AS
SELECT d.datname AS database, c.chore, c.runs, c.last_run, c.duration_ms, c.next_run, c.failures, c.last_error
FROM onceq.list_worker_chores() c JOIN pg_catalog.pg_database d ON d.oid = c.database;
GRANT SELECT ON onceq.worker_chores TO onceq_monitor, onceq_operator, onceq_admin;
COMMENT ON VIEW onceq.worker_chores IS 'chores of each running worker, and how they went since it started';
COMMENT ON COLUMN onceq.worker_chores.duration_ms IS 'of the last run';
COMMENT ON COLUMN onceq.worker_chores.next_run IS 'at the latest; sooner if somebody wakes the worker';
COMMENT ON COLUMN onceq.worker_chores.failures IS 'failed runs in a row; each is retried after a back-off of its own';
COMMENT ON COLUMN onceq.worker_chores.last_error IS 'of this worker, even if a later run went well';
