-- cancel ends a job that is scheduled, ready or running, when the transaction commits. What was cancelled is
-- never delivered, and its holder can neither end it nor say that all of its lease is done.
SELECT onceq.create_queue('cancel', max_attempts => 3);
CREATE TABLE cancel_held (token bigint, id bigint, n int);
CREATE FUNCTION cancel_claim(count int) RETURNS bigint LANGUAGE sql AS $$
	DELETE FROM cancel_held;
	WITH claimed AS (INSERT INTO cancel_held SELECT token, id, row_number() OVER () FROM onceq.claim('cancel', count, worker => 'w') RETURNING id)
	SELECT count(*) FROM claimed $$;
CREATE FUNCTION cancel_token() RETURNS bigint LANGUAGE sql AS 'SELECT max(token) FROM cancel_held';
CREATE FUNCTION cancel_id(int) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM cancel_held WHERE n = $1';
CREATE FUNCTION cancel_states() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(payload::text || ' ' || state, ', ' ORDER BY id) FROM onceq.jobs('cancel') $$;

-- ---- scheduled and ready

SELECT onceq.enqueue('cancel', '1') AS ready, onceq.enqueue('cancel', '2', delay => '1 h') AS scheduled, onceq.enqueue('cancel', '3', priority => 9) AS urgent \gset
SELECT onceq.cancel('cancel', :ready), onceq.cancel('cancel', :scheduled), onceq.cancel('cancel', id => :urgent);
SELECT onceq.cancel('cancel', :ready), onceq.cancel('cancel', :scheduled) AS once_is_enough;
SELECT count(*) FROM onceq.claim('cancel', 10);
SELECT payload, state, attempt, due_at, worker, error, finished_at IS NOT NULL AS finished FROM onceq.jobs('cancel', 'cancelled');
SELECT ready, scheduled, running, cancelled FROM onceq.queue_stats WHERE queue = 'cancel';

-- ---- nothing to cancel

SELECT onceq.enqueue('cancel', '4') AS done \gset
SELECT onceq.ack(token) FROM onceq.claim('cancel');
SELECT onceq.cancel('cancel', :done), onceq.cancel('cancel', 1000000), onceq.cancel('cancel', 0), onceq.cancel('cancel', -9223372036854775808), onceq.cancel('cancel', 9223372036854775807);
SELECT state FROM onceq.job('cancel', :done);
SELECT onceq.enqueue('cancel', '5') AS dead \gset
SELECT onceq.reject(token, id, 'no good') FROM onceq.claim('cancel', worker => 'rejecter');
SELECT onceq.cancel('cancel', :dead);
SELECT state, worker, error FROM onceq.job('cancel', :dead);

-- ---- rolled back: where it was

SELECT onceq.enqueue('cancel', '6') AS ready, onceq.enqueue('cancel', '7', delay => '1 h') AS scheduled, onceq.enqueue('cancel', '8') AS running \gset
SELECT cancel_claim(1);
BEGIN;
SELECT onceq.cancel('cancel', cancel_id(1)), onceq.cancel('cancel', :running), onceq.cancel('cancel', :scheduled);
SELECT onceq.cancel('cancel', cancel_id(1)), onceq.cancel('cancel', :running) AS by_this_transaction;
ROLLBACK;
SELECT cancel_states();
BEGIN;
SAVEPOINT s;
SELECT onceq.cancel('cancel', cancel_id(1)), onceq.cancel('cancel', :running);
ROLLBACK TO s;
SELECT onceq.cancel('cancel', :scheduled);
COMMIT;
SELECT cancel_states();
SELECT onceq.ack(cancel_token());
SELECT onceq.ack(token) FROM onceq.claim('cancel', 10);

-- ---- running, alone in its lease

SELECT onceq.enqueue('cancel', '9') > 0;
SELECT cancel_claim(1);
SELECT onceq.cancel('cancel', cancel_id(1));
\set VERBOSITY sqlstate
SELECT onceq.ack(cancel_token());
SELECT onceq.nack(cancel_token(), cancel_id(1));
SELECT onceq.extend(cancel_token());
SELECT onceq.cancelled(cancel_token());
\set VERBOSITY default
SELECT state, attempt, worker FROM onceq.job('cancel', cancel_id(1));
SELECT count(*) FROM onceq.leases WHERE queue = 'cancel';

-- ---- running, with others in the lease: these alone can be ended, by their ids

