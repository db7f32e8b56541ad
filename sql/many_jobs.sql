-- cancel_jobs, reject_jobs, reschedule_jobs and redrive_jobs change the jobs that meet every condition given, at most count of them,
-- and nothing else.
SELECT onceq.create_queue('many', max_attempts => 2, backoff_base => '1 h');
CREATE FUNCTION many_jobs(state text) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(payload ->> 'n', ' ' ORDER BY id) FROM onceq.jobs('many', state) $$;
CREATE FUNCTION many_states() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(s || ': ' || many_jobs(s), ', ') FROM unnest(ARRAY['scheduled', 'ready', 'running', 'dead', 'cancelled']) s $$;
CREATE FUNCTION many_id(n int) RETURNS bigint LANGUAGE sql AS $$ SELECT id FROM onceq.jobs('many') WHERE payload ->> 'n' = n::text $$;

SELECT count(*) FROM onceq.enqueue_many('many', (SELECT array_agg(jsonb_build_object('n', n, 'odd', n % 2 = 1)) FROM generate_series(1, 12) n), priority => 4);
SELECT count(*) FROM onceq.enqueue_many('many', (SELECT array_agg(jsonb_build_object('n', n, 'odd', n % 2 = 1)) FROM generate_series(13, 16) n), array_fill('{"from": "x", "to": "y"}'::jsonb, '{4}'), delay => '1 h');
SELECT count(onceq.nack(token, id, 'timeout after ' || id)) FROM onceq.claim('many', 2);
SELECT count(onceq.reject(token, id, CASE WHEN payload @> '{"odd": true}' THEN 'no such address' ELSE 'timeout' END)) FROM onceq.claim('many', 4);
SELECT count(*) FROM onceq.claim('many', 2, lease => '1 h');
SELECT many_states();

-- ---- cancel_jobs: all of them, and not if it rolls back, nor if a savepoint does

BEGIN;
SELECT onceq.cancel_jobs('many'), onceq.cancel_jobs('many') AS again;
SELECT many_jobs('cancelled'), many_jobs('dead');
ROLLBACK;
SELECT many_states();
BEGIN;
SELECT onceq.cancel_jobs('many', 'ready', count => 1);
SAVEPOINT s;
SELECT onceq.cancel_jobs('many', 'ready', count => 1), onceq.cancel_jobs('many', 'running'), onceq.cancel_jobs('many', 'scheduled');
ROLLBACK TO s;
COMMIT;
SELECT many_states();

-- ---- each condition

SELECT onceq.cancel_jobs('many', 'running', payload => '{"odd": true}');
SELECT onceq.cancel_jobs('many', 'scheduled', error_like => 'timeout%', count => 1);
SELECT onceq.cancel_jobs('many', first_id => many_id(13), last_id => many_id(13));
SELECT onceq.cancel_jobs('many', ids => ARRAY[many_id(16), many_id(10), many_id(10), many_id(3), 0, -1, 1000000], first_id => many_id(2));
SELECT many_states();
SELECT onceq.cancel_jobs('many', payload => '{"n": 99}'), onceq.cancel_jobs('many', error_like => 'timeout'), onceq.cancel_jobs('many', enqueued_before => '2000-01-01'),
	onceq.cancel_jobs('many', enqueued_after => 'infinity'), onceq.cancel_jobs('many', first_id => 1000000), onceq.cancel_jobs('many', last_id => -1),
	onceq.cancel_jobs('many', ids => '{}'), onceq.cancel_jobs('many', priority => 9), onceq.cancel_jobs('many', ordering_key => 'k'), onceq.cancel_jobs('many', headers => '{"from": "y"}');
SELECT onceq.cancel_jobs('many', 'ready', ids => ARRAY[many_id(8), many_id(14), many_id(11)]) AS only_one_is_ready;
SELECT onceq.cancel_jobs('many', priority => 0, headers => '{"to": "y"}', count => 1);
SELECT many_states();
SELECT onceq.cancel_jobs('many', enqueued_after => '2000-01-01', enqueued_before => 'infinity');
SELECT many_states();

