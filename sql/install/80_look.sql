-- What there is to look at.

-- The rows of onceq.queue are read with the rights of its owner; which of them are shown depends on the
-- rights of the user who asks. Joined by name because to_regclass() would need USAGE on onceq_data.
CREATE VIEW onceq.queues WITH (security_barrier = true) AS
SELECT q.name AS queue,
	q.lease,
	q.max_attempts,
	q.backoff_base,
	q.backoff_factor,
	q.backoff_max,
	q.backoff_jitter,
	q.retention,
	q.segment_age,
	q.soft_time_limit,
	q.hard_time_limit,
	q.on_dead_key,
	q.max_running,
	q.max_running_per_key,
	q.rate_limit,
	q.rate_period,
	q.rate_burst,
	q.durable_leases,
	q.priority_ageing,
	q.dead_letter_queue,
	q.archive_to,
	q.paused,
	q.created_at,
	c.oid::pg_catalog.regclass AS privileges
FROM onceq.queue q
JOIN pg_catalog.pg_class c ON c.relname = ('q' || q.id)::pg_catalog.name AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'onceq_data'
WHERE q.dropped_at IS NULL
AND (pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
	OR pg_catalog.pg_has_role('onceq_operator', 'USAGE')
	OR pg_catalog.pg_has_role('onceq_monitor', 'USAGE'));
ALTER VIEW onceq.queues OWNER TO onceq_owner;
GRANT SELECT ON onceq.queues TO PUBLIC;
COMMENT ON VIEW onceq.queues IS 'queues the user has a privilege on, and their options';
COMMENT ON COLUMN onceq.queues.privileges IS 'empty table that carries the privileges of the queue, for GRANT and REVOKE';
