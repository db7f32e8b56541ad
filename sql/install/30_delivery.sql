-- The life of one job: enqueued, claimed, acknowledged, retried, dead.
-- Every function checks the caller's privileges on the queue itself.

CREATE FUNCTION onceq.drop_queue(queue text, if_exists bool DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_drop_queue';
COMMENT ON FUNCTION onceq.drop_queue(text, bool) IS
'drops a queue with all its jobs when the transaction commits; errors: 22004, 42704 no such queue, 42501';

CREATE FUNCTION onceq.purge_queue(queue text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_purge_queue';
COMMENT ON FUNCTION onceq.purge_queue(text) IS
'cancels all ready and scheduled jobs of a queue, and dead ones that block their ordering key, and returns their number; running ones go on; errors: 22004, 42704, 42501, 53400 onceq.state_memory';

CREATE FUNCTION onceq.enqueue(queue text, payload jsonb, headers jsonb DEFAULT NULL, priority int DEFAULT 0,
	run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL,
	unique_key text DEFAULT NULL, unique_mode text DEFAULT 'skip', unique_for interval DEFAULT NULL,
	ordering_key text DEFAULT NULL, max_attempts int DEFAULT NULL,
	soft_time_limit interval DEFAULT NULL, hard_time_limit interval DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_enqueue';
COMMENT ON FUNCTION onceq.enqueue(text, jsonb, jsonb, int, timestamptz, interval, text, text, interval, text, int, interval,
	interval) IS
'adds a job that can be claimed once the transaction has committed, and returns its id; priority 0 to 9, higher first; run_at or delay, at most 366 days ahead; unique_key 1 to 512 bytes: NULL is returned and nothing added if an unfinished job has it, or one enqueued within its unique_for (0 to 366 days); unique_mode skip, or replace or debounce that job, unless it runs or has ended; ordering_key 1 to 256 bytes: jobs of the same key run one at a time, in the order of ids; max_attempts 1 to 1000, soft_time_limit and hard_time_limit 100 ms to 12 h, NULL: the queue''s; errors: 22004, 22023, 54000 too large, 42704, 42501, 53400 onceq.state_memory, 55000 no room in time, OQ003; with unique_key 40001 only under REPEATABLE READ and SERIALIZABLE, 40P01';

CREATE FUNCTION onceq.find_unique(queue text, unique_key text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_find_unique';
COMMENT ON FUNCTION onceq.find_unique(text, text) IS
'the job that has this unique key now, so that another enqueue with it would add none: unfinished, or enqueued within its unique_for; NULL: none; needs INSERT or SELECT; errors: 22004, 22023, 25006 on a standby, 42704, 42501';

CREATE FUNCTION onceq.enqueue_many(queue text, payloads jsonb[], headers jsonb[] DEFAULT NULL,
	priority int DEFAULT 0, run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL)
RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'onceq_enqueue_many';
COMMENT ON FUNCTION onceq.enqueue_many(text, jsonb[], jsonb[], int, timestamptz, interval) IS
'adds up to 10,000 jobs and returns their ids in order; errors as onceq.enqueue()';

-- A type with a name is found in a cache. Columns of a function itself are put together for each execution, which cost a
-- claim of one job an eighth of its instructions.
CREATE TYPE onceq.claimed_job AS (
	id bigint,
	token bigint,
	attempt int,
	payload jsonb,
	headers jsonb,
	priority int,
	enqueued_at timestamptz,
	lease_until timestamptz,
	ordering_key text
);
COMMENT ON TYPE onceq.claimed_job IS
'a job as onceq.claim() delivers it; token: proof of the lease, the same in all rows of a claim; attempt: 1 for the first';

CREATE FUNCTION onceq.claim(queue text, count int DEFAULT 1, lease interval DEFAULT NULL,
	wait interval DEFAULT '0', worker text DEFAULT NULL, hold text DEFAULT 'time')
RETURNS SETOF onceq.claimed_job LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'onceq_claim';
COMMENT ON FUNCTION onceq.claim(text, int, interval, interval, text, text) IS
'leases up to count (1 to 1000) ready jobs to the caller, highest priority first, then lowest id; lease 100 ms to 12 h, NULL: the queue''s; wait 0 to 60 s for the first job, in READ COMMITTED only; hold ''session'': lost when the session ends; callable only in FROM; errors: 0A000, 22004, 22023, 25001 wait with a fixed snapshot, 42704, 42501, 53400 onceq.lease_slots, onceq.queue_lease_share, onceq.state_memory, 55000, OQ003';

CREATE FUNCTION onceq.next_claim_at(queue text)
RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_next_claim_at';
COMMENT ON FUNCTION onceq.next_claim_at(text) IS
'when a claim may return a job, if nothing happens until then: now, when the rate limit allows the next one, or when the next job is due; NULL: only after a job was enqueued, a running one has ended, or the queue was resumed; errors: 22004, 42704, 42501, 55000';

CREATE FUNCTION onceq.claim_any(queues text[], weights int[] DEFAULT NULL, count int DEFAULT 1,
	lease interval DEFAULT NULL, wait interval DEFAULT '0', worker text DEFAULT NULL, hold text DEFAULT 'time')
RETURNS TABLE (queue text, id bigint, token bigint, attempt int, payload jsonb, headers jsonb, priority int,
	enqueued_at timestamptz, lease_until timestamptz, ordering_key text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'onceq_claim_any';
COMMENT ON FUNCTION onceq.claim_any(text[], int[], int, interval, interval, text, text) IS
'leases up to count ready jobs of one of 1 to 32 queues: of the first that has any, in the order given or, with weights (1 to 1000 each), in an order drawn by lot for each call; queues without ready jobs and paused ones are passed over; wait: until any of them has one; otherwise as onceq.claim(); errors: as onceq.claim(), 2202E';

CREATE FUNCTION onceq.ack(token bigint)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_ack';
COMMENT ON FUNCTION onceq.ack(bigint) IS
'ends all jobs of the lease as succeeded when the transaction commits, and returns their number; errors: OQ001 lease lost, now or at commit, 42501';

CREATE FUNCTION onceq.ack(token bigint, id bigint, result jsonb DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_ack_id';
COMMENT ON FUNCTION onceq.ack(bigint, bigint, jsonb) IS
'ends one job of the lease as succeeded, and keeps its result; errors as onceq.ack(token)';

CREATE FUNCTION onceq.ack(token bigint, ids bigint[])
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_ack_ids';
COMMENT ON FUNCTION onceq.ack(bigint, bigint[]) IS
'ends some jobs of the lease as succeeded; all of them must be held; errors as onceq.ack(token)';

CREATE FUNCTION onceq.ack_and_claim(token bigint, queue text, count int DEFAULT 1, lease interval DEFAULT NULL)
RETURNS SETOF onceq.claimed_job LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'onceq_ack_and_claim';
COMMENT ON FUNCTION onceq.ack_and_claim(bigint, text, int, interval) IS
'onceq.ack(token), then onceq.claim() for the same worker and hold, in one round trip and one commit; token NULL: claim only; errors of both';

CREATE FUNCTION onceq.nack(token bigint, id bigint, error text DEFAULT NULL, retry_in interval DEFAULT NULL)
RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_nack';
COMMENT ON FUNCTION onceq.nack(bigint, bigint, text, interval) IS
'counts a failed attempt of one job and returns when it is due again, NULL: attempts are used up, the job is dead; error is kept up to 2 kB; retry_in 0 to 366 days, NULL: the queue''s backoff; errors as onceq.ack(token), 22023';

CREATE FUNCTION onceq.reject(token bigint, id bigint, error text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_reject';
COMMENT ON FUNCTION onceq.reject(bigint, bigint, text) IS
'ends one job of the lease as dead, whatever attempts it has left; error is kept up to 2 kB; errors as onceq.ack(token)';

CREATE FUNCTION onceq.release(token bigint, id bigint DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_release';
COMMENT ON FUNCTION onceq.release(bigint, bigint) IS
'gives one job, or all of the lease, back at once, counting nothing and whatever becomes of the transaction; errors: OQ001 lease lost, 42501';

CREATE FUNCTION onceq.extend(token bigint, lease interval DEFAULT NULL)
RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_extend';
COMMENT ON FUNCTION onceq.extend(bigint, interval) IS
'lets the lease last from now on for this time (100 ms to 12 h; NULL: as it was granted), at once and whatever becomes of the transaction, and returns its end, which is never beyond the hard time limit; a NOTICE says that the soft time limit has passed (SQLSTATE 01OQ1), or that jobs of the lease were cancelled (01OQ2); errors: OQ001 lease lost, 22023, 42501';

CREATE FUNCTION onceq.progress(token bigint, id bigint, current bigint, total bigint DEFAULT NULL,
	message text DEFAULT NULL)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_progress';
COMMENT ON FUNCTION onceq.progress(bigint, bigint, bigint, bigint, text) IS
'tells how far a running job is, at once and whatever becomes of the transaction; onceq.job() shows it until the job leaves its lease; current and total not negative, message is kept up to 200 bytes; returns why the holder should stop: NULL no reason, soft_time_limit, cancelled; errors: OQ001 lease lost, 22004, 22023, 42501, 53400 onceq.progress_slots';

CREATE FUNCTION onceq.cancel(queue text, id bigint)
RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_cancel';
COMMENT ON FUNCTION onceq.cancel(text, bigint) IS
'ends a scheduled, ready or running job, or a dead one that blocks its ordering key, as cancelled when the transaction commits; the holder of a running one cannot end it any more; false: there is no such job, or it has ended; errors: 22004, 42704, 42501, 55P03 another transaction is just changing the job, 40001 at commit: a running job was ended by others first, 53400 onceq.state_memory';

CREATE FUNCTION onceq.cancel_jobs(queue text, state text DEFAULT NULL, ids bigint[] DEFAULT NULL, first_id bigint DEFAULT NULL,
	last_id bigint DEFAULT NULL, enqueued_after timestamptz DEFAULT NULL, enqueued_before timestamptz DEFAULT NULL,
	priority int DEFAULT NULL, ordering_key text DEFAULT NULL, payload jsonb DEFAULT NULL, headers jsonb DEFAULT NULL,
	error_like text DEFAULT NULL, count int DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_cancel_jobs';
COMMENT ON FUNCTION onceq.cancel_jobs(text, text, bigint[], bigint, bigint, timestamptz, timestamptz, int, text, jsonb, jsonb, text, int) IS
'cancels the jobs of lowest id that are scheduled, ready or running (state; NULL: any of these) and meet every condition given, as onceq.cancel() does, and returns their number; jobs that others are changing are left out; conditions: ids (at most 10000), first_id to last_id, enqueued at or after enqueued_after and before enqueued_before, priority 0 to 9, ordering_key, payload and headers that the job''s contain, error_like: pattern for the last error; count 1 to 10000, NULL: 10000; conditions on more than state and ids need SELECT too; errors: 22004, 22023, 22025, 2202E, 42704, 42501, 54000 too many ids, 40001 at commit: a running job was ended by others first, 53400 onceq.state_memory';

CREATE FUNCTION onceq.reject_jobs(queue text, error text DEFAULT NULL, state text DEFAULT NULL, ids bigint[] DEFAULT NULL,
	first_id bigint DEFAULT NULL, last_id bigint DEFAULT NULL, enqueued_after timestamptz DEFAULT NULL,
	enqueued_before timestamptz DEFAULT NULL, priority int DEFAULT NULL, ordering_key text DEFAULT NULL,
	payload jsonb DEFAULT NULL, headers jsonb DEFAULT NULL, error_like text DEFAULT NULL, count int DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_reject_jobs';
COMMENT ON FUNCTION onceq.reject_jobs(text, text, text, bigint[], bigint, bigint, timestamptz, timestamptz, int, text, jsonb, jsonb, text, int) IS
'makes the jobs of lowest id that are scheduled or ready (state; NULL: both) and meet every condition given dead when the transaction commits, and returns their number; it counts as an attempt of each; error is kept up to 2 kB; running jobs, and those that others are changing, are left out; conditions and count as in onceq.cancel_jobs(); errors: 22004, 22023, 22025, 2202E, 42704, 42501, 54000 too many ids, 53400 onceq.state_memory';

CREATE FUNCTION onceq.reschedule_jobs(queue text, run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL,
	state text DEFAULT NULL, ids bigint[] DEFAULT NULL, first_id bigint DEFAULT NULL, last_id bigint DEFAULT NULL,
	enqueued_after timestamptz DEFAULT NULL, enqueued_before timestamptz DEFAULT NULL, priority int DEFAULT NULL,
	ordering_key text DEFAULT NULL, payload jsonb DEFAULT NULL, headers jsonb DEFAULT NULL, error_like text DEFAULT NULL,
	count int DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_reschedule_jobs';
COMMENT ON FUNCTION onceq.reschedule_jobs(text, timestamptz, interval, text, bigint[], bigint, bigint, timestamptz, timestamptz, int, text, jsonb, jsonb, text, int) IS
'lets the jobs of lowest id that are scheduled or ready (state; NULL: both) and meet every condition given be due at run_at, or after delay, at most 366 days ahead (both NULL: at once) when the transaction commits, and returns their number; those that are due then already, running ones, and those that somebody is changing, this transaction included, are left out; conditions and count as in onceq.cancel_jobs(); errors: 22004, 22023, 22025, 2202E, 42704, 42501, 54000 too many ids, 53400 onceq.state_memory';

CREATE FUNCTION onceq.cancelled(token bigint)
RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'onceq_cancelled';
COMMENT ON FUNCTION onceq.cancelled(bigint) IS
'ids of the jobs that were cancelled while the lease held them: while there are any, onceq.ack(token) refuses to end the lease as a whole; errors: OQ001 the lease is not held, or all its jobs were cancelled, 42501';

CREATE FUNCTION onceq.redrive(queue text, id bigint DEFAULT NULL, count int DEFAULT NULL, rate int DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_redrive';
COMMENT ON FUNCTION onceq.redrive(text, bigint, int, int) IS
'makes dead jobs ready again when the transaction commits, with all their attempts before them, and returns their number: one, or those of lowest id, at most count (1 to 10000; NULL: 10000); rate: so many of them are due each second (1 to 1000000; NULL: all at once); for superusers, members of onceq_admin and onceq_operator; errors: 22004, 22023, 42704, 42501, 53400 onceq.state_memory, 54000 tried 4095 times already, 55P03 another transaction is just changing the job';

CREATE FUNCTION onceq.redrive_jobs(queue text, ids bigint[] DEFAULT NULL, first_id bigint DEFAULT NULL,
	last_id bigint DEFAULT NULL, enqueued_after timestamptz DEFAULT NULL, enqueued_before timestamptz DEFAULT NULL,
	priority int DEFAULT NULL, ordering_key text DEFAULT NULL, payload jsonb DEFAULT NULL, headers jsonb DEFAULT NULL,
	error_like text DEFAULT NULL, count int DEFAULT NULL, rate int DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_redrive_jobs';
COMMENT ON FUNCTION onceq.redrive_jobs(text, bigint[], bigint, bigint, timestamptz, timestamptz, int, text, jsonb, jsonb, text, int, int) IS
'makes the dead jobs of lowest id that meet every condition given ready again, as onceq.redrive() does, and returns their number; conditions and count as in onceq.cancel_jobs(), rate as in onceq.redrive(); jobs that others are changing, or that were tried 4095 times, are left out; errors: 22004, 22023, 22025, 2202E, 42704, 42501, 54000 too many ids, 53400 onceq.state_memory';

CREATE TYPE onceq.job_info AS (
	queue text,
	id bigint,
	state text,
	priority int,
	attempt int,
	max_attempts int,
	enqueued_at timestamptz,
	due_at timestamptz,
	claimed_at timestamptz,
	finished_at timestamptz,
	lease_until timestamptz,
	worker text,
	progress_current bigint,
	progress_total bigint,
	progress_message text,
	result jsonb,
	error text,
	payload jsonb,
	headers jsonb
);
COMMENT ON TYPE onceq.job_info IS
'a job as onceq.job() shows it; state: scheduled, ready, running, succeeded, dead, cancelled; attempt: the running one, or the number of attempts so far; error: of the last failed attempt; progress: what onceq.progress() reported last, while running; due_at: while scheduled or ready';

CREATE FUNCTION onceq.job(queue text, id bigint)
RETURNS onceq.job_info LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_job';
COMMENT ON FUNCTION onceq.job(text, bigint) IS
'one job, whatever its state, until its segment is dropped after the retention; NULL: there is none; errors: 22004, 42704, 42501';

CREATE FUNCTION onceq.job_attempts(queue text, id bigint)
RETURNS TABLE (attempt int, outcome text, ended_at timestamptz, worker text, error text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 3 AS 'MODULE_PATHNAME', 'onceq_job_attempts';
COMMENT ON FUNCTION onceq.job_attempts(text, bigint) IS
'attempts of a job, the first one first; outcome: failed, dead (failed for good), succeeded, cancelled, running; attempts that left no trace, as in a crash of the server, are not there; errors: 22004, 42704, 42501';

CREATE FUNCTION onceq.jobs(queue text, state text DEFAULT NULL, after_id bigint DEFAULT 0, count int DEFAULT 100)
RETURNS SETOF onceq.job_info LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'onceq_jobs';
COMMENT ON FUNCTION onceq.jobs(text, text, bigint, int) IS
'jobs by ascending id after after_id, all or those in one state; count 1 to 10000; finished jobs are found by reading; errors: 22004, 22023, 42704, 42501';

CREATE FUNCTION onceq.list_queue_stats(OUT queue text, OUT ready bigint, OUT scheduled bigint, OUT running bigint,
	OUT oldest_ready_age interval, OUT enqueued bigint, OUT claims bigint, OUT delivered bigint,
	OUT succeeded bigint, OUT failed bigint, OUT dead bigint, OUT cancelled bigint, OUT released bigint,
	OUT expired bigint, OUT restored bigint, OUT held_back bigint, OUT blocked bigint)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'onceq_queue_stats';
COMMENT ON FUNCTION onceq.list_queue_stats() IS 'rows of onceq.queue_stats';

CREATE VIEW onceq.queue_stats AS SELECT * FROM onceq.list_queue_stats();
GRANT SELECT ON onceq.queue_stats TO PUBLIC;
COMMENT ON VIEW onceq.queue_stats IS
'jobs by state and counters since the server started, of the queues the user has a privilege on; read from memory';
COMMENT ON COLUMN onceq.queue_stats.oldest_ready_age IS 'time since the ready job of the lowest id was enqueued; null: none is ready, or its segment is locked by somebody';
COMMENT ON COLUMN onceq.queue_stats.restored IS 'jobs that were running when the server stopped, and went on under their old lease';
COMMENT ON COLUMN onceq.queue_stats.held_back IS 'jobs that may have been running when the server failed, and were delivered again within onceq.restart_spread, each at a time of its own; scheduled until then';
COMMENT ON COLUMN onceq.queue_stats.blocked IS 'jobs now that wait for an earlier one of their ordering key, and dead ones that others wait for';
COMMENT ON COLUMN onceq.queue_stats.failed IS 'failed attempts, the last ones of dead jobs and those of expired leases included';

CREATE FUNCTION onceq.list_memory(OUT setting text, OUT used bigint, OUT capacity bigint)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 5 AS 'MODULE_PATHNAME', 'onceq_memory';
COMMENT ON FUNCTION onceq.list_memory() IS 'rows of onceq.memory';
REVOKE ALL ON FUNCTION onceq.list_memory() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION onceq.list_memory() TO onceq_monitor, onceq_operator, onceq_admin;

CREATE VIEW onceq.memory AS SELECT * FROM onceq.list_memory();
GRANT SELECT ON onceq.memory TO onceq_monitor, onceq_operator, onceq_admin;
COMMENT ON VIEW onceq.memory IS
'what is used now, in all databases, of the memory whose size a setting fixes at the start of the server: what needs more fails with 53400';
COMMENT ON COLUMN onceq.memory.setting IS 'name of the setting';
COMMENT ON COLUMN onceq.memory.used IS 'in use now, in the unit of the setting (onceq.state_memory: kB)';
COMMENT ON COLUMN onceq.memory.capacity IS 'all there is, in the same unit';

CREATE FUNCTION onceq.list_leases(OUT queue text, OUT worker text, OUT role oid, OUT pid int, OUT hold text,
	OUT state text, OUT jobs int, OUT claimed_at timestamptz, OUT expires_in interval, OUT journalled bool)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'onceq_leases';
COMMENT ON FUNCTION onceq.list_leases() IS 'rows of onceq.leases';

CREATE VIEW onceq.leases AS
SELECT l.queue, l.worker, pg_catalog.pg_get_userbyid(l.role) AS role, l.pid, l.hold, l.state, l.jobs,
	l.claimed_at, l.expires_in, l.journalled
FROM onceq.list_leases() l;
GRANT SELECT ON onceq.leases TO PUBLIC;
COMMENT ON VIEW onceq.leases IS 'leases in force, of the queues the user has a privilege on; tokens are not shown';
COMMENT ON COLUMN onceq.leases.pid IS 'server process that claimed; null: before a restart of the server';
COMMENT ON COLUMN onceq.leases.state IS 'provisional (being claimed), held, lost (holder gone), expiring';
COMMENT ON COLUMN onceq.leases.jobs IS 'jobs still held';
COMMENT ON COLUMN onceq.leases.journalled IS 'whether the lease survives a restart of the server';

CREATE FUNCTION onceq.audit(queue text)
RETURNS TABLE (id bigint, board text, stored text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'onceq_audit';
COMMENT ON FUNCTION onceq.audit(text) IS
'compares the state of every unfinished job in memory with the tables and repairs it; returns the differences found, no rows: none; for onceq_operator and onceq_admin; errors: 22004, 42704, 42501';
