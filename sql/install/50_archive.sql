-- Archive policies: what is to become of old rows of any table, and of finished jobs. The columns' order is
-- known to src/archive.

CREATE TABLE onceq.archive_policy (
	source regclass PRIMARY KEY,
	owner name NOT NULL,
	age_column name NOT NULL,
	older_than interval NOT NULL,
	archive_schema name,
	archive_table name,
	batch int NOT NULL,
	not_before time,
	not_after time,
	vacuum_after bool NOT NULL,
	vacuum_due bool NOT NULL DEFAULT false,
	last_run timestamptz,
	last_duration interval,
	last_rows bigint,
	total_rows bigint NOT NULL DEFAULT 0,
	next_run timestamptz,
	failures int NOT NULL DEFAULT 0,
	last_error text
) WITH (fillfactor = 50);
ALTER TABLE onceq.archive_policy OWNER TO onceq_owner;
COMMENT ON TABLE onceq.archive_policy IS 'archive policies, and how they went; read onceq.archive_policies instead';
-- A table that was dropped has no name that a dump could give it, and its number would be another's.
SELECT pg_catalog.pg_extension_config_dump('onceq.archive_policy',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = source)');

CREATE TABLE onceq.archive_partition (
	partition regclass PRIMARY KEY,
	source regclass NOT NULL,
	bounds text NOT NULL
);
ALTER TABLE onceq.archive_partition OWNER TO onceq_owner;
COMMENT ON TABLE onceq.archive_partition IS 'partitions on their way from a table to its archive';
SELECT pg_catalog.pg_extension_config_dump('onceq.archive_partition',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = source)'
	' AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = partition)');

