-- Where jobs and outcomes lie. The segment tables themselves are made when they are needed.

CREATE TABLE onceq.segment (
	queue_id int,
	number bigint,
	created_at timestamptz NOT NULL,
	sealed_at timestamptz,
	drained_at timestamptz,
	archived_below bigint,
	archived_at timestamptz,
	PRIMARY KEY (queue_id, number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50);
ALTER TABLE onceq.segment OWNER TO onceq_owner;
COMMENT ON TABLE onceq.segment IS 'segments of queues: tables j<queue>_<number>, o<queue>_<number>, r<queue>_<number> in onceq_data; number -2 - n: what remains of segment n for the archive when its unfinished jobs have moved, tables j<queue>_<n>_old, …';
SELECT pg_catalog.pg_extension_config_dump('onceq.segment', '');

CREATE TABLE onceq.unique_key (
	queue_id int,
	key text COLLATE "C",
	job_id bigint NOT NULL,
	kept_until timestamptz,
	PRIMARY KEY (queue_id, key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE onceq.unique_key OWNER TO onceq_owner;
COMMENT ON TABLE onceq.unique_key IS 'the last job of each unique key; the key is taken while that job is unfinished, and until kept_until';
SELECT pg_catalog.pg_extension_config_dump('onceq.unique_key', '');

CREATE TABLE onceq.lease_journal (
	queue_id int,
	token bigint,
	first_id bigint,
	last_id bigint NOT NULL,
	attempt int NOT NULL,
	priority smallint NOT NULL,
	lease interval NOT NULL,
	hold "char" NOT NULL,
	role name NOT NULL,
	worker text,
	soft_time_limit interval,
	hard_time_limit interval,
	journalled_at timestamptz NOT NULL,
	PRIMARY KEY (queue_id, token, first_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE onceq.lease_journal OWNER TO onceq_owner;
COMMENT ON TABLE onceq.lease_journal IS 'leases that survive a restart of the server: one row per run of ids';
SELECT pg_catalog.pg_extension_config_dump('onceq.lease_journal', '');
