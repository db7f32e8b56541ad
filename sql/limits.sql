-- Limits of a queue: how many of its jobs run at once, and how many are delivered in a time. What may not start
-- stays ready, a claim returns the others, and next_claim_at() says when it is worth to come back.
SELECT onceq.create_queue('limits', max_running => 3, lease => '10 min', backoff_base => '1 h');
SELECT count(*) FROM onceq.enqueue_many('limits', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 20) i));
CREATE FUNCTION running() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT running FROM onceq.queue_stats WHERE queue = 'limits'; END;

-- ---- jobs that run at once

SELECT onceq.next_claim_at('limits') BETWEEN now() AND clock_timestamp() AS at_once;
CREATE TABLE held AS SELECT * FROM onceq.claim('limits', 5);
SELECT count(*), running() FROM held;
SELECT count(*) FROM onceq.claim('limits');
SELECT onceq.next_claim_at('limits') IS NULL AS when_one_has_ended;

-- an end of whatever kind makes room for one, when it is committed
BEGIN;
SELECT onceq.ack(token, id) FROM held WHERE payload = '1';
SELECT count(*) FROM onceq.claim('limits');
COMMIT;
SELECT onceq.next_claim_at('limits') <= clock_timestamp() AS at_once;
INSERT INTO held SELECT * FROM onceq.claim('limits', 5) RETURNING payload;
SELECT onceq.nack(token, id) > now() AS later FROM held WHERE payload = '2';
INSERT INTO held SELECT * FROM onceq.claim('limits', 5) RETURNING payload;
SELECT onceq.reject(token, id) FROM held WHERE payload = '3';
INSERT INTO held SELECT * FROM onceq.claim('limits', 5) RETURNING payload;
SELECT onceq.release(token, id) FROM held WHERE payload = '4';
INSERT INTO held SELECT * FROM onceq.claim('limits', 5) RETURNING payload;
SELECT running();

-- a claim that rolls back after its rows were returned frees them when the attempt is counted
SELECT onceq.alter_queue('limits', max_running => 4);
BEGIN;
SELECT payload FROM onceq.claim('limits', 5);
ROLLBACK;
SELECT payload FROM onceq.claim('limits', 5, wait => '30 s');

-- lowered below what runs: nothing starts; raised, or taken away
SELECT onceq.alter_queue('limits', max_running => 1);
SELECT count(*), running() FROM onceq.claim('limits', 5);
SELECT onceq.alter_queue('limits', max_running => 6);
SELECT count(*), running() FROM onceq.claim('limits', 5);
SELECT onceq.alter_queue('limits', max_running => 0);
SELECT count(*), running() FROM onceq.claim('limits', 5);

-- ---- jobs in a time

SELECT onceq.create_queue('rate', rate_limit => 2, rate_period => '1 h', rate_burst => 5);
SELECT count(*) FROM onceq.enqueue_many('rate', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 50) i));
SELECT count(*) FROM onceq.claim('rate', 3);
SELECT onceq.next_claim_at('rate') <= clock_timestamp() AS at_once;
SELECT min(token) AS token, count(*) FROM onceq.claim('rate', 3) \gset
SELECT :count AS of_three;
SELECT count(*) FROM onceq.claim('rate', 3, wait => '10 ms');
SELECT onceq.next_claim_at('rate') - now() BETWEEN '29 min' AND '30 min' AS in_half_an_hour;

-- what was delivered counts, whatever becomes of it
SELECT onceq.release(:token);
SELECT count(*) FROM onceq.claim('rate');

-- also if the transaction of the claim fails
SELECT onceq.create_queue('rate.failed', rate_limit => 1, rate_period => '1 h', rate_burst => 3);
SELECT count(*) FROM onceq.enqueue_many('rate.failed', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 5) i));
SELECT count(*) FROM onceq.claim('rate.failed', 9) WHERE 1 / (id - id) = 1;
SELECT onceq.next_claim_at('rate.failed') - now() BETWEEN '59 min' AND '60 min' AS in_an_hour;

-- a faster rate, and a claim that waits for its turn
SELECT onceq.alter_queue('rate', rate_limit => 1, rate_period => '100 ms', rate_burst => 1);
SELECT count(*) FROM onceq.claim('rate', 9, wait => '50 s');
SELECT count(*) FROM onceq.claim('rate', 9, wait => '50 s');
SELECT onceq.alter_queue('rate', rate_limit => 0);
SELECT count(*) FROM onceq.claim('rate', 9);

-- ---- next_claim_at: nothing is ready, or the queue is paused

SELECT onceq.create_queue('later');
SELECT onceq.next_claim_at('later') IS NULL AS "null";
SELECT onceq.enqueue('later', '1', delay => '2 h') > 0 AS "on";
SELECT onceq.next_claim_at('later') - now() BETWEEN '119 min' AND '121 min' AS in_two_hours;
SELECT onceq.enqueue('later', '2') > 0 AS "on";
SELECT onceq.next_claim_at('later') <= clock_timestamp() AS at_once;
SELECT onceq.pause_queue('later');
SELECT onceq.next_claim_at('later') IS NULL AS "null";
