# A policy runs as the owner of its table and never with more rights: whatever triggers, deferred triggers,
# defaults and expressions of that table or its archive do, they do as he, and cannot get back to the role
# of the process, of the superuser who set the policy, or of the operator who CALLs it.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqArchive;

my $node = archive_node('rights');
query($node, q{CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE oscar LOGIN IN ROLE onceq_operator; CREATE ROLE monica LOGIN IN ROLE onceq_monitor});
query($node, q{CREATE SCHEMA alice AUTHORIZATION alice; CREATE SCHEMA bob AUTHORIZATION bob; GRANT USAGE ON SCHEMA alice, bob, test TO PUBLIC});
my @alice = (extra_params => [ '-U', 'alice' ]);
my @bob = (extra_params => [ '-U', 'bob' ]);

sub as
{
	my ($user, $sql) = @_;
	my ($result, $stdout, $stderr) = $node->psql('postgres', $sql, extra_params => [ '-U', $user ]);
	$stderr =~ s/^(?:NOTICE|WARNING).*$//mg;
	die "$user: $stderr" if $result != 0;
	return $stdout;
}

# ---- who may set, drop, call and see

create_events($node, 'alice.events', 'alice');
my $set = q{SELECT onceq.set_archive_policy('alice.events', 'at', '1 day', 'alice.archive')};
is(sqlstate_of($node, $set, undef, @bob), '42501', 'only its owner sets the policy of a table');
as('alice', $set);
is(sqlstate_of($node, q{SELECT onceq.drop_archive_policy('alice.events')}, undef, @bob), '42501', 'nor drops it');
is(sqlstate_of($node, q{CALL onceq.archive('alice.events')}, undef, @bob), '42501', 'nor calls it');
is(as('bob', q{CALL onceq.archive(); SELECT count(*) FROM onceq.archive_policies}), 0, 'nor sees it');
is(as($_, q{SELECT count(*) FROM onceq.archive_policies}), 1, "$_ does") for qw(alice oscar monica);
is(query($node, q{SELECT tableowner FROM pg_tables WHERE schemaname = 'alice' AND tablename = 'archive'}), 'alice', 'the archive is made as the owner');
is(sqlstate_of($node, q{SELECT onceq.set_archive_policy('alice.events', 'at', '1 day', 'bob.archive')}, undef, @alice), '42501', 'where he may make one');
is(sqlstate_of($node, q{SELECT onceq.set_archive_policy('alice.events', 'at', '1 day', 'bob.archive')}), '42501', 'even if a superuser sets the policy');

# ---- who owns the archive could act as who owns the source

query($node, q{GRANT SELECT ON alice.events TO bob});
as('bob', q{CREATE TABLE bob.trap (LIKE alice.events); GRANT ALL ON bob.trap TO PUBLIC});
is(sqlstate_of($node, q{SELECT onceq.set_archive_policy('alice.events', 'at', '1 day', 'bob.trap')}, undef, @alice), '42501', 'an archive of somebody else is refused');
query($node, q{ALTER TABLE alice.archive OWNER TO bob; GRANT ALL ON alice.archive TO alice});
add_events($node, 'alice.events', 5);
policy_is($node, 'alice.events', q{failures > 0 AND last_error LIKE '%could act as%'}, 'also if it comes to be his later');
query($node, q{ALTER TABLE alice.archive OWNER TO postgres});
archive($node, 'alice.events');
is(counts($node, 'alice.events', 'alice.archive'), '10|5', 'one that a superuser owns is safe from her, and she may insert');

# ---- as whom everything runs

