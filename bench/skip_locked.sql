-- The queue that is written by hand when nothing is installed, in its best known form: one table, a
-- partial index on what is ready, FOR UPDATE SKIP LOCKED. What its users send is in driver.cpp.
--
-- Kept as small as it can be while a crashed consumer's jobs can still be found: it has no priority,
-- no delay, no retries, nothing that puts expired leases back. Each of them would make it slower.
\set ON_ERROR_STOP on

CREATE SCHEMA bench;
CREATE TABLE bench.job (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	enqueued_at timestamptz NOT NULL DEFAULT now(),
	lease_until timestamptz,
	attempt smallint NOT NULL DEFAULT 0,
	running bool NOT NULL DEFAULT false,
	payload jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01); -- as advised for queues
CREATE INDEX job_ready ON bench.job (id) WHERE NOT running;
