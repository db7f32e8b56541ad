-- The ledger: which events were already processed, by which consumer. Works without any queue.
-- Every function checks the caller's privileges on the consumer itself.

CREATE TABLE onceq.consumer (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text COLLATE "C" NOT NULL,
	retention interval NOT NULL,
	created_at timestamptz NOT NULL,
	dropped_at timestamptz
);
CREATE UNIQUE INDEX consumer_name ON onceq.consumer (name) WHERE dropped_at IS NULL;
ALTER TABLE onceq.consumer OWNER TO onceq_owner;
COMMENT ON TABLE onceq.consumer IS 'who keeps a ledger of processed events; read onceq.consumers instead';
SELECT pg_catalog.pg_extension_config_dump('onceq.consumer', '');
SELECT pg_catalog.pg_extension_config_dump('onceq.consumer_id_seq', '');

-- The primary key is the promise. Vacuumed in time, so that the space of what was forgotten is used again.
CREATE TABLE onceq.processed_event (
	processed_at timestamptz NOT NULL,
	consumer_id int NOT NULL,
	event_id text COLLATE "C" NOT NULL,
	topic text COLLATE "C",
	PRIMARY KEY (consumer_id, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX processed_event_age ON onceq.processed_event (consumer_id, processed_at);
ALTER TABLE onceq.processed_event OWNER TO onceq_owner;
COMMENT ON TABLE onceq.processed_event IS 'the ledger: one row per consumer and event; read onceq.processed_events instead';
SELECT pg_catalog.pg_extension_config_dump('onceq.processed_event', '');

CREATE FUNCTION onceq.create_consumer(consumer text, retention interval DEFAULT '30 days', if_not_exists bool DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_create_consumer';
COMMENT ON FUNCTION onceq.create_consumer(text, interval, bool) IS
'makes a consumer, who can then mark events as processed; for superusers and members of onceq_admin; retention: how long a processed event is remembered, 1 h to 100 years; errors: 22004, 22023, 42710 it exists, 42501, 0A000 in the script of an extension';

CREATE FUNCTION onceq.alter_consumer(consumer text, retention interval)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_alter_consumer';
COMMENT ON FUNCTION onceq.alter_consumer(text, interval) IS
'changes how long processed events are remembered, those there are included; errors: 22004, 22023, 42704 no such consumer, 42501';

CREATE FUNCTION onceq.drop_consumer(consumer text, if_exists bool DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_drop_consumer';
COMMENT ON FUNCTION onceq.drop_consumer(text, bool) IS
'drops a consumer with all it remembers; the worker removes the rows; errors: 22004, 42704, 42501';

CREATE FUNCTION onceq.grant_marker(consumer text, role name)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_grant_marker';
COMMENT ON FUNCTION onceq.grant_marker(text, name) IS
'lets a role mark events of a consumer and look at them: GRANT INSERT, SELECT on the table that carries the consumer''s privileges, as the current user; errors: 22004, 42704 no such consumer or role, 42501';

CREATE FUNCTION onceq.once(consumer text, event_id text, topic text DEFAULT NULL)
RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_once';
COMMENT ON FUNCTION onceq.once(text, text, text) IS
'marks an event as processed by a consumer when the transaction commits: true exactly once per consumer and event, false ever after; waits for a transaction that is marking the same event; event_id 1 to 512 bytes, topic 1 to 255, for people; errors: 22004, 22023, 42704 no such consumer, 42501, 40001 only under REPEATABLE READ and SERIALIZABLE';

CREATE FUNCTION onceq.once_many(consumer text, event_ids text[], topic text DEFAULT NULL)
RETURNS bool[] LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_once_many';
COMMENT ON FUNCTION onceq.once_many(text, text[], text) IS
'onceq.once() for up to 10,000 events, in the order of the array; of equal ones in it only the first can be true; two calls never deadlock with each other; errors as onceq.once(), 2202E, 54000 too many events';

-- Both are checked when the function is made: its body does not depend on any search_path.
CREATE FUNCTION onceq.ack_once(token bigint, id bigint, consumer text, event_id text, topic text DEFAULT NULL,
	result jsonb DEFAULT NULL)
RETURNS bool LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT onceq.ack(ack_once.token, ack_once.id, ack_once.result);
	SELECT onceq.once(ack_once.consumer, ack_once.event_id, ack_once.topic);
END;
COMMENT ON FUNCTION onceq.ack_once(bigint, bigint, text, text, text, jsonb) IS
'onceq.ack(token, id, result), then onceq.once(): ends a job and tells whether its event is new; if true, the effect follows in the same transaction; errors of both';

CREATE FUNCTION onceq.is_processed(consumer text, event_id text)
RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_is_processed';
COMMENT ON FUNCTION onceq.is_processed(text, text) IS
'whether the consumer has marked the event, as far as this transaction sees; to look at, not to decide by: that is onceq.once(); errors: 22004, 22023, 42704, 42501';

CREATE FUNCTION onceq.forget(consumer text, event_id text)
RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'onceq_forget';
COMMENT ON FUNCTION onceq.forget(text, text) IS
'lets an event be processed again, and tells whether it had been; errors: 22004, 22023, 42704, 42501, 40001 only under REPEATABLE READ and SERIALIZABLE';

-- Rows are read with the rights of the owner; which of them are shown depends on who asks.
CREATE VIEW onceq.consumers WITH (security_barrier = true) AS
SELECT s.name AS consumer, s.retention, s.created_at,
	(SELECT min(e.processed_at) FROM onceq.processed_event e WHERE e.consumer_id = s.id) AS oldest_event,
	c.oid::pg_catalog.regclass AS privileges
FROM onceq.consumer s
JOIN pg_catalog.pg_class c ON c.relname = ('c' || s.id)::pg_catalog.name AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'onceq_data'
WHERE s.dropped_at IS NULL
AND (pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, DELETE')
	OR pg_catalog.pg_has_role('onceq_operator', 'USAGE')
	OR pg_catalog.pg_has_role('onceq_monitor', 'USAGE'));
ALTER VIEW onceq.consumers OWNER TO onceq_owner;
GRANT SELECT ON onceq.consumers TO PUBLIC;
COMMENT ON VIEW onceq.consumers IS 'consumers the user has a privilege on';
COMMENT ON COLUMN onceq.consumers.oldest_event IS 'when the oldest event that is remembered was processed';
COMMENT ON COLUMN onceq.consumers.privileges IS 'empty table that carries the privileges of the consumer, for GRANT and REVOKE';

CREATE VIEW onceq.processed_events WITH (security_barrier = true) AS
SELECT s.name AS consumer, e.event_id, e.topic, e.processed_at
FROM onceq.processed_event e
JOIN onceq.consumer s ON s.id = e.consumer_id
JOIN pg_catalog.pg_class c ON c.relname = ('c' || s.id)::pg_catalog.name AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'onceq_data'
WHERE s.dropped_at IS NULL AND pg_catalog.has_table_privilege(c.oid, 'SELECT');
ALTER VIEW onceq.processed_events OWNER TO onceq_owner;
GRANT SELECT ON onceq.processed_events TO PUBLIC;
COMMENT ON VIEW onceq.processed_events IS 'the ledger: events that were processed, of consumers whose events the user may see';

CREATE VIEW onceq.processed_event_duplicates WITH (security_barrier = true) AS
SELECT e.consumer, e.event_id, pg_catalog.count(*) AS times,
	pg_catalog.min(e.processed_at) AS first_processed_at, pg_catalog.max(e.processed_at) AS last_processed_at
FROM onceq.processed_events e
GROUP BY e.consumer, e.event_id
HAVING pg_catalog.count(*) > 1;
ALTER VIEW onceq.processed_event_duplicates OWNER TO onceq_owner;
GRANT SELECT ON onceq.processed_event_duplicates TO PUBLIC;
COMMENT ON VIEW onceq.processed_event_duplicates IS
'events that a consumer has processed more than once: no rows, ever, as a unique constraint forbids it; reads all events the user may see';
