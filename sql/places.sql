-- The row of a job that is claimed alone is looked for beside the last one before the index is asked
-- (src/store/nearby.hpp). The right row comes, whatever lies beside it and wherever it went meanwhile; and while jobs
-- lie in the order in which they are claimed, the index is not used.
SELECT onceq.create_queue('places');
SELECT substr(privileges::text, 13) AS number FROM onceq.queues WHERE queue = 'places' \gset
SELECT 'onceq_data.j' || :'number' || '_0000' AS jobs, 'onceq_data.j' || :'number' || '_0000_id' AS by_id \gset

-- A dozen jobs fill a page. Each knows its number.
CREATE FUNCTION places_fill(first int, last int, priority int DEFAULT 0) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM onceq.enqueue_many('places',
		ARRAY(SELECT jsonb_build_array(i, repeat('x', 500)) FROM generate_series(first, last) i), priority => priority) $$;
-- Claims single jobs and returns their numbers, and how often the index was used.
CREATE FUNCTION places_claim(n int, by_id regclass, OUT numbers int[], OUT descents bigint) LANGUAGE plpgsql AS $$
DECLARE
	before bigint := pg_stat_get_xact_numscans(by_id);
BEGIN
	FOR i IN 1 .. n LOOP
		numbers := numbers || ARRAY(SELECT (payload ->> 0)::int FROM onceq.claim('places'));
	END LOOP;
	descents := pg_stat_get_xact_numscans(by_id) - before;
END $$;

-- ---- one after the other, over several pages

SELECT places_fill(1, 100);
SELECT numbers = ARRAY(SELECT generate_series(1, 60)) AS in_order, descents FROM places_claim(60, :'by_id');
-- a session of its own begins anew
\c -
SELECT numbers = ARRAY(SELECT generate_series(61, 90)) AS in_order, descents FROM places_claim(30, :'by_id');

-- ---- the table is written anew

VACUUM FULL :jobs;
SELECT numbers = ARRAY(SELECT generate_series(91, 95)) AS in_order, descents FROM places_claim(5, :'by_id');

-- ---- rows that were never committed lie in between, and vanish

BEGIN;
SELECT places_fill(1001, 1005);
ROLLBACK;
SELECT places_fill(101, 103);
BEGIN;
SELECT places_fill(1006, 1100);
ROLLBACK;
VACUUM :jobs;
SELECT places_fill(104, 110);
SELECT numbers = ARRAY(SELECT generate_series(96, 110)) AS in_order FROM places_claim(20, :'by_id');

-- ---- jobs lie in another order than they are claimed

SELECT sum(places_fill(i, i, i % 10)) FROM generate_series(1, 400) i;
SELECT cardinality(numbers) AS jobs, numbers = ARRAY(SELECT i FROM generate_series(1, 400) i ORDER BY i % 10 DESC, i) AS in_order
FROM places_claim(400, :'by_id');

-- ---- a job that was given back, of another transaction and of this one

SELECT places_fill(201, 203);
SELECT token FROM onceq.claim('places') \gset
SELECT onceq.release(:token);
SELECT numbers FROM places_claim(2, :'by_id');
BEGIN;
SELECT places_fill(301, 302);
SELECT numbers FROM places_claim(2, :'by_id');
COMMIT;
SELECT numbers FROM places_claim(3, :'by_id');

SELECT onceq.drop_queue('places');
DROP FUNCTION places_fill, places_claim;
