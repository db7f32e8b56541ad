-- Of the jobs of a unique key at most one is unfinished: an enqueue under a key that is taken adds nothing, or takes
-- the place of the job that has it. The key is free again when the job is finished, whatever way it ended.
SELECT onceq.create_queue('unique', max_attempts => 1), onceq.create_queue('unique.other');
CREATE FUNCTION enqueue(key text, payload text DEFAULT 'x', mode text DEFAULT 'skip', span interval DEFAULT NULL, delay interval DEFAULT NULL)
RETURNS bigint LANGUAGE sql AS $$ SELECT onceq.enqueue('unique', to_jsonb(payload), unique_key => key, unique_mode => mode, unique_for => span, delay => delay) $$;
-- Ends all jobs that are ready.
CREATE FUNCTION work() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT payload #>> '{}' FROM (SELECT payload, id, onceq.ack(token, id) FROM onceq.claim('unique', 100) OFFSET 0) c ORDER BY id $$;

-- ---- skip: one at a time, until it is finished

SELECT enqueue('a', '1') IS NOT NULL AS added, enqueue('a', '2') IS NULL AS skipped, enqueue('b', '3') IS NOT NULL AS other_key;
SELECT enqueue('a', '4') IS NULL AS skipped, onceq.enqueue('unique.other', '1', unique_key => 'a') IS NOT NULL AS other_queue;
SELECT onceq.find_unique('unique', 'a') = min(id) AS found, onceq.find_unique('unique', 'no such') AS none FROM onceq.jobs('unique');
SELECT token, id FROM onceq.claim('unique') \gset
SELECT enqueue('a', '5') IS NULL AS skipped_while_running;
SELECT onceq.ack(:token, :id);
SELECT onceq.find_unique('unique', 'a') IS NULL AS free;
SELECT enqueue('a', '6') IS NOT NULL AS added_again;
SELECT work();

-- no key, no uniqueness: mode and time are not looked at
SELECT count(onceq.enqueue('unique', '0', unique_mode => 'none', unique_for => '-1 s')) FROM generate_series(1, 3);
SELECT onceq.purge_queue('unique');

-- ---- each way to end frees the key

SELECT enqueue('a', 'nacked') IS NOT NULL AS added;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT onceq.nack(:token, :id) IS NULL AS dead;
SELECT enqueue('a', 'rejected') IS NOT NULL AS free;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT onceq.reject(:token, :id);
SELECT enqueue('a', 'purged') IS NOT NULL AS free;
SELECT onceq.purge_queue('unique');
SELECT enqueue('a', 'acked') IS NOT NULL AS free;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT onceq.ack(:token);
SELECT onceq.find_unique('unique', 'a') IS NULL AS free;

-- what does not end a job does not
SELECT onceq.enqueue('unique', '"long"', unique_key => 'a', max_attempts => 5) IS NOT NULL AS added;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT onceq.release(:token);
SELECT enqueue('a') IS NULL AS taken;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT onceq.nack(:token, :id, retry_in => '1 h') IS NOT NULL AS comes_again;
SELECT enqueue('a') IS NULL AS taken;
SELECT onceq.purge_queue('unique');

-- ---- in one transaction

-- a job may make room for its successor
SELECT enqueue('a', 'first') IS NOT NULL AS added;
BEGIN;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT enqueue('a') IS NULL AS taken_while_running;
SELECT onceq.ack(:token, :id);
SELECT enqueue('a', 'second') IS NOT NULL AS added, onceq.find_unique('unique', 'a') > :id AS found;
SELECT enqueue('a') IS NULL AS taken;
COMMIT;
SELECT work();

-- and takes it back with its ack
SELECT enqueue('a', 'stays') IS NOT NULL AS added;
BEGIN;
SELECT token, id FROM onceq.claim('unique') \gset
SAVEPOINT s;
SELECT onceq.ack(:token, :id);
SELECT enqueue('a') IS NOT NULL AS added;
ROLLBACK TO s;
SELECT enqueue('a') IS NULL AS taken, onceq.find_unique('unique', 'a') = :id AS found;
SELECT onceq.release(:token);
COMMIT;
SELECT work();

-- a purge of the same transaction makes room, too
SELECT enqueue('a', 'purged') IS NOT NULL AS added;
BEGIN;
SELECT onceq.purge_queue('unique');
SELECT enqueue('a', 'after the purge') IS NOT NULL AS added;
ROLLBACK;
SELECT enqueue('a') IS NULL AS taken;
SELECT work();

