-- A database for sqlsmith: queues with jobs in all states, for a role that is no superuser, so that its queries
-- reach onceq and not files and other sessions. sqlsmith calls functions that return one value, so those of onceq
-- that return rows get such a cover.
CREATE EXTENSION onceq;
CREATE ROLE smith LOGIN;
ALTER ROLE smith SET statement_timeout = '2s';
ALTER ROLE smith SET lock_timeout = '1s';

SELECT onceq.create_queue(q, lease => '1 min', max_attempts => 5) FROM unnest('{red,green,blue}'::text[]) q;
SELECT onceq.create_queue('turns', lease => '1 min', max_running => 5);
SELECT onceq.create_consumer('ledger');
SELECT onceq.grant_producer(q, 'smith'), onceq.grant_consumer(q, 'smith') FROM unnest('{red,green,blue,turns}'::text[]) q;
SELECT onceq.grant_marker('ledger', 'smith');
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA onceq TO smith;

CREATE SCHEMA cover AUTHORIZATION smith;
GRANT ALL ON SCHEMA public TO smith;
DO $$
DECLARE
	f regprocedure;
	called text;
	parameters text;
BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'onceq'::regnamespace AND p.proretset
	LOOP
		SELECT string_agg('$' || i, ', ' ORDER BY i), string_agg(t::regtype::text, ', ' ORDER BY i)
			INTO called, parameters
			FROM pg_proc p, unnest(p.proargtypes) WITH ORDINALITY AS a (t, i) WHERE p.oid = f;
		EXECUTE format('CREATE FUNCTION cover.%I(%s) RETURNS text LANGUAGE sql AS $f$ SELECT max(r::text) FROM %s(%s) r $f$',
			(SELECT proname FROM pg_proc WHERE oid = f), parameters, f::regproc, called);
	END LOOP;
END $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cover TO smith;

-- What sqlsmith believes there to be: few functions but ours, and no tables but those that people may use.
ALTER ROLE smith SET search_path = cover, pg_catalog, public;
CREATE VIEW cover.pg_proc AS
	SELECT * FROM pg_catalog.pg_proc p
	WHERE p.pronamespace IN ('onceq'::regnamespace, 'cover'::regnamespace) AND p.prokind = 'f'
		OR p.pronamespace = 'pg_catalog'::regnamespace AND (p.prokind <> 'f' OR p.oid::bigint % 40 = 0)
			AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (p.proargtypes || p.prorettype) AND t.typtype = 'p');
GRANT SELECT ON cover.pg_proc TO smith;
ALTER VIEW information_schema.tables RENAME TO all_tables;
CREATE VIEW information_schema.tables AS
	SELECT * FROM information_schema.all_tables WHERE table_schema IN ('onceq', 'public');
GRANT SELECT ON information_schema.tables TO smith;

-- Values to be met with: sqlsmith takes most arguments from columns.
CREATE TABLE public.names (name text, role name, n int, big bigint, span interval, yes boolean, body jsonb, ids bigint[]);
INSERT INTO public.names
	SELECT (ARRAY['red', 'green', 'blue', 'turns', 'ledger', 'none', ''])[1 + i % 7], 'smith', i, i, i * interval '1 s',
		i % 2 = 0, jsonb_build_object('i', i), ARRAY[i, i + 1]
	FROM generate_series(0, 20) i;
SELECT count(onceq.enqueue(q, jsonb_build_object('i', i), delay => (i % 3) * interval '1 min', priority => i % 10))
	FROM unnest('{red,green,blue,turns}'::text[]) q, generate_series(1, 100) i;
CREATE TABLE public.tokens AS SELECT c.token, c.id, q AS name FROM unnest('{red,green}'::text[]) q, LATERAL onceq.claim(q, 20) c;
GRANT ALL ON ALL TABLES IN SCHEMA public TO smith;
