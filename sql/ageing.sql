-- A queue with priority_ageing: a job that has waited a second longer than another counts as one priority higher;
-- without the option priorities count alone. First in, first out within a priority either way.
SELECT onceq.create_queue('age', priority_ageing => '1 s'), onceq.create_queue('age.none');
SELECT queue, priority_ageing FROM onceq.queues WHERE queue LIKE 'age%' ORDER BY queue;
CREATE FUNCTION age_enqueue(what text, VARIADIC priorities int[]) RETURNS void LANGUAGE sql AS $$
	SELECT onceq.enqueue(q, to_jsonb(what || ' ' || p), priority => p) FROM unnest('{age,age.none}'::text[]) q, unnest(priorities) WITH ORDINALITY AS t (p, n) ORDER BY q, n $$;

-- claims find these first
SELECT age_enqueue('old', 0, 1, 2, 0);
SELECT q AS queue, payload FROM unnest('{age,age.none}'::text[]) q, onceq.claim(q) ORDER BY 1;
SELECT pg_sleep(1.3);
SELECT age_enqueue('new', 0, 1);
-- the old ones of priority 0 now count more than the new one of 1
SELECT payload FROM onceq.claim('age', 10);
SELECT payload FROM onceq.claim('age.none', 10);

-- the option can be changed at any time
SELECT onceq.alter_queue('age.none', priority_ageing => '1 h');
SELECT age_enqueue('then', 3, 4);
SELECT payload FROM onceq.claim('age.none', 10);
SELECT onceq.alter_queue('age', priority_ageing => '0');
SELECT payload FROM onceq.claim('age', 10);

SELECT onceq.drop_queue('age'), onceq.drop_queue('age.none');
DROP FUNCTION age_enqueue;
