-- The queue that is written by hand when nothing is installed, in its best known form: one table, a
-- partial index on what is ready, FOR UPDATE SKIP LOCKED. What its users send is in system.hpp.
\set ON_ERROR_STOP on

CREATE SCHEMA bench;

-- It can do what onceq does in these measurements: priorities, delays, attempts, and leases that
-- somebody who looks for them can find when they have expired.
CREATE TABLE bench.job (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	enqueued_at timestamptz NOT NULL DEFAULT now(),
	run_at timestamptz NOT NULL DEFAULT now(),
	lease_until timestamptz, -- null: not running
	priority smallint NOT NULL DEFAULT 0,
	attempt smallint NOT NULL DEFAULT 0,
	payload jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01); -- as advised for queues
CREATE INDEX job_ready ON bench.job (priority DESC, run_at, id) WHERE lease_until IS NULL;
CREATE INDEX job_running ON bench.job (lease_until) WHERE lease_until IS NOT NULL;

-- The least that still works: first in, first out, and nothing else.
CREATE TABLE bench.lean_job (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	lease_until timestamptz,
	payload jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX lean_job_ready ON bench.lean_job (id) WHERE lease_until IS NULL;
