# No token that was not granted is accepted, and no argument crashes a server or raises what is not documented: twenty
# thousand forged tokens, each made from a true one by a change of its slot, its random part or its sign, or one that
# was valid once; and thousands of calls of every function with random arguments. In the build that ships and
# in the one with assertions. Random, but the same each time.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $tokens = 10000;    # for each build
my $calls = 4000;
my %documented = map { $_ => 1 } slurp_file("$ENV{ONCEQ_SOURCE}/doc/reference/errors.md") =~ /^\| (\w{5}) \|/mg;
delete $documented{XX000};

for my $build ('testing', 'release')
{
	local $ENV{TEMP_CONFIG} = $build eq 'release' ? $ENV{ONCEQ_RELEASE_CONF} : $ENV{TEMP_CONFIG};
	my $node = start_node("fuzz_$build", fsync => 'off', log_min_messages => 'log', 'onceq.segment_wait' => '1s');
	prepare($node);
	forge_tokens($node, $build);
	call_everything($node, $build);
	log_is_clean($node);
}
done_testing();

sub prepare
{
	my ($node) = @_;
	query($node, q{
		CREATE ROLE consumer;
		SELECT onceq.create_queue(q, lease => '1 h', max_attempts => 1000) FROM unnest('{q,other,gone}'::text[]) q;
		SELECT onceq.create_consumer('c');
		SELECT onceq.grant_consumer('q', 'consumer');
		SELECT count(*) FROM unnest('{q,other,gone}'::text[]) q, LATERAL onceq.enqueue_many(q, test.payloads(2000));
		CREATE TABLE ripe (id bigint PRIMARY KEY, at timestamptz);

		-- what is true: tokens of two roles and two queues; and what was
		CREATE TABLE held (queue text, role name, token bigint, id bigint, jobs int);
		CREATE TABLE stale (token bigint, id bigint);
		INSERT INTO held SELECT 'q', current_user, min(token), min(id), count(*) FROM generate_series(1, 30) i, LATERAL onceq.claim('q', 1 + i % 7) GROUP BY i;
		INSERT INTO held SELECT 'other', current_user, min(token), min(id), count(*) FROM generate_series(1, 30) i, LATERAL onceq.claim('other', 1 + i % 7) GROUP BY i;
		INSERT INTO stale SELECT token, id FROM generate_series(1, 10) i, LATERAL onceq.claim('q', i - i + 1);
		SELECT onceq.ack(token) FROM stale;
		INSERT INTO stale SELECT token, id FROM onceq.claim('gone', 3);
	});
	query($node, q{INSERT INTO stale SELECT token, id FROM generate_series(1, 10) i, LATERAL onceq.claim('q', i - i + 1)});
	query($node, q{SELECT onceq.release(token) FROM (SELECT token FROM stale OFFSET 13) x; SELECT onceq.drop_queue('gone')});
	query($node, q{
		CREATE FUNCTION pick(anyarray) RETURNS anyelement LANGUAGE sql VOLATILE AS 'SELECT $1[1 + floor(random() * cardinality($1))::int]';
		CREATE FUNCTION forged() RETURNS bigint LANGUAGE plpgsql AS $$
		DECLARE
			made bigint := (SELECT h.token FROM held h ORDER BY random() LIMIT 1);
		BEGIN
			CASE floor(random() * 9)
				WHEN 0 THEN made := made # (1::bigint << floor(random() * 20)::int);         -- another slot
				WHEN 1 THEN made := made # (1::bigint << (20 + floor(random() * 43)::int));  -- another random part
				WHEN 2 THEN made := -made;
				WHEN 3 THEN made := (made & ~1048575::bigint) | floor(random() * 1048576)::bigint;
				WHEN 4 THEN made := (made & 1048575::bigint) | (floor(random() * 8796093022208)::bigint << 20);
				WHEN 5 THEN made := made & 1048575::bigint;                                  -- a slot alone
				WHEN 6 THEN made := (SELECT s.token FROM stale s ORDER BY random() LIMIT 1);
				WHEN 7 THEN made := made + pick(ARRAY[-1, 1, 2, 1048576, -1048576]);
				ELSE made := pick(ARRAY[0, 1, -1, 9223372036854775807, -9223372036854775808, 1048575, 1048576, 65535, 65536]);
			END CASE;
			RETURN CASE WHEN EXISTS (SELECT FROM held h WHERE h.token = made) THEN 0 ELSE made END;
		END $$;
		CREATE TABLE outcome (what text, code text);
	});
	return;
}