SELECT count(*) FROM onceq.enqueue_many('cancel', ARRAY['10', '11', '12', '13']::jsonb[]);
SELECT cancel_claim(4);
SELECT count(*) FROM onceq.cancelled(cancel_token());
SELECT onceq.cancel('cancel', cancel_id(2));
SELECT onceq.extend(cancel_token()) > now() AS still_held;
SELECT onceq.cancelled(cancel_token()) = cancel_id(2) AS is_told;
\set VERBOSITY sqlstate
SELECT onceq.ack(cancel_token());
SELECT count(*) FROM onceq.ack_and_claim(cancel_token(), 'cancel');
SELECT onceq.ack(cancel_token(), cancel_id(2));
SELECT onceq.ack(cancel_token(), ARRAY[cancel_id(1), cancel_id(2)]);
SELECT onceq.nack(cancel_token(), cancel_id(2));
SELECT onceq.reject(cancel_token(), cancel_id(2));
SELECT onceq.release(cancel_token(), cancel_id(2));
\set VERBOSITY default
SELECT onceq.ack(cancel_token(), ARRAY[cancel_id(1), cancel_id(3)]);
SELECT onceq.release(cancel_token());
SELECT cancel_states() LIKE '%10 succeeded, 11 cancelled, 12 succeeded, 13 ready' AS states;
SELECT onceq.ack(token) FROM onceq.claim('cancel', 10);

-- ---- in the transaction of its holder, who then ends the rest of the lease

SELECT count(*) FROM onceq.enqueue_many('cancel', ARRAY['14', '15']::jsonb[]);
SELECT cancel_claim(2);
BEGIN;
SELECT onceq.cancel('cancel', cancel_id(1));
SELECT onceq.ack(cancel_token());
SELECT onceq.cancel('cancel', cancel_id(2)) AS has_ended;
COMMIT;
SELECT cancel_states() LIKE '%14 cancelled, 15 succeeded' AS states;
BEGIN;
SELECT onceq.enqueue('cancel', '16') > 0;
SELECT cancel_claim(1);
SELECT onceq.enqueue('cancel', '17') AS uncommitted \gset
\set VERBOSITY sqlstate
SELECT onceq.cancel('cancel', :uncommitted);
\set VERBOSITY default
ROLLBACK;

-- ---- what is known of a job that failed before

SELECT onceq.enqueue('cancel', '18') AS failed \gset
SELECT onceq.nack(token, id, 'not today', '1 h') IS NULL AS dead FROM onceq.claim('cancel', worker => 'unlucky');
SELECT onceq.cancel('cancel', :failed);
SELECT state, attempt, error FROM onceq.job('cancel', :failed);
SELECT onceq.enqueue('cancel', '19') AS failed \gset
SELECT onceq.nack(token, id, 'try again', '0') IS NULL AS dead FROM onceq.claim('cancel', worker => 'unlucky');
SELECT state, attempt, worker, error FROM onceq.job('cancel', :failed);
SELECT cancel_claim(1);
SELECT onceq.cancel('cancel', :failed);
SELECT state, attempt, worker, error FROM onceq.job('cancel', :failed);
SELECT onceq.enqueue('cancel', '20') AS purged \gset
SELECT onceq.nack(token, id, 'never', '0') IS NULL AS dead FROM onceq.claim('cancel');
SELECT onceq.purge_queue('cancel');
SELECT state, attempt, error FROM onceq.job('cancel', :purged);

-- ---- who may

CREATE ROLE cancel_nobody;
CREATE ROLE cancel_user;
SELECT onceq.enqueue('cancel', '21') AS job \gset
SELECT privileges FROM onceq.queues WHERE queue = 'cancel' \gset
GRANT TRUNCATE ON :privileges TO cancel_user;
SELECT onceq.grant_consumer('cancel', 'cancel_nobody');
\set VERBOSITY sqlstate
SET ROLE cancel_nobody;
SELECT onceq.cancel('cancel', :job);
SET ROLE cancel_user;
SELECT onceq.cancel('cancel', :job);
RESET ROLE;
SELECT onceq.cancel(NULL, 1);
SELECT onceq.cancel('cancel', NULL);
SELECT onceq.cancel('no_such', 1);
SELECT onceq.cancelled(NULL);
SELECT onceq.cancelled(1);
BEGIN READ ONLY;
SELECT onceq.cancel('cancel', :job);
ROLLBACK;
\set VERBOSITY default
SELECT count(*) FROM onceq.audit('cancel');
DROP OWNED BY cancel_nobody, cancel_user;
DROP ROLE cancel_nobody, cancel_user;
SELECT onceq.drop_queue('cancel');
DROP FUNCTION cancel_claim, cancel_token, cancel_id, cancel_states;
DROP TABLE cancel_held;
