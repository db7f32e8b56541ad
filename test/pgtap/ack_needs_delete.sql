-- Whoever may claim but not ack (UPDATE without DELETE) may let a job fail, but not end it, by none of the
-- functions that do.
SELECT plan(6);

CREATE ROLE claimer_without_delete;
SELECT onceq.create_queue('q');
SELECT format('GRANT SELECT, UPDATE ON %s TO claimer_without_delete', privileges) FROM onceq.queues WHERE queue = 'q' \gexec
SELECT onceq.enqueue('q', '{}');
SET ROLE claimer_without_delete;
SELECT id, token FROM onceq.claim('q', lease => '1 h') \gset
SELECT throws_ok(format('SELECT onceq.ack(%s)', :token), '42501');
SELECT throws_ok(format('SELECT onceq.ack(%s, %s)', :token, :id), '42501');
SELECT throws_ok(format('SELECT onceq.ack(%s, ARRAY[%s]::bigint[])', :token, :id), '42501');
SELECT throws_ok(format('SELECT onceq.reject(%s, %s)', :token, :id), '42501');
SELECT throws_ok(format('SELECT * FROM onceq.ack_and_claim(%s, ''q'')', :token), '42501');
SELECT lives_ok(format('SELECT onceq.nack(%s, %s)', :token, :id));
RESET ROLE;

SELECT * FROM finish();