-- ---- jobs with an ordering key: those that wait for their turn are ready, the one that died and is in their way is not

SELECT onceq.create_queue('many.keys', max_attempts => 1);
SELECT count(onceq.enqueue('many.keys', to_jsonb(n), ordering_key => 'k' || n % 2)) FROM generate_series(1, 8) n;
SELECT count(*) AS running, count(onceq.reject(token, id)) FILTER (WHERE payload = '1') FROM onceq.claim('many.keys', 10, lease => '1 h');
SELECT onceq.cancel_jobs('many.keys', 'ready', ordering_key => 'k1', count => 1), onceq.cancel_jobs('many.keys', ordering_key => 'k');
SELECT onceq.cancel_jobs('many.keys');
SELECT string_agg(payload::text || ' ' || state, ', ' ORDER BY id) FROM onceq.jobs('many.keys');
SELECT count(*) FROM onceq.audit('many.keys');
SELECT onceq.drop_queue('many.keys');

-- ---- redrive_jobs

BEGIN;
SELECT onceq.redrive_jobs('many'), onceq.redrive_jobs('many') AS again;
ROLLBACK;
SELECT many_states();
SELECT onceq.redrive_jobs('many', error_like => 'no%', payload => '{"odd": true}', count => 1);
SELECT onceq.redrive_jobs('many', first_id => max(id), rate => 1) FROM onceq.jobs('many', 'dead');
SELECT many_states();
SELECT onceq.redrive_jobs('many', error_like => 'nothing'), onceq.redrive_jobs('many', last_id => 0), onceq.redrive_jobs('many', enqueued_before => '2000-01-01'),
	onceq.redrive_jobs('many', ids => ARRAY[many_id(1), many_id(12), many_id(5)], error_like => 'x') AS with_ids;
SELECT onceq.redrive_jobs('many', ids => ARRAY[many_id(5), many_id(1), many_id(6), many_id(5)]);
SELECT onceq.redrive_jobs('many', error_like => '%time_ut');
SELECT many_states();
SELECT count(*) FROM onceq.audit('many');

-- ---- reject_jobs

SELECT onceq.create_queue('many.dead');
SELECT onceq.alter_queue('many', dead_letter_queue => 'many.dead');
SELECT onceq.reject_jobs('many', 'no such customer', error_like => '%after%') AS none_is_unfinished;
SELECT count(*) FROM onceq.enqueue_many('many', (SELECT array_agg(jsonb_build_object('n', n, 'odd', n % 2 = 1)) FROM generate_series(21, 26) n), delay => '1 h');
BEGIN;
SELECT onceq.reject_jobs('many');
ROLLBACK;
SELECT onceq.reject_jobs('many', 'no such customer', payload => '{"odd": true}', count => 4), onceq.reject_jobs('many', state => 'ready', ids => ARRAY[many_id(6), many_id(22)]);
SELECT many_states();
SELECT payload ->> 'n' AS n, attempt, worker, error FROM onceq.jobs('many', 'dead');
SELECT payload ->> 'n' AS n, headers -> 'onceq.dead_letter' ->> 'error' AS error, headers -> 'onceq.dead_letter' ->> 'attempts' AS attempts FROM onceq.jobs('many.dead') ORDER BY 1;
SELECT attempt, outcome, worker, error FROM onceq.job_attempts('many', many_id(3));
SELECT onceq.redrive_jobs('many', ids => ARRAY[many_id(3), many_id(21)]);
SELECT onceq.reject_jobs('many', 'again', ids => ARRAY[many_id(3)]);
SELECT many_states();
SELECT attempt, outcome, error FROM onceq.job_attempts('many', many_id(3));
SELECT scheduled, ready, dead FROM onceq.queue_stats WHERE queue = 'many';
SELECT count(*) FROM onceq.audit('many');
SELECT onceq.drop_queue('many.dead');

