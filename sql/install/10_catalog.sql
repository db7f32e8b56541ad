-- Which queues exist, and what was promised of each. The columns' order is known to src/catalog.

CREATE TABLE onceq.queue (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text COLLATE "C" NOT NULL,
	incarnation bigint NOT NULL,
	lease interval NOT NULL,
	max_attempts int NOT NULL,
	backoff_base interval NOT NULL,
	backoff_factor float8 NOT NULL,
	backoff_max interval NOT NULL,
	backoff_jitter float8 NOT NULL,
	retention interval NOT NULL,
	segment_age interval NOT NULL,
	soft_time_limit interval,
	hard_time_limit interval,
	on_dead_key text NOT NULL,
	max_running int,
	max_running_per_key int,
	rate_limit int,
	rate_period interval NOT NULL,
	rate_burst int,
	durable_leases bool NOT NULL,
	priority_ageing interval,
	dead_letter_queue text COLLATE "C",
	archive_to text COLLATE "C",
	paused bool NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	dropped_at timestamptz
);
CREATE UNIQUE INDEX queue_name ON onceq.queue (name) WHERE dropped_at IS NULL;
ALTER TABLE onceq.queue OWNER TO onceq_owner;
COMMENT ON TABLE onceq.queue IS 'queues and their options; read onceq.queues instead';
SELECT pg_catalog.pg_extension_config_dump('onceq.queue', '');
SELECT pg_catalog.pg_extension_config_dump('onceq.queue_id_seq', '');