-- an enqueue that is undone leaves the key free
BEGIN;
SELECT enqueue('a') IS NOT NULL AS added;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT enqueue('a') IS NOT NULL AS added;
ROLLBACK TO s;
SELECT onceq.find_unique('unique', 'a') IS NULL AS free, enqueue('a', 'only') IS NOT NULL AS added;
COMMIT;
SELECT work();

-- ---- replace: another payload, the same due time; debounce: another due time, too

SELECT enqueue('a', 'old', 'replace') IS NOT NULL AS added;
SELECT enqueue('a', 'new', 'replace') AS id \gset
SELECT state, payload, error = 'replaced by job ' || :id AS says_by_what FROM onceq.jobs('unique') WHERE state = 'ready' OR error LIKE 'replaced%';
SELECT onceq.find_unique('unique', 'a') = :id AS found;
SELECT work();

SELECT enqueue('a', 'old', delay => '1 day') IS NOT NULL AS added;
SELECT onceq.enqueue('unique', '"new"', '{"h": 1}', priority => 3, delay => '1 h', unique_key => 'a', unique_mode => 'replace') AS id \gset
SELECT state, payload, headers, priority, due_at - clock_timestamp() > '23 h' AS as_before FROM onceq.job('unique', :id);
SELECT enqueue('a', 'newer', 'debounce', delay => '1 h') AS id \gset
SELECT state, payload, due_at - clock_timestamp() BETWEEN '59 min' AND '1 h' AS as_asked FROM onceq.job('unique', :id);
SELECT enqueue('a', 'now', 'debounce') IS NOT NULL AS added;
SELECT enqueue('a', 'ready', 'replace', delay => '1 h') IS NOT NULL AS added;
SELECT work();

-- a job that is running is not replaced
SELECT enqueue('a', 'runs') IS NOT NULL AS added;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT enqueue('a', 'late', 'replace') IS NULL AS suppressed, enqueue('a', 'late', 'debounce') IS NULL AS suppressed;
SELECT onceq.ack(:token);

-- a job that failed is, and waits as long as it would have waited
SELECT onceq.enqueue('unique', '"old"', unique_key => 'a', max_attempts => 5) IS NOT NULL AS added;
SELECT token, id FROM onceq.claim('unique') \gset
SELECT onceq.nack(:token, :id, retry_in => '1 h') IS NOT NULL AS comes_again;
SELECT enqueue('a', 'new', 'replace') AS new_id \gset
SELECT state, attempt, due_at - clock_timestamp() > '50 min' AS later FROM onceq.job('unique', :new_id);
SELECT state, attempt FROM onceq.job('unique', :id);
SELECT onceq.purge_queue('unique');

-- one that the same transaction enqueued is replaced as if it had never been; undone with its savepoint
BEGIN;
SELECT enqueue('a', 'one') IS NOT NULL AS added, enqueue('a', 'two', 'replace') IS NOT NULL AS replaced;
SAVEPOINT s;
SELECT enqueue('a', 'three', 'debounce') IS NOT NULL AS replaced;
ROLLBACK TO s;
SELECT enqueue('b', 'alone') IS NOT NULL AS added;
COMMIT;
SELECT work();
BEGIN;
SELECT enqueue('a', 'one') IS NOT NULL AS added;
SELECT enqueue('a', 'two', 'replace') IS NOT NULL AS replaced;
ROLLBACK;
SELECT work();
SELECT enqueue('a', 'zero', 'replace', delay => '1 h') IS NOT NULL AS added;
BEGIN;
SELECT count(DISTINCT enqueue('a', i::text, 'debounce')) AS replaced FROM generate_series(1, 100) i;
COMMIT;
SELECT work();
SELECT cancelled > 100 AS counted FROM onceq.queue_stats WHERE queue = 'unique';
BEGIN;
SELECT enqueue('a', 'old') IS NOT NULL AS added;
COMMIT;
BEGIN;
SELECT enqueue('a', 'new', 'replace') IS NOT NULL AS replaced;
ROLLBACK;
SELECT work();

-- ---- unique_for: at least so long, and in any case until the job is finished

SELECT enqueue('a', 'window', span => '1 day') AS id \gset
SELECT work();
SELECT enqueue('a') IS NULL AS skipped, enqueue('a', mode => 'replace') IS NULL AS skipped, enqueue('a', mode => 'debounce') IS NULL AS skipped,
	onceq.find_unique('unique', 'a') = :id AS found;
SELECT enqueue('b', 'short', span => '1 us') IS NOT NULL AS added;
SELECT enqueue('b', 'short') IS NULL AS unfinished;
SELECT work();
SELECT enqueue('b', 'again') IS NOT NULL AS added;
SELECT work();

-- ---- keys: 1 to 512 bytes, compared as bytes