-- a dead job is in the way of its ordering key, whoever made it dead

SELECT onceq.create_queue('many.keys');
SELECT count(onceq.enqueue('many.keys', to_jsonb(n), ordering_key => 'k')) FROM generate_series(1, 3) n;
SELECT onceq.reject_jobs('many.keys', payload => '1');
SELECT count(*) FROM onceq.claim('many.keys', 10);
SELECT onceq.reject_jobs('many.keys'), onceq.redrive_jobs('many.keys', payload => '1');
SELECT payload FROM onceq.claim('many.keys', 10), onceq.ack(token);
SELECT payload, state FROM onceq.jobs('many.keys');
SELECT count(*) FROM onceq.claim('many.keys', 10);
SELECT onceq.redrive_jobs('many.keys');
SELECT payload FROM onceq.claim('many.keys', 10), onceq.ack(token);
SELECT payload FROM onceq.claim('many.keys', 10), onceq.ack(token);
SELECT count(*) FROM onceq.audit('many.keys');
SELECT onceq.drop_queue('many.keys');

-- ---- reschedule_jobs

SELECT onceq.create_queue('many.due', backoff_base => '1 h');
SELECT onceq.enqueue_many('many.due', '{1,2}') > 0 AS added;
SELECT onceq.enqueue_many('many.due', '{3,4}', delay => '1 h') > 0 AS added;
SELECT onceq.nack(token, id, 'x') IS NULL AS dead FROM onceq.claim('many.due');
SELECT now() + '2 days' AS later, now() + '3 days' AS latest \gset
BEGIN;
SELECT onceq.reschedule_jobs('many.due'), onceq.reschedule_jobs('many.due') AS again;
SELECT string_agg(payload::text, ' ' ORDER BY id) AS ready FROM onceq.jobs('many.due', 'ready');
ROLLBACK;
SELECT onceq.reschedule_jobs('many.due', :'later'), onceq.reschedule_jobs('many.due', :'later') AS again;
SELECT payload, state, attempt, due_at = :'later' AS later FROM onceq.jobs('many.due');
SELECT onceq.reschedule_jobs('many.due', :'latest', payload => '2'), onceq.reschedule_jobs('many.due', :'later', payload => '2'), onceq.reschedule_jobs('many.due', :'latest', payload => '2');
SELECT onceq.reschedule_jobs('many.due', delay => '1 day', payload => '3'), onceq.reschedule_jobs('many.due', state => 'ready');
SELECT payload, state, attempt, due_at = :'later' AS later, due_at = :'latest' AS latest FROM onceq.jobs('many.due');
SELECT count(*) FROM onceq.claim('many.due', 10);
SELECT onceq.reschedule_jobs('many.due', state => 'scheduled', count => 3), onceq.reschedule_jobs('many.due', delay => '0', state => 'scheduled');
SELECT payload, attempt FROM onceq.claim('many.due', 3, lease => '1 h');
SELECT onceq.reschedule_jobs('many.due', :'later') AS only_one_is_not_running;
SELECT onceq.cancel_jobs('many.due', 'scheduled');
SELECT onceq.reschedule_jobs('many.due');
SELECT payload, state FROM onceq.jobs('many.due');
SELECT attempt, outcome, error FROM onceq.job_attempts('many.due', (SELECT id FROM onceq.jobs('many.due') WHERE payload = '1'));
SELECT count(*) FROM onceq.audit('many.due');
SELECT onceq.drop_queue('many.due');

-- ---- batches

SELECT onceq.create_queue('many.batches');
SELECT count(*) FROM onceq.enqueue_many('many.batches', array_fill('1'::jsonb, '{10000}'));
SELECT count(*) FROM onceq.enqueue_many('many.batches', array_fill('2'::jsonb, '{500}'));
SELECT onceq.cancel_jobs('many.batches', payload => '2', count => 499), onceq.cancel_jobs('many.batches'), onceq.cancel_jobs('many.batches'), onceq.cancel_jobs('many.batches');
SELECT onceq.drop_queue('many.batches');

