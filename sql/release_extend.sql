-- release gives jobs back at once, uncounted and whatever becomes of the transaction; extend moves the
-- deadline likewise. Both need a lease that is held.
SELECT onceq.create_queue('release', lease => '1 min');
-- Whether a time is this far away.
CREATE FUNCTION release_in(until timestamptz, span interval) RETURNS bool LANGUAGE sql AS $$
	SELECT until - clock_timestamp() BETWEEN span - interval '1 min' AND span $$;
CREATE VIEW release_states AS SELECT payload, state, attempt FROM onceq.jobs('release');
SELECT count(*) FROM onceq.enqueue_many('release', ARRAY['1', '2', '3', '4']::jsonb[]);

-- ---- release

SELECT min(token) AS token, min(id) AS id FROM onceq.claim('release', 4) \gset
SELECT onceq.release(:token, :id + 1);
SELECT * FROM release_states;
SELECT onceq.release(token => :token);
SELECT * FROM release_states;
\set VERBOSITY sqlstate
SELECT onceq.release(:token);
SELECT onceq.release(:token, :id);
SELECT onceq.ack(:token);
\set VERBOSITY default

-- given back, they come again in their order, as the attempt they were
SELECT payload, attempt FROM onceq.claim('release', 4);
SELECT sum(released) FROM onceq.queue_stats WHERE queue = 'release';
SELECT onceq.drop_queue('release'), onceq.create_queue('release', lease => '1 min');

-- with its priority, and with the attempts it has behind it
SELECT onceq.enqueue('release', '"urgent"', priority => 9) > 0, onceq.enqueue('release', '"plain"') > 0;
SELECT onceq.nack(token, id, 'no', '0') IS NULL AS dead FROM onceq.claim('release');
SELECT token, attempt FROM onceq.claim('release') \gset
SELECT :attempt AS attempt;
SELECT onceq.release(:token);
SELECT payload, attempt, priority FROM onceq.claim('release', 2);

-- a transaction that rolls back does not take a release back
SELECT onceq.drop_queue('release'), onceq.create_queue('release', lease => '1 min');
SELECT onceq.enqueue('release', '1') > 0;
SELECT token FROM onceq.claim('release') \gset
BEGIN;
SELECT onceq.release(:token);
ROLLBACK;
SELECT payload, attempt FROM onceq.claim('release');

-- what this transaction has asked to end is not released with the rest
SELECT count(*) FROM onceq.enqueue_many('release', ARRAY['2', '3']::jsonb[]);
SELECT min(token) AS token, min(id) AS id FROM onceq.claim('release', 2) \gset
BEGIN;
SELECT onceq.ack(:token, :id);
SELECT onceq.release(:token);
COMMIT;
SELECT payload, state FROM onceq.jobs('release', after_id => :id - 1);
\set VERBOSITY sqlstate
BEGIN;
SELECT token FROM onceq.claim('release') \gset
SELECT onceq.ack(:token);
SELECT onceq.release(:token, :id + 1);
ROLLBACK;
\set VERBOSITY default

-- ---- extend

SELECT onceq.enqueue('release', '4') > 0;
SELECT token, id FROM onceq.claim('release', lease => '2 min') \gset
SELECT release_in(onceq.extend(:token), '2 min') AS as_granted;
SELECT release_in(onceq.extend(token => :token, lease => '12 h'), '12 h') AS longer;
SELECT release_in(lease_until, '12 h') AS seen FROM onceq.job('release', :id);
SELECT expires_in BETWEEN '11 h 59 min' AND '12 h' AS seen FROM onceq.leases WHERE queue = 'release' AND expires_in > '1 h';
SELECT release_in(onceq.extend(:token, '30 s'), '30 s') AS shorter;
BEGIN;
SELECT release_in(onceq.extend(:token, '1 h'), '1 h') AS longer;
ROLLBACK;
SELECT release_in(lease_until, '1 h') AS still_longer FROM onceq.job('release', :id);
BEGIN READ ONLY;
SELECT onceq.extend(:token) IS NOT NULL AS extended;
COMMIT;
SELECT onceq.ack(:token);
\set VERBOSITY sqlstate
SELECT onceq.extend(:token);
\set VERBOSITY default

-- ---- a lease that was given back is lost, although the journal has not heard of it: it cannot be changed meanwhile

SELECT onceq.alter_queue('release', durable_leases => true);
SELECT onceq.enqueue('release', '5') > 0;
SELECT token FROM onceq.claim('release', wait => '20 s') \gset
BEGIN;
LOCK TABLE onceq.lease_journal IN SHARE MODE;
SELECT onceq.release(:token);
\set VERBOSITY sqlstate
SAVEPOINT held;
SELECT onceq.ack(:token);
ROLLBACK TO held;
SELECT onceq.release(:token);
ROLLBACK TO held;
SELECT onceq.extend(:token);
\set VERBOSITY default
ROLLBACK;
SELECT payload, attempt, onceq.ack(token) FROM onceq.claim('release', wait => '20 s');
SELECT * FROM onceq.audit('release');
SELECT onceq.drop_queue('release');
DROP VIEW release_states;
DROP FUNCTION release_in;
