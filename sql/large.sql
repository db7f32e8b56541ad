-- Payloads, headers and results of every size up to the limit come back as they went in, compressible or not,
-- one by one and in batches; one byte more is refused.
SELECT onceq.create_queue('large', lease => '1 h'); -- longer than this takes anywhere
-- A payload of exactly this many bytes as jsonb: a string, of random hexadecimal digits or of one letter.
CREATE FUNCTION large_text(bytes int, random bool) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN random THEN (SELECT left(string_agg(md5(random()::text), ''), bytes) FROM generate_series(1, bytes / 32 + 1))
		ELSE repeat('x', bytes) END $$;
CREATE FUNCTION large_payload(bytes int, random bool) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(large_text(bytes - 8, random)) $$;
SELECT pg_column_size(large_payload(100000, true)) - 4 AS bytes;
CREATE TABLE large_sent (id bigint PRIMARY KEY, bytes int, random bool, hash text);

-- ---- sizes around the limits of a page, of TOAST, and of the setting

DO $$
DECLARE
	size int;
	random bool;
	payload jsonb;
BEGIN
	FOREACH size IN ARRAY ARRAY[8, 9, 100, 1000, 1990, 2000, 2010, 2032, 2048, 4096, 8000, 8192, 8193, 16384, 65536, 131072, 262143, 262144] LOOP
		FOREACH random IN ARRAY ARRAY[true, false] LOOP
			payload := large_payload(size, random);
			INSERT INTO large_sent VALUES (onceq.enqueue('large', payload), size, random, md5(payload::text));
		END LOOP;
	END LOOP;
END $$;
SELECT count(*), count(*) FILTER (WHERE md5(c.payload::text) = s.hash) AS equal, max(length(c.payload #>> '{}')) + 8 AS longest
FROM onceq.claim('large', 100) c JOIN large_sent s USING (id);
SELECT count(*) FILTER (WHERE md5(j.payload::text) = s.hash) AS equal FROM onceq.jobs('large') j JOIN large_sent s USING (id);
SELECT count(*) FILTER (WHERE md5(j.payload::text) = s.hash) AS equal FROM large_sent s, onceq.job('large', s.id) j;

-- ---- one byte more

SELECT onceq.enqueue('large', large_payload(262145, false));
SELECT count(*) FROM onceq.enqueue_many('large', ARRAY['1', large_payload(262145, true)]);
SELECT onceq.enqueue('large', '1', headers => to_jsonb(repeat('x', 8192)));
SELECT onceq.enqueue('large', '1', headers => to_jsonb(repeat('x', 8192 - 8))) > 0 AS largest_headers;
SELECT length(headers #>> '{}') FROM onceq.claim('large');

-- a superuser may raise the limit, up to 16 MB; others may not
SET onceq.payload_max = '16MB';
SELECT onceq.enqueue('large', large_payload(16 * 1024 * 1024, false)) > 0 AS largest;
SELECT onceq.enqueue('large', large_payload(16 * 1024 * 1024 + 1, false));
SELECT onceq.enqueue('large', large_payload(5000000, true)) > 0 AS random;
\set VERBOSITY sqlstate
SET onceq.payload_max = '17MB';
\set VERBOSITY default
RESET onceq.payload_max;
SELECT length(payload #>> '{}') + 8 AS bytes FROM onceq.claim('large', 2);
CREATE ROLE regress_large;
SET ROLE regress_large;
SET onceq.payload_max = '16MB';
RESET ROLE;
DROP ROLE regress_large;

-- ---- batches

WITH p AS MATERIALIZED (SELECT large_payload(2000 + 50 * i, i % 2 = 0) AS payload, i FROM generate_series(1, 400) i),
	e AS (SELECT id, n FROM onceq.enqueue_many('large', ARRAY(SELECT payload FROM p ORDER BY i),
		headers => ARRAY(SELECT to_jsonb(md5(payload::text)) FROM p ORDER BY i)) WITH ORDINALITY e (id, n))
SELECT count(*) FROM e;
SELECT count(*), count(*) FILTER (WHERE headers #>> '{}' = md5(payload::text)) AS equal FROM onceq.claim('large', 1000);

-- deep, wide and odd JSON
SELECT onceq.enqueue('large', (SELECT jsonb_object_agg('key ' || i, jsonb_build_array(i, i / 7.0, md5(i::text), NULL)) FROM generate_series(1, 2000) i), headers => '{"keys": 2000}') > 0 AS wide;
SELECT onceq.enqueue('large', (repeat('[', 1000) || repeat(']', 1000))::jsonb) > 0 AS deep;
SELECT onceq.enqueue('large', to_jsonb(1e131071::numeric)) > 0 AS long_number;
SELECT onceq.enqueue('large', to_jsonb(E'\u00a0\u2028\ufffd\U0001f600 "\\/\b\f\n\r\t'::text)) > 0 AS odd;
SELECT (SELECT count(*) FROM jsonb_object_keys(payload)) AS keys, payload -> 'key 1999' -> 2 = to_jsonb(md5('1999')) AS equal FROM onceq.claim('large');
SELECT length(payload::text) FROM onceq.claim('large', 2);
SELECT payload = to_jsonb(E'\u00a0\u2028\ufffd\U0001f600 "\\/\b\f\n\r\t'::text) AS equal FROM onceq.claim('large');

-- ---- payloads that are stored compressed or out of line where they come from

CREATE TABLE large_source (payload jsonb);
ALTER TABLE large_source ALTER payload SET STORAGE EXTERNAL;
INSERT INTO large_source VALUES (large_payload(100000, true)), (large_payload(200000, false));
SELECT count(onceq.enqueue('large', payload)) FROM large_source;
SELECT count(*) FROM onceq.enqueue_many('large', ARRAY(SELECT payload FROM large_source));
TRUNCATE large_source;
SELECT count(*), sum(length(payload #>> '{}') + 8) AS bytes FROM onceq.claim('large', 10);

-- ---- results

SELECT onceq.enqueue('large', '1') > 0;
SELECT token, id FROM onceq.claim('large') \gset
SELECT onceq.ack(:token, :id, large_payload(1000000, true));
SELECT length(result #>> '{}') + 8 AS bytes FROM onceq.job('large', :id);

SELECT onceq.drop_queue('large');
DROP TABLE large_sent, large_source;
DROP FUNCTION large_text, large_payload;