-- ---- arguments, and who may

\set VERBOSITY sqlstate
SELECT onceq.cancel_jobs(NULL);
SELECT onceq.cancel_jobs('no_such');
SELECT onceq.cancel_jobs('many', 'dead');
SELECT onceq.cancel_jobs('many', '');
SELECT onceq.cancel_jobs('many', count => 0);
SELECT onceq.cancel_jobs('many', count => 10001);
SELECT onceq.cancel_jobs('many', priority => 10);
SELECT onceq.cancel_jobs('many', priority => -1);
SELECT onceq.cancel_jobs('many', ids => '{1,NULL}');
SELECT onceq.cancel_jobs('many', ids => '{{1,2}}');
SELECT onceq.cancel_jobs('many', ids => array_fill(1::bigint, '{10001}'));
SELECT onceq.cancel_jobs('many', error_like => '\') FROM onceq.enqueue('many', '{"n": 17}');
SELECT onceq.reject_jobs(NULL);
SELECT onceq.reject_jobs('many', state => 'running');
SELECT onceq.reschedule_jobs(NULL);
SELECT onceq.reschedule_jobs('many', state => 'running');
SELECT onceq.reschedule_jobs('many', run_at => now(), delay => '1 s');
SELECT onceq.reschedule_jobs('many', 'infinity');
SELECT onceq.reschedule_jobs('many', '-infinity');
SELECT onceq.reschedule_jobs('many', delay => '-1 s');
SELECT onceq.reschedule_jobs('many', delay => '367 days');
SELECT onceq.redrive_jobs(NULL);
SELECT onceq.redrive_jobs('many', count => 0);
SELECT onceq.redrive_jobs('many', rate => 0);
SELECT onceq.redrive_jobs('many', rate => 1000001);
CREATE ROLE many_user;
CREATE ROLE many_operator IN ROLE onceq_operator;
SELECT 'onceq_data.q' || id AS anchor FROM onceq.queue WHERE name = 'many' \gset
GRANT TRUNCATE ON :anchor TO many_user;
SET ROLE many_user;
SELECT onceq.redrive_jobs('many');
SELECT onceq.cancel_jobs('many', payload => '{"n": 1}');
SELECT onceq.reject_jobs('many', payload => '{"n": 1}');
SELECT onceq.reschedule_jobs('many', payload => '{"n": 1}');
SELECT onceq.reschedule_jobs('many', ids => '{1}'), onceq.reject_jobs('many', ids => '{1}');
SELECT onceq.cancel_jobs('many', error_like => 'x');
SELECT onceq.cancel_jobs('many', enqueued_before => now());
SELECT onceq.cancel_jobs('many', count => 1, first_id => 1, last_id => 1000000);
SET ROLE many_operator;
SELECT onceq.cancel_jobs('many');
SELECT onceq.reject_jobs('many');
SELECT onceq.reschedule_jobs('many');
SELECT onceq.redrive_jobs('many', payload => '{"n": 1}');
SELECT onceq.redrive_jobs('many', count => 1);
RESET ROLE;
\set VERBOSITY default
DROP OWNED BY many_user, many_operator;
DROP ROLE many_user, many_operator;
SELECT onceq.drop_queue('many');
DROP FUNCTION many_states, many_jobs, many_id;

-- ---- the key of a job that this transaction has rejected is free

SELECT onceq.create_queue('many.unique');
SELECT onceq.enqueue('many.unique', '1', unique_key => 'k') > 0 AS added;
BEGIN;
SELECT onceq.reject_jobs('many.unique');
SELECT onceq.enqueue('many.unique', '2', unique_key => 'k') > 0 AS added;
COMMIT;
SELECT payload, state FROM onceq.jobs('many.unique');
SELECT onceq.drop_queue('many.unique');