-- Apart from onceq.queue, so that an ALTER of a queue that is left open never stops its producers.
CREATE TABLE onceq.id_ceiling (
	queue_id int PRIMARY KEY,
	ceiling bigint NOT NULL,
	step bigint NOT NULL,
	raised_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE onceq.id_ceiling OWNER TO onceq_owner;
COMMENT ON TABLE onceq.id_ceiling IS 'ids at or above the ceiling were never given out';
SELECT pg_catalog.pg_extension_config_dump('onceq.id_ceiling', '');

-- At most one row. Who restores or copies a database brings its row along, which then does not fit.
CREATE TABLE onceq.installation (
	system_identifier bigint NOT NULL,
	database bigint NOT NULL,
	relation bigint NOT NULL
);
CREATE UNIQUE INDEX installation_single ON onceq.installation ((true));
-- Without a primary key a publication of all tables would forbid the DELETE of onceq.adopt().
ALTER TABLE onceq.installation REPLICA IDENTITY FULL;
ALTER TABLE onceq.installation OWNER TO onceq_owner;
COMMENT ON TABLE onceq.installation IS 'server, database and oid of this table where the queues are in use; see onceq.adopt()';
SELECT pg_catalog.pg_extension_config_dump('onceq.installation', '');

-- create_queue(queue, options…): options as in onceq.queues. The creator must be an onceq_admin.
CREATE FUNCTION onceq.create_queue(
	queue text,
	lease interval DEFAULT '30 s',
	max_attempts int DEFAULT 20,
	backoff_base interval DEFAULT '1 s',
	backoff_factor float8 DEFAULT 2,
	backoff_max interval DEFAULT '1 h',
	backoff_jitter float8 DEFAULT 0.1,
	retention interval DEFAULT '7 days',
	segment_age interval DEFAULT '1 day',
	soft_time_limit interval DEFAULT NULL,
	hard_time_limit interval DEFAULT NULL,
	on_dead_key text DEFAULT 'block',
	max_running int DEFAULT NULL,
	max_running_per_key int DEFAULT NULL,
	rate_limit int DEFAULT NULL,
	rate_period interval DEFAULT '1 s',
	rate_burst int DEFAULT NULL,
	durable_leases bool DEFAULT false,
	priority_ageing interval DEFAULT NULL,
	dead_letter_queue text DEFAULT NULL,
	archive_to text DEFAULT NULL,
	if_not_exists bool DEFAULT false
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_create_queue';
COMMENT ON FUNCTION onceq.create_queue(text, interval, int, interval, float8, interval, float8, interval, interval, interval, interval,
	text, int, int, int, interval, int, bool, interval, text, text, bool)
	IS 'makes a queue, for superusers and members of onceq_admin; ranges of the options: lease 100 ms to 12 h, max_attempts 1 to 1000, backoff_base and backoff_max 0 to 366 days, backoff_factor 1 to 100, backoff_jitter 0 to 1, retention 0 to 100 years, segment_age 1 s to 10 years; soft_time_limit, hard_time_limit 100 ms to 12 h, on_dead_key block or continue, max_running, max_running_per_key, rate_limit and rate_burst 1 to 1,000,000, rate_period 1 ms to 1 day, priority_ageing 1 s to 366 days; NULL or 0: none; durable_leases: a claim returns only when its lease survives a crash; dead_letter_queue: a queue that gets a copy of each job that dies; archive_to: schema.table that finished jobs are copied to before they are dropped; errors: 22004, 22023, 3F000, 42601, 42602, 42710 it exists, 42501, 0A000 in the script of an extension or archive_to in another database, 55000 not adopted';

-- alter_queue(queue, options…): NULL leaves an option as it is.
CREATE FUNCTION onceq.alter_queue(
	queue text,
	lease interval DEFAULT NULL,
	max_attempts int DEFAULT NULL,
	backoff_base interval DEFAULT NULL,
	backoff_factor float8 DEFAULT NULL,
	backoff_max interval DEFAULT NULL,
	backoff_jitter float8 DEFAULT NULL,
	retention interval DEFAULT NULL,
	segment_age interval DEFAULT NULL,
	soft_time_limit interval DEFAULT NULL,
	hard_time_limit interval DEFAULT NULL,
	on_dead_key text DEFAULT NULL,
	max_running int DEFAULT NULL,
	max_running_per_key int DEFAULT NULL,
	rate_limit int DEFAULT NULL,
	rate_period interval DEFAULT NULL,
	rate_burst int DEFAULT NULL,
	durable_leases bool DEFAULT NULL,
	priority_ageing interval DEFAULT NULL,
	dead_letter_queue text DEFAULT NULL,
	archive_to text DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_alter_queue';
COMMENT ON FUNCTION onceq.alter_queue(text, interval, int, interval, float8, interval, float8, interval, interval, interval, interval,
	text, int, int, int, interval, int, bool, interval, text, text)
	IS 'changes options of a queue, for superusers and members of onceq_admin; NULL: unchanged; 0 or '''': takes a limit, priority_ageing, dead_letter_queue or archive_to away; applies to what happens after the commit; errors: 22004, 22023, 3F000, 42601, 42602, 0A000, 42704, 42501, 55000';

CREATE FUNCTION onceq.pause_queue(queue text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_pause_queue';
COMMENT ON FUNCTION onceq.pause_queue(text) IS 'stops the delivery of jobs of a queue until it is resumed; jobs can be enqueued, running ones go on; for superusers, members of onceq_admin and onceq_operator; errors: 22004, 42704, 42501, 55000';

CREATE FUNCTION onceq.resume_queue(queue text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_resume_queue';
COMMENT ON FUNCTION onceq.resume_queue(text) IS 'delivers jobs of a paused queue again; errors as onceq.pause_queue()';

-- adopt(keep_leases): true keeps the leases that the original had granted and written down.
CREATE FUNCTION onceq.adopt(keep_leases bool DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_adopt';
COMMENT ON FUNCTION onceq.adopt(bool) IS 'makes the queues of a restored, copied or upgraded database usable here, for superusers and members of onceq_admin; keep_leases: jobs that were running stay with their holders until the lease ends; errors: 22004, 42501';

CREATE FUNCTION onceq.grant_producer(queue text, role name) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_grant_producer';
COMMENT ON FUNCTION onceq.grant_producer(text, name) IS 'lets a role enqueue: GRANT INSERT on the table that carries the queue''s privileges, as the current user; errors: 22004, 42704 no such queue or role, 42501, 55000';

CREATE FUNCTION onceq.grant_consumer(queue text, role name) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_grant_consumer';
COMMENT ON FUNCTION onceq.grant_consumer(text, name)
	IS 'lets a role claim, end and look at jobs: GRANT SELECT, UPDATE, DELETE on that table; errors as onceq.grant_producer()';
