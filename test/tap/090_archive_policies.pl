# An archive policy moves what is old enough, no more and no less, into another table or away, by the
# database's archive process and by CALL; what cannot be done is told with the policy while others go on.
# A table follows its policy when it is renamed; a dump carries it along.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqArchive;

my $node = archive_node('policies');

# ---- rows find their way, whatever the table is like

create_events($node, 'plain');
create_events($node, 'indexed');
query($node, 'CREATE INDEX ON indexed (at)');
query($node, q{CREATE TABLE dated (day date, n int, double int GENERATED ALWAYS AS (n * 2) STORED)});
query($node, q{INSERT INTO dated SELECT current_date - i, i FROM generate_series(0, 99) i});
query($node, q{CREATE TABLE local ("At ""it""" timestamp, "select" int)});
query($node, q{INSERT INTO local SELECT localtimestamp - i * interval '1 h', i FROM generate_series(1, 100) i; INSERT INTO local VALUES (NULL, 0), ('infinity', 0), ('-infinity', 0)});
query($node, q{CREATE TABLE parts (id int, at timestamptz) PARTITION BY LIST (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE parts_2 (at timestamptz, id int); ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES IN (2)});
query($node, q{INSERT INTO parts SELECT 1 + i % 2, now() - i * interval '1 h' FROM generate_series(1, 100) i});
add_events($node, $_, 5000) for qw(plain indexed);

query($node, q{SELECT onceq.set_archive_policy('plain', 'at', '1 day', 'plain_archive', batch => 999)});
query($node, q{SELECT onceq.set_archive_policy('indexed', 'at', '1 day', 'indexed_archive', batch => 999)});
query($node, q{SELECT onceq.set_archive_policy('dated', 'day', '10 days', 'dated_archive', 7)});
query($node, q{SELECT onceq.set_archive_policy('local', 'At "it"', '50 h', vacuum_after => false)});
query($node, q{SELECT onceq.set_archive_policy('parts', 'at', '50 h', 'public."Parts archive"', 10)});
wait_for_run($node, $_) for qw(plain indexed dated local parts);
is(counts($node, 'plain', 'plain_archive'), '10|5000', 'without an index');
is(counts($node, 'indexed', 'indexed_archive'), '10|5000', 'with an index');
is(query($node, 'SELECT count(*), count(DISTINCT id) FROM plain_archive'), '5000|5000', 'each row once, under its id');
is(query($node, q{SELECT min(day) = current_date - 10, max(n) FROM dated}), 't|10', 'by date');
is(query($node, q{SELECT count(*), sum(double - n) FROM dated_archive}), '89|' . (4950 - 55), 'with generated columns');
is(query($node, q{SELECT count(*), count("At ""it""") FROM local}), '51|50', 'deleted; rows without a time and of the future stay');
is(counts($node, 'parts', '"Parts archive"'), '49|51', 'row by row from partitions by something else');
is(query($node, q{SELECT count(*) FROM parts_2 WHERE at < now() - interval '51 h'}), 0, 'from all of them');
ok($node->poll_query_until('postgres', q{SELECT bool_and(vacuum_count > 0 AND analyze_count > 0) FROM pg_stat_user_tables WHERE relname IN ('plain', 'indexed', 'dated')}),
	'VACUUM (ANALYZE) follows');
is(query($node, q{SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'local'}), 0, 'if wanted');
is(query($node, q{SELECT total_rows FROM onceq.archive_policies WHERE source = 'plain'::regclass}), 5000, 'rows are counted');

# ---- what others hold is passed over, and comes next time; nobody is kept waiting. Without the process, which would
# be quicker than this test: a passive worker starts none.

$node->append_conf('postgresql.conf', 'onceq.worker_passive = on');
$node->restart;
add_events($node, 'plain', 100);
my ($holder, $writer) = (session($node), session($node));
$holder->query_safe(q{BEGIN; SELECT id FROM plain WHERE what = 'old' ORDER BY id LIMIT 3 FOR UPDATE});
query($node, q{CALL onceq.archive('plain')});
is(counts($node, 'plain', 'plain_archive'), '23|5097', 'rows that are locked stay');
$holder->query_safe(q{UPDATE plain SET at = now() WHERE id = (SELECT min(id) FROM plain WHERE what = 'old'); COMMIT});
query($node, q{CALL onceq.archive('plain')});
is(counts($node, 'plain', 'plain_archive'), '21|5099', 'until they are free; what has become young stays');

# ---- by hand

add_events($node, 'plain', 50);
query($node, q{CALL onceq.archive()});
is(counts($node, 'plain', 'plain_archive'), '31|5149', 'all policies');
is(sqlstate_of($node, q{BEGIN; CALL onceq.archive()}), '25001', 'not in a transaction block');
is(sqlstate_of($node, q{DO $$ BEGIN CALL onceq.archive('plain'); END $$}), '', 'in a DO that is none');
is(sqlstate_of($node, q{SET default_transaction_isolation = 'serializable'; CALL onceq.archive()}), '25001', 'only READ COMMITTED');
is(sqlstate_of($node, q{SET default_transaction_read_only = on; CALL onceq.archive()}), '25006', 'nor read-only');
is(sqlstate_of($node, q{CREATE TABLE other (at timestamptz); CALL onceq.archive('other')}), '42704', 'a table without a policy');

# ---- the time of the day

query($node, q{SELECT onceq.set_archive_policy('plain', 'at', '1 day', 'plain_archive', not_before => localtime + interval '2 h', not_after => localtime + interval '3 h')});
add_events($node, 'plain', 10);
query($node, q{CALL onceq.archive()});
is(counts($node, 'plain', 'plain_archive'), '51|5149', 'not outside of its time of the day');
query($node, q{CALL onceq.archive('plain')});
is(counts($node, 'plain', 'plain_archive'), '41|5159', 'unless it is called for');
$node->append_conf('postgresql.conf', 'onceq.worker_passive = off');
$node->reload;
query($node, q{SELECT onceq.set_archive_policy('plain', 'at', '1 day', 'plain_archive', not_before => localtime - interval '1 h', not_after => localtime + interval '3 h')});
add_events($node, 'plain', 10);
wait_for_run($node, 'plain');
is(counts($node, 'plain', 'plain_archive'), '51|5169', 'within it, also past midnight');

# ---- tables change

query($node, q{ALTER TABLE plain RENAME TO renamed; CREATE SCHEMA elsewhere; ALTER TABLE renamed SET SCHEMA elsewhere});
add_events($node, 'elsewhere.renamed', 10);
wait_for_run($node, 'elsewhere.renamed');
is(counts($node, 'elsewhere.renamed', 'plain_archive'), '61|5179', 'a renamed table is followed');
query($node, q{ALTER TABLE plain_archive RENAME TO old_archive});
add_events($node, 'elsewhere.renamed', 10);
wait_for_run($node, 'elsewhere.renamed');
is(counts($node, 'old_archive', 'plain_archive'), '5179|10', 'who renames the archive gets a new one');
query($node, q{ALTER TABLE elsewhere.renamed ADD COLUMN more int DEFAULT 7});
add_events($node, 'elsewhere.renamed', 10);
policy_is($node, 'elsewhere.renamed', q{failures > 0 AND last_error LIKE '%lacks column "more"%'}, 'an archive that lacks a column is told');
query($node, q{ALTER TABLE plain_archive ADD COLUMN more int, ADD COLUMN archived_at timestamptz DEFAULT now()});
archive($node, 'elsewhere.renamed');
is(query($node, q{SELECT count(*), count(more), count(archived_at) FROM plain_archive}), '20|10|20', 'and taken, when it has it');
query($node, q{ALTER TABLE elsewhere.renamed RENAME COLUMN at TO happened_at});
policy_is($node, 'elsewhere.renamed', q{failures > 0 AND last_error LIKE '%column "at"%'}, 'a renamed column is told');
query($node, q{DROP TABLE indexed});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 4 FROM onceq.archive_policies}), 'the policy of a dropped table goes');