query($node, q{CREATE TABLE test.seen (what text, who text, session text); GRANT ALL ON test.seen TO PUBLIC});
as('alice', q{
	CREATE FUNCTION alice.tell() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO test.seen VALUES (tg_name, current_user, session_user);
		RETURN coalesce(NEW, OLD);
	END $$;
	CREATE FUNCTION alice.tell_value(what text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO test.seen VALUES (what, current_user, session_user);
		RETURN what;
	END $$;
	CREATE FUNCTION alice.tell_indexed(what text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN alice.tell_value('index'); END $$;
	CREATE FUNCTION alice.attack() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		attack text;
	BEGIN
		FOREACH attack IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres', 'SET LOCAL ROLE onceq_owner',
			'RESET SESSION AUTHORIZATION', 'CREATE TEMP TABLE trap ()', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'DELETE FROM onceq.queue', 'ALTER ROLE alice SUPERUSER',
			'LISTEN x', 'SELECT set_config(''role'', ''postgres'', false)', 'COPY test.seen TO PROGRAM ''true''', 'COMMIT']
		LOOP
			BEGIN
				EXECUTE attack;
				INSERT INTO test.seen VALUES ('attack: ' || attack, current_user, session_user);
			EXCEPTION WHEN OTHERS THEN
			END;
		END LOOP;
		PERFORM set_config('search_path', 'alice', false);
		PERFORM set_config('session_replication_role', 'replica', false) WHERE false;
		RETURN coalesce(NEW, OLD);
	END $$;
	CREATE TABLE alice.hostile (at timestamptz, what text);
	INSERT INTO alice.hostile SELECT '2000-01-01', 'x' FROM generate_series(1, 3);
	CREATE TABLE alice.hostile_archive (at timestamptz, what text, more text DEFAULT alice.tell_value('default'));
	CREATE INDEX ON alice.hostile_archive (alice.tell_indexed(what));
	CREATE TRIGGER before_delete BEFORE DELETE ON alice.hostile FOR EACH ROW EXECUTE FUNCTION alice.tell();
	CREATE TRIGGER attack BEFORE DELETE ON alice.hostile FOR EACH ROW EXECUTE FUNCTION alice.attack();
	CREATE TRIGGER attack_archive AFTER INSERT ON alice.hostile_archive FOR EACH STATEMENT EXECUTE FUNCTION alice.attack();
	CREATE CONSTRAINT TRIGGER deferred AFTER DELETE ON alice.hostile DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION alice.tell();
	CREATE CONSTRAINT TRIGGER deferred_archive AFTER INSERT ON alice.hostile_archive DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION alice.tell();
	CREATE CONSTRAINT TRIGGER attack_deferred AFTER DELETE ON alice.hostile DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION alice.attack();
});
query($node, 'TRUNCATE test.seen');
query($node, q{SELECT onceq.set_archive_policy('alice.hostile', 'at', '1 day', 'alice.hostile_archive')});
policy_is($node, 'alice.hostile', 'total_rows = 3 AND failures = 0', 'hostile tables are archived, by the process');
is(query($node, q{SELECT DISTINCT who, session FROM test.seen}), 'alice|onceq_worker', 'everything ran as their owner');
is(query($node, q{SELECT string_agg(DISTINCT what, ' ' ORDER BY what) FROM test.seen WHERE what NOT LIKE 'attack%'}), 'before_delete default deferred deferred_archive index', 'triggers, deferred ones, defaults and expressions');
is(query($node, q{SELECT string_agg(DISTINCT what, ', ') FROM test.seen WHERE what LIKE 'attack:%'}), '', 'nothing got out');
as('alice', q{INSERT INTO alice.hostile SELECT '2000-01-01', 'x' FROM generate_series(1, 3)});
for my $user (qw(postgres oscar))
{
	query($node, q{TRUNCATE test.seen; SELECT onceq.set_archive_policy('alice.hostile', 'at', '1 day', 'alice.hostile_archive', not_before => localtime + interval '1 h', not_after => localtime + interval '2 h')});
	as('alice', q{INSERT INTO alice.hostile SELECT '2000-01-01', 'x' FROM generate_series(1, 3)});
	is(as($user, q{CALL onceq.archive('alice.hostile'); SELECT current_user, current_setting('role'), current_setting('search_path')}), "$user|none|\"\$user\", public", "$user is who he was after the CALL");
	is(query($node, q{SELECT DISTINCT who, session FROM test.seen}), "alice|$user", "… and everything ran as the owner");
	is(query($node, q{SELECT count(*) FROM test.seen WHERE what LIKE 'attack:%'}), 0, '… and nothing got out');
}
is(query($node, q{SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'}), 'f', 'she is nobody special');
is(query($node, q{SELECT count(*) FROM alice.hostile}), 0, 'all was archived');

# ---- rights that go

create_events($node, 'bob.events', 'bob');
as('bob', q{SELECT onceq.set_archive_policy('bob.events', 'at', '1 day')});
query($node, q{ALTER TABLE bob.events OWNER TO alice});
add_events($node, 'bob.events', 5);
policy_is($node, 'bob.events', q{failures > 0 AND last_error LIKE '%does not belong to role "bob" any more%'}, 'who gave his table away cannot have it archived');
is(query($node, q{SELECT count(*) FROM bob.events}), 15, 'nothing was');
as('alice', q{SELECT onceq.set_archive_policy('bob.events', 'at', '1 day')});
policy_is($node, 'bob.events', 'total_rows = 5', 'the new owner can');

# ---- arguments

my $events = q{onceq.set_archive_policy('alice.events', };
for my $case (
	[ q{NULL, '1 day')}, '22004' ], [ q{'at', NULL)}, '22004' ], [ q{'at', '1 day', batch => NULL)}, '22004' ], [ q{'at', '1 day', vacuum_after => NULL)}, '22004' ],
	[ q{'at', '-1 s')}, '22023' ], [ q{'at', '103 years')}, '22023' ], [ q{'at', '178000000 years')}, '22023' ],
	[ q{'at', '1 day', batch => 0)}, '22023' ], [ q{'at', '1 day', batch => 100001)}, '22023' ],
	[ q{'at', '1 day', not_before => '10:00', not_after => '10:00')}, '22023' ],
	[ q{'at', '1 day', '')}, '22023' ], [ q{'at', '1 day', 'a.b.c.d')}, '42601' ], [ q{'at', '1 day', 'nowhere.x')}, '3F000' ],
	[ q{'at', '1 day', 'a"; DROP TABLE x')}, '42602' ], [ q{'at', '1 day', 'alice.events')}, '22023' ],
	[ q{'nothing', '1 day')}, '42703' ], [ q{'what', '1 day')}, '42804' ], [ q{'ctid', '1 day')}, '42703' ], [ q{'xmin', '1 day')}, '42703' ])
{
	is(sqlstate_of($node, "SELECT $events$case->[0]"), $case->[1], "refused: $case->[0]");
}
is(sqlstate_of($node, q{CREATE VIEW v AS SELECT now() AS at; SELECT onceq.set_archive_policy('v', 'at', '1 day')}), '42809', 'a view');
is(sqlstate_of($node, q{CREATE TEMP TABLE t (at date); SELECT onceq.set_archive_policy('t', 'at', '1 day')}), '42809', 'a temporary table');
is(sqlstate_of($node, q{SELECT onceq.set_archive_policy('pg_stat_archiver', 'at', '1 day')}), '42809', 'a system view');
is(sqlstate_of($node, q{SELECT onceq.set_archive_policy('pg_class', 'at', '1 day')}), '42809', 'a system catalog');
is(sqlstate_of($node, q{SELECT onceq.set_archive_policy(4294967295::regclass, 'at', '1 day')}), '42P01', 'no table');
is(sqlstate_of($node, q{SELECT onceq.set_archive_policy(NULL, 'at', '1 day')}), '22004', 'none at all');
is(sqlstate_of($node, q{SELECT onceq.drop_archive_policy(NULL)}), '22004', 'nor dropped');
as('alice', q{SELECT onceq.drop_archive_policy('alice.events')});
is(sqlstate_of($node, q{SELECT onceq.drop_archive_policy('alice.events')}), '42704', 'dropped once');

log_is_clean($node);
done_testing();
