-- ack_and_claim: the next batch in the statement and the commit that end the one before, for the same worker;
-- to the end of the queue without losing or doubling a job.
SELECT onceq.create_queue('again'), onceq.create_queue('again.2');
SELECT count(*) FROM onceq.enqueue_many('again', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 10) i));

-- the first call has no token yet
SELECT payload, attempt FROM onceq.ack_and_claim(NULL, 'again', 2);
SELECT onceq.drop_queue('again'), onceq.create_queue('again');
SELECT count(*) FROM onceq.enqueue_many('again', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 10) i));

SELECT min(token) AS token FROM onceq.claim('again', 3, worker => 'w', lease => '1 h') \gset
SELECT count(*), min(token) <> :token AS new_token, bool_and(lease_until > clock_timestamp()) AS leased
FROM onceq.ack_and_claim(token => :token, queue => 'again', count => 3, lease => '2 h');
SELECT worker, jobs, expires_in > '1 h' AS expires_in FROM onceq.leases WHERE queue = 'again';
SELECT state, count(*) FROM onceq.jobs('again') GROUP BY state ORDER BY state;

-- lost: neither
\set VERBOSITY sqlstate
SELECT payload FROM onceq.ack_and_claim(:token, 'again', 3);
\set VERBOSITY default
SELECT state, count(*) FROM onceq.jobs('again') GROUP BY state ORDER BY state;

-- nothing left to claim: the ack counts all the same
SELECT onceq.drop_queue('again'), onceq.create_queue('again');
SELECT onceq.enqueue('again', '1') > 0;
SELECT token FROM onceq.claim('again') \gset
SELECT count(*) FROM onceq.ack_and_claim(:token, 'again');
SELECT state FROM onceq.jobs('again');

-- the rest of a lease of which some jobs have ended; from one queue to another
SELECT count(*) FROM onceq.enqueue_many('again', ARRAY['1', '2', '3']::jsonb[]);
SELECT onceq.enqueue('again.2', '"2"') > 0;
SELECT min(token) AS token, min(id) AS id FROM onceq.claim('again', 3, worker => 'walker') \gset
SELECT onceq.ack(:token, :id + 1);
SELECT payload FROM onceq.ack_and_claim(:token, 'again.2', 5);
SELECT state, count(*) FROM onceq.jobs('again') GROUP BY state;
SELECT queue, worker, jobs FROM onceq.leases WHERE queue LIKE 'again%';

-- rolled back: the old lease is held as before; the new one is lost, because its rows were handed out
SELECT onceq.drop_queue('again'), onceq.create_queue('again');
SELECT count(*) FROM onceq.enqueue_many('again', ARRAY['1', '2']::jsonb[]);
SELECT token FROM onceq.claim('again') \gset
BEGIN;
SELECT payload FROM onceq.ack_and_claim(:token, 'again');
ROLLBACK;
SELECT onceq.ack(:token);

-- a whole queue in batches
SELECT onceq.drop_queue('again'), onceq.create_queue('again');
CREATE TABLE again_done (n int);
SELECT count(*) FROM onceq.enqueue_many('again', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 1000) i));
DO $$
DECLARE
	lease bigint;
BEGIN
	LOOP
		WITH c AS (SELECT * FROM onceq.ack_and_claim(lease, 'again', 64)),
			done AS (INSERT INTO again_done SELECT (payload #>> '{}')::int FROM c)
		SELECT max(token) INTO lease FROM c;
		COMMIT;
		EXIT WHEN lease IS NULL;
	END LOOP;
END $$;
SELECT count(*), count(DISTINCT n), min(n), max(n) FROM again_done;
SELECT ready, running, enqueued - succeeded AS missing FROM onceq.queue_stats WHERE queue = 'again';
SELECT onceq.drop_queue('again'), onceq.drop_queue('again.2');
DROP TABLE again_done;