CREATE FUNCTION onceq.set_archive_policy(
	source regclass,
	age_column name,
	older_than interval,
	archive_to text DEFAULT NULL,
	batch int DEFAULT 1000,
	not_before time DEFAULT NULL,
	not_after time DEFAULT NULL,
	vacuum_after bool DEFAULT true
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_set_archive_policy';
COMMENT ON FUNCTION onceq.set_archive_policy(regclass, name, interval, text, int, time, time, bool) IS
'moves rows of a table whose age_column (timestamp with or without time zone, date) is more than older_than ago to another table, made like the source if it is missing; archive_to NULL: deletes them; for the owner of the table, as whom it will run; older_than 0 to 100 years; batch: rows of one transaction, 1 to 100000; not_before, not_after: time of the day of the server; vacuum_after: VACUUM (ANALYZE) after a run; replaces the policy that the table had; errors: 0A000, 22004, 22023, 3F000, 42501, 42601, 42602, 42703, 42804, 42809, 42P01, 55000';

CREATE FUNCTION onceq.drop_archive_policy(source regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_drop_archive_policy';
COMMENT ON FUNCTION onceq.drop_archive_policy(regclass) IS
'ends the archiving of a table, for its owner; a batch that is under way goes on; what was archived stays; errors: 22004, 42501, 42704, 42P01';

CREATE PROCEDURE onceq.archive(source regclass DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'onceq_archive';
COMMENT ON PROCEDURE onceq.archive(regclass) IS
'carries out now the policy of a table, also outside of its time of the day; NULL: those of all tables of the user (of all tables, for onceq_operator and onceq_admin) whose time of the day it is, and for onceq_operator and onceq_admin also the finished jobs that are due of queues with archive_to; each batch is a transaction; a table that somebody archives already is left to him; errors: 25001 in a transaction block, 42501, 42704, 53400';

CREATE FUNCTION onceq.list_archive_progress(
	OUT source regclass,
	OUT pid int,
	OUT phase text,
	OUT started_at timestamptz,
	OUT batches bigint,
	OUT rows bigint
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'onceq_archive_progress';
COMMENT ON FUNCTION onceq.list_archive_progress() IS 'rows of onceq.archive_progress';

CREATE VIEW onceq.archive_progress AS SELECT * FROM onceq.list_archive_progress();
GRANT SELECT ON onceq.archive_progress TO PUBLIC;
COMMENT ON VIEW onceq.archive_progress IS 'what is being archived in this database just now, of tables of the user; all for onceq_admin, onceq_operator and onceq_monitor';
COMMENT ON COLUMN onceq.archive_progress.source IS 'table whose rows are archived; of finished jobs: the table that carries the privileges of their queue';
COMMENT ON COLUMN onceq.archive_progress.phase IS 'preparing, moving rows, moving partitions, vacuuming, copying jobs';
COMMENT ON COLUMN onceq.archive_progress.rows IS 'archived and committed so far';

CREATE VIEW onceq.archive_policies WITH (security_barrier = true) AS
SELECT p.source,
	p.owner,
	p.age_column,
	p.older_than,
	pg_catalog.quote_ident(p.archive_schema) || '.' || pg_catalog.quote_ident(p.archive_table) AS archive_to,
	p.batch,
	p.not_before,
	p.not_after,
	p.vacuum_after,
	p.last_run,
	p.last_duration,
	p.last_rows,
	p.total_rows,
	p.next_run,
	p.failures,
	p.last_error
FROM onceq.archive_policy p
WHERE EXISTS (SELECT FROM pg_catalog.pg_class c
	WHERE c.oid = p.source AND pg_catalog.pg_has_role(c.relowner, 'USAGE'))
OR pg_catalog.pg_has_role('onceq_admin', 'USAGE')
OR pg_catalog.pg_has_role('onceq_operator', 'USAGE')
OR pg_catalog.pg_has_role('onceq_monitor', 'USAGE');
ALTER VIEW onceq.archive_policies OWNER TO onceq_owner;
GRANT SELECT ON onceq.archive_policies TO PUBLIC;
COMMENT ON VIEW onceq.archive_policies IS 'archive policies of tables of the user, and how their last run went; all for onceq_admin, onceq_operator and onceq_monitor';
COMMENT ON COLUMN onceq.archive_policies.owner IS 'role that owned the table when the policy was set, and as which it runs';
COMMENT ON COLUMN onceq.archive_policies.archive_to IS 'null: old rows are deleted';
COMMENT ON COLUMN onceq.archive_policies.last_rows IS 'rows that the last run moved or deleted; those of partitions that were moved whole are not counted';
COMMENT ON COLUMN onceq.archive_policies.next_run IS 'at the earliest, and within not_before and not_after; null: as soon as possible';
COMMENT ON COLUMN onceq.archive_policies.failures IS 'failed runs in a row; the next one comes after a back-off';
COMMENT ON COLUMN onceq.archive_policies.last_error IS 'of the last run; null: it went well';

-- Queues with the option archive_to: who has set it, and how it went.
CREATE TABLE onceq.job_archive (
	queue_id int PRIMARY KEY,
	owner name NOT NULL,
	last_run timestamptz,
	last_jobs bigint,
	total_jobs bigint NOT NULL DEFAULT 0,
	next_run timestamptz,
	failures int NOT NULL DEFAULT 0,
	last_error text
) WITH (fillfactor = 50);
ALTER TABLE onceq.job_archive OWNER TO onceq_owner;
COMMENT ON TABLE onceq.job_archive IS 'queues whose finished jobs are archived; read onceq.job_archives instead';
SELECT pg_catalog.pg_extension_config_dump('onceq.job_archive', '');

CREATE VIEW onceq.job_archives WITH (security_barrier = true) AS
SELECT q.name AS queue,
	q.archive_to,
	a.owner,
	a.last_run,
	a.last_jobs,
	a.total_jobs,
	a.next_run,
	a.failures,
	a.last_error
FROM onceq.job_archive a
JOIN onceq.queue q ON q.id = a.queue_id
JOIN pg_catalog.pg_class c ON c.relname = ('q' || q.id)::pg_catalog.name AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'onceq_data'
WHERE q.dropped_at IS NULL
AND (pg_catalog.has_table_privilege(c.oid, 'SELECT')
	OR pg_catalog.pg_has_role('onceq_operator', 'USAGE')
	OR pg_catalog.pg_has_role('onceq_monitor', 'USAGE'));
ALTER VIEW onceq.job_archives OWNER TO onceq_owner;
GRANT SELECT ON onceq.job_archives TO PUBLIC;
COMMENT ON VIEW onceq.job_archives IS 'queues whose finished jobs are copied to a table before they are dropped, of those the user may look at, and how that went';
COMMENT ON COLUMN onceq.job_archives.owner IS 'role that has set archive_to, and as which jobs are copied';
COMMENT ON COLUMN onceq.job_archives.last_error IS 'of the last run, null: it went well; until it does, no segment of the queue is dropped';