# ---- what fails does so alone

query($node, q{CREATE TABLE bad (at timestamptz); INSERT INTO bad VALUES ('2000-01-01')});
query($node, q{CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$});
query($node, q{CREATE FUNCTION test.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$});
query($node, q{CREATE TRIGGER refuse BEFORE DELETE ON bad FOR EACH ROW EXECUTE FUNCTION test.refuse()});
query($node, q{SELECT onceq.set_archive_policy('bad', 'at', '1 day', 'bad_archive')});
policy_is($node, 'bad', q{failures > 1 AND last_error = 'refused' AND next_run > last_run + interval '5 s'}, 'an error is told, and tried again later and later');
query($node, 'INSERT INTO dated SELECT current_date - 20, i FROM generate_series(1, 10) i');
wait_for_run($node, 'dated');
is(query($node, q{SELECT count(*) FROM dated}), 11, 'the others go on');
is(sqlstate_of($node, q{CALL onceq.archive('bad')}), '', 'by hand it is a warning');
query($node, q{DROP TRIGGER refuse ON bad; CREATE TRIGGER swallow BEFORE INSERT ON bad_archive FOR EACH ROW EXECUTE FUNCTION test.swallow()});
archive($node, 'bad');
policy_is($node, 'bad', q{failures > 0 AND last_error LIKE '%did not take all rows%'}, 'an archive that swallows rows is found out');
is(counts($node, 'bad', 'bad_archive'), '1|0', 'and nothing is lost');
query($node, q{DROP TRIGGER swallow ON bad_archive; CREATE TRIGGER keep BEFORE DELETE ON bad FOR EACH ROW EXECUTE FUNCTION test.swallow()});
archive($node, 'bad');
is(counts($node, 'bad', 'bad_archive'), '1|0', 'a row that will not go is left alone');
query($node, q{DROP TRIGGER keep ON bad});
archive($node, 'bad');
is(counts($node, 'bad', 'bad_archive'), '0|1', 'when all is well it goes');

