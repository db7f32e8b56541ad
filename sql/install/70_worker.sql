-- The worker of a database, and what it does by hand.

-- recover(), maintain(): what the worker does, in the caller's transaction; for onceq_operator and onceq_admin.
CREATE PROCEDURE onceq.recover() LANGUAGE c AS 'MODULE_PATHNAME', 'onceq_recover';
COMMENT ON PROCEDURE onceq.recover() IS 'do now what falls due: expired leases, delayed jobs; otherwise the worker does it';
REVOKE ALL ON PROCEDURE onceq.recover() FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE onceq.recover() TO onceq_operator, onceq_admin;

CREATE PROCEDURE onceq.maintain() LANGUAGE c AS 'MODULE_PATHNAME', 'onceq_maintain';
COMMENT ON PROCEDURE onceq.maintain() IS 'make room for new jobs and remove old ones now; otherwise the worker does it';
REVOKE ALL ON PROCEDURE onceq.maintain() FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE onceq.maintain() TO onceq_operator, onceq_admin;

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