sub forge_tokens
{
	my ($node, $build) = @_;
	query($node, qq{
		SELECT setseed(0.5);
		DO \$\$
		DECLARE
			call text;
			code text;
			job bigint;
		BEGIN
			FOR n IN 1 .. $tokens LOOP
				job := (SELECT id FROM held ORDER BY random() LIMIT 1);
				call := format(pick(ARRAY['SELECT onceq.ack(%1\$s)', 'SELECT onceq.ack(%1\$s, %2\$s)', 'SELECT onceq.ack(%1\$s, ARRAY[%2\$s]::bigint[])',
					'SELECT onceq.nack(%1\$s, %2\$s)', 'SELECT onceq.reject(%1\$s, %2\$s)', 'SELECT onceq.release(%1\$s)', 'SELECT onceq.release(%1\$s, %2\$s)',
					'SELECT onceq.extend(%1\$s, ''2 h'')', 'SELECT * FROM onceq.ack_and_claim(%1\$s, ''q'')', 'SELECT onceq.ack_once(%1\$s, %2\$s, ''c'', ''e'')',
					'SELECT onceq.progress(%1\$s, %2\$s, 1)', 'SELECT onceq.cancelled(%1\$s)']), quote_literal(forged()), job);
				code := '00000';
				BEGIN
					EXECUTE call;
				EXCEPTION WHEN OTHERS THEN
					code := SQLSTATE;
				END;
				INSERT INTO outcome VALUES (call, code);
			END LOOP;
		END \$\$;
	});
	is(query($node, 'SELECT count(*) FROM outcome'), $tokens, "$build: $tokens forged tokens were tried");
	is(query($node, "SELECT what, code FROM outcome WHERE code <> 'OQ001' LIMIT 5"), '', "$build: each of them is a lost lease, and nothing else");

	# true tokens in the wrong hands
	query($node, 'TRUNCATE outcome');
	query($node, q{
		GRANT ALL ON outcome, held TO consumer;
		SET ROLE consumer;
		DO $$
		DECLARE
			h record;
			call text;
		BEGIN
			FOR h IN SELECT token, id, f FROM held, unnest(ARRAY['ack(%s)', 'ack(%s, %s)', 'nack(%s, %s)', 'reject(%s, %s)', 'release(%s)', 'extend(%s)', 'progress(%s, %s, 1)', 'cancelled(%s)']) f LOOP
				call := format('SELECT onceq.' || h.f, h.token, h.id);
				BEGIN
					EXECUTE call;
					INSERT INTO outcome VALUES (call, '00000');
				EXCEPTION WHEN OTHERS THEN
					INSERT INTO outcome VALUES (call, SQLSTATE);
				END;
			END LOOP;
		END $$;
	});
	is(query($node, 'SELECT DISTINCT code FROM outcome'), '42501', "$build: a true token does not work for another role");
	is(query($node, 'SELECT count(*) FROM held WHERE onceq.extend(token) IS NOT NULL'), '60', "$build: all leases are held as before");
	is(query($node, 'SELECT sum(jobs) = (SELECT sum(jobs) FROM held) FROM onceq.leases'), 't', "$build: … with all their jobs");
	query($node, 'TRUNCATE outcome');
	return;
}