# ---- one at a time

query($node, q{CREATE TABLE slow (id int PRIMARY KEY, at timestamptz); INSERT INTO slow SELECT i, '2000-01-01' FROM generate_series(1, 10) i});
# Longer than a run waits for a lock: no run may give up because this test is slow.
query($node, q{CREATE FUNCTION test.wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN OLD; END $$});
query($node, q{CREATE TRIGGER wait BEFORE DELETE ON slow FOR EACH STATEMENT EXECUTE FUNCTION test.wait()});
$holder->query_safe('SELECT pg_advisory_lock(42)');
query($node, q{SELECT onceq.set_archive_policy('slow', 'at', '1 day', 'slow_archive', not_before => localtime + interval '1 h', not_after => localtime + interval '2 h')});
start_query($writer, q{CALL onceq.archive('slow')});
ok($node->poll_query_until('postgres', q{SELECT phase = 'moving rows' FROM onceq.archive_progress WHERE source = 'slow'::regclass}), 'a run is seen');
my (undef, undef, $notice) = $node->psql('postgres', q{CALL onceq.archive('slow')});
like($notice, qr/archived already, by process \d+/, 'who comes second is told so');
$holder->query_safe('SELECT pg_advisory_unlock(42)');
end_query($writer);
is(counts($node, 'slow', 'slow_archive'), '0|10', 'the first one does it');
is(query($node, 'SELECT count(*) FROM onceq.archive_progress'), 0, 'and leaves');
close_session($_) for $holder, $writer;

# ---- a policy that is changed while it runs

query($node, q{CREATE TABLE changed (id int, at timestamptz); INSERT INTO changed SELECT i, '2000-01-01' FROM generate_series(1, 100) i});
query($node, q{CREATE TRIGGER wait BEFORE DELETE ON changed FOR EACH STATEMENT EXECUTE FUNCTION test.wait()});
query($node, q{SELECT onceq.set_archive_policy('changed', 'at', '1 day', batch => 10, not_before => localtime + interval '1 h', not_after => localtime + interval '2 h')});
($holder, $writer) = (session($node), session($node));
$holder->query_safe('SELECT pg_advisory_lock(42)');
start_query($writer, q{CALL onceq.archive('changed')});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'}) or die 'it does not wait';
query($node, q{SELECT onceq.drop_archive_policy('changed')});
$holder->query_safe('SELECT pg_advisory_unlock(42)');
end_query($writer);
is(query($node, 'SELECT count(*) FROM changed'), 90, 'when it is dropped, the batch that is under way is the last');
close_session($_) for $holder, $writer;

# ---- a dump

my $policies = q{SELECT source, owner, age_column, older_than, archive_to, batch, not_before, not_after, vacuum_after FROM onceq.archive_policies ORDER BY source::text};
query($node, q{CREATE TABLE gone (at timestamptz); SELECT onceq.set_archive_policy('gone', 'at', '1 day')});
my $before = query($node, $policies . ' LIMIT 100');
$before =~ s/^gone\|.*\n//m;
query($node, q{DROP TABLE gone});
command_ok([ 'pg_dump', '-f', $node->basedir . '/dump.sql', $node->connstr('postgres') ], 'a database with policies is dumped');
query($node, 'CREATE DATABASE copy');
command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/dump.sql', $node->connstr('copy') ], 'and restored');
is(query($node, $policies, 'copy'), $before, 'with its policies');
is(sqlstate_of($node, 'CALL onceq.archive()', 'copy'), '55000', 'a copy archives nothing');
is(query($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'onceq archiver' AND datname = 'copy'}), 0, '… by itself either');
query($node, q{INSERT INTO dated SELECT current_date - 20, 1}, 'copy');
query($node, q{SELECT onceq.adopt(); CALL onceq.archive('dated')}, 'copy');
is(query($node, q{SELECT count(*) FROM dated WHERE day < current_date - 10}, 'copy'), 0, 'until it is adopted');

log_is_clean($node);
done_testing();