SELECT count(onceq.enqueue('unique', '1', unique_key => k)) FROM unnest(ARRAY[' ', 'A', 'a ', 'é', U&'e\0301', repeat('x', 512), repeat('x', 511)]) k;
SELECT onceq.enqueue('unique', '1', unique_key => '');
SELECT onceq.enqueue('unique', '1', unique_key => repeat('x', 513));
SELECT onceq.enqueue('unique', '1', unique_key => repeat('é', 257));
SELECT onceq.enqueue('unique', '1', unique_key => 'k', unique_mode => NULL);
SELECT onceq.enqueue('unique', '1', unique_key => 'k', unique_mode => 'Skip');
SELECT onceq.enqueue('unique', '1', unique_key => 'k', unique_for => '-1 s');
SELECT onceq.enqueue('unique', '1', unique_key => 'k', unique_for => '367 days');
SELECT onceq.find_unique('unique', NULL);
SELECT onceq.find_unique(NULL, 'k');
SELECT onceq.find_unique('none', 'k');
SELECT onceq.find_unique('unique', '');
SELECT onceq.purge_queue('unique');

-- ---- many keys in one transaction

SELECT count(enqueue('many' || i % 1000)) FROM generate_series(1, 3000) i;
SELECT count(enqueue('many' || i)) FROM generate_series(0, 1999) i;
SELECT onceq.purge_queue('unique');

-- ---- who may

CREATE ROLE unique_producer;
CREATE ROLE unique_consumer;
CREATE ROLE unique_nobody;
SELECT onceq.grant_producer('unique', 'unique_producer'), onceq.grant_consumer('unique', 'unique_consumer');
SET ROLE unique_producer;
SELECT onceq.enqueue('unique', '1', unique_key => 'mine') IS NOT NULL AS added, onceq.find_unique('unique', 'mine') IS NOT NULL AS found;
\set VERBOSITY terse
SELECT onceq.find_unique('unique.other', 'a');
SELECT * FROM onceq.unique_key;
SET ROLE unique_consumer;
SELECT onceq.find_unique('unique', 'mine') IS NOT NULL AS found;
SELECT onceq.enqueue('unique', '1', unique_key => 'mine');
SET ROLE unique_nobody;
SELECT onceq.find_unique('unique', 'mine');
RESET ROLE;
\set VERBOSITY default
BEGIN READ ONLY;
SELECT onceq.find_unique('unique', 'mine') IS NOT NULL AS found;
SELECT onceq.enqueue('unique', '1', unique_key => 'mine');
ROLLBACK;
DROP OWNED BY unique_producer, unique_consumer, unique_nobody;
DROP ROLE unique_producer, unique_consumer, unique_nobody;

-- ---- replaced in the transaction that enqueued them, beside jobs with an ordering key, which are published in their order

SELECT onceq.create_queue('unique.keys');
BEGIN;
SELECT count(onceq.enqueue('unique.keys', to_jsonb(n), unique_key => 'k', unique_mode => 'replace', ordering_key => 'o' || n)) FROM generate_series(1, 3) n;
COMMIT;
SELECT payload, onceq.ack(token, id) FROM onceq.claim('unique.keys', 10);
SELECT payload, state FROM onceq.jobs('unique.keys');
SELECT count(*) FROM onceq.audit('unique.keys');
SELECT onceq.drop_queue('unique.keys');

-- ---- keys whose time is over are forgotten; with a dropped queue go all of its keys

SELECT enqueue('dead') IS NOT NULL AS added;
SELECT onceq.reject(token, id) FROM onceq.claim('unique', 100) WHERE payload = '"x"';
SELECT enqueue('live', delay => '1 h') IS NOT NULL AS added;
CREATE PROCEDURE maintain_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	done bool;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		CALL onceq.maintain();
		COMMIT;
		EXECUTE 'SELECT ' || condition INTO done;
		IF done THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'never: %', condition;
END $$;
CALL maintain_until($$ NOT EXISTS (SELECT FROM onceq.unique_key k JOIN onceq.queue q ON q.id = k.queue_id WHERE q.name = 'unique' AND k.key NOT IN ('a', 'dead', 'live', 'mine')) $$);
SELECT key FROM onceq.unique_key k JOIN onceq.queue q ON q.id = k.queue_id WHERE q.name = 'unique' ORDER BY key;
SELECT onceq.drop_queue('unique'), onceq.drop_queue('unique.other');
CALL maintain_until($$ NOT EXISTS (SELECT FROM onceq.queue WHERE dropped_at IS NOT NULL) $$);
SELECT count(*) FROM onceq.unique_key;
DROP PROCEDURE maintain_until;
DROP FUNCTION enqueue, work;