# Arguments of each type; queues and tokens among them, so that calls get beyond the first check.
sub call_everything
{
	my ($node, $build) = @_;
	query($node, q{
		CREATE FUNCTION argument(type regtype, name text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
		DECLARE
			value text;
		BEGIN
			value := CASE type::text
				WHEN 'text' THEN pick(CASE name WHEN 'hold' THEN '{time,session,x}' WHEN 'unique_mode' THEN '{skip,replace,x}' WHEN 'state' THEN '{ready,dead,running,x}'
					ELSE '{q,q,q,other,c,none,""," ",Q,"q; --",%,\\\\,ä,public.ripe,1 day,NULL}' END::text[] || repeat('x', (random() * 70)::int))
				WHEN 'name' THEN pick('{consumer,postgres,none,"",onceq_owner,public}'::text[])
				WHEN 'integer' THEN pick('{0,1,1,2,5,9,10,-1,1000,1001,10000,2147483647,-2147483648}'::text[])
				WHEN 'bigint' THEN CASE name WHEN 'token' THEN CASE WHEN random() < 0.5 THEN (SELECT token FROM held ORDER BY random() LIMIT 1) ELSE forged() END::text
					ELSE pick('{0,1,2,50,100,1999,2000,2001,-1,1048576,9223372036854775807,-9223372036854775808}'::text[]) END
				WHEN 'boolean' THEN pick('{true,false}'::text[])
				WHEN 'double precision' THEN pick('{0,1,2,0.1,-1,NaN,Infinity,-Infinity,1e308,1e-308}'::text[])
				WHEN 'interval' THEN pick('{0,1 ms,100 ms,1 hour,-1 s,13 hours,400 days,178000000 years,-178000000 years,1 month,1 us}'::text[])
				WHEN 'timestamp with time zone' THEN pick('{infinity,-infinity,now,2000-01-01,4713-01-01 BC,294276-12-31}'::text[])
				WHEN 'time without time zone' THEN pick('{00:00,24:00,12:34:56.789}'::text[])
				WHEN 'regclass' THEN pick('{ripe,pg_class,held,onceq.queue,onceq.queues,pg_class_oid_index,0,4294967295}'::text[])
				WHEN 'jsonb' THEN pick(ARRAY['null', '{}', '[]', '"x"', '1e400', '{"a": [1, {"b": null}]}', to_json(repeat('x', (random() * 20000)::int))::text])
				WHEN 'jsonb[]' THEN pick('{"{}","{NULL}","{1,2,3}","{1,NULL}","{{1,2},{3,4}}","[5:6]={1,2}"}'::text[])
				WHEN 'text[]' THEN pick('{"{}","{NULL}","{q}","{q,other}","{q,q}","{{q},{other}}","[0:1]={other,q}","{none}"}'::text[])
				WHEN 'integer[]' THEN pick('{"{}","{NULL}","{1}","{1,1000}","{0,-1}","{{1},{2}}","[0:1]={5,1}"}'::text[])
				WHEN 'bigint[]' THEN pick('{"{}","{NULL}","{1}","{1,1,1}","{9223372036854775807,-1}","{{1},{2}}","[7:8]={1,2}"}'::text[])
			END;
			IF value IS NULL AND type::text <> 'text' THEN
				RAISE 'no arguments of type %', type;
			END IF;
			RETURN format('%L::%s', CASE WHEN random() >= 0.07 THEN value END, type);
		END $$;
		-- What consumers and producers do is kept as a rule, everything else is undone.
		CREATE FUNCTION try(call text, keep bool) RETURNS text LANGUAGE plpgsql AS $$
		BEGIN
			EXECUTE call;
			IF NOT keep THEN
				RAISE SQLSTATE 'DONE0';
			END IF;
			RETURN '00000';
		EXCEPTION WHEN OTHERS THEN
			RETURN CASE SQLSTATE WHEN 'DONE0' THEN '00000' ELSE SQLSTATE END;
		END $$;
	});
	query($node, qq{
		SELECT setseed(0.25);
		DO \$\$
		DECLARE
			f record;
			call text;
		BEGIN
			FOR n IN 1 .. $calls LOOP
				SELECT p.oid, proname, prokind, pronargs, proargtypes, proargnames INTO f FROM pg_proc p
				WHERE pronamespace = 'onceq'::regnamespace AND proname NOT IN ('archive', 'recover', 'maintain') ORDER BY random() LIMIT 1;
				call := format('SELECT count(*) FROM onceq.%I(%s)', f.proname,
					(SELECT string_agg(argument(f.proargtypes[i - 1], f.proargnames[i]), ', ' ORDER BY i) FROM generate_series(1, f.pronargs) i));
				INSERT INTO outcome VALUES (call, try(call, f.proname ~ '^(enqueue|claim|ack|nack|reject|release|extend|progress|once|job)' AND random() < 0.8));
				IF n % 100 = 0 THEN
					COMMIT;
				END IF;
			END LOOP;
		END \$\$;
	});
	is(query($node, 'SELECT count(*) FROM outcome'), $calls, "$build: $calls calls of all functions");
	my %raised = map { @$_ } rows($node, q{SELECT code, min(translate(left(what, 300), '|', '/')) FROM outcome WHERE code <> '00000' GROUP BY code});
	my @undocumented = grep { !$documented{$_} } sort keys %raised;
	is("@undocumented", '', "$build: every SQLSTATE is documented") or diag(map { "$_: $raised{$_}\n" } @undocumented);
	cmp_ok(query($node, q{SELECT count(DISTINCT substring(what FROM 'onceq\.(\w+)')) FROM outcome WHERE code = '00000'}), '>', 25, "$build: most functions were called with success, too");
	query($node, "CALL onceq.$_()") for 'recover', 'maintain';
	audit_is_empty($node, $_, "$build, $_") for 'q', 'other';
	return;
}
