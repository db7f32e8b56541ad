# pg_cron in the place of the worker, live: onceq.use_pg_cron() registers its jobs, and they do what is due within
# a minute, while a passive worker does nothing of it but still makes room for a producer; a job of an application that
# enqueues is run, too. leave_pg_cron() takes all back. What doc/guide/pg_cron.md shows is run.
use strict;
use warnings;
use OnceqNode;
use OnceqWorker qw(wait_for_worker);
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $folder = `pg_config --sharedir`);
plan skip_all => "pg_cron is not installed for this PostgreSQL ($folder)" unless -e "$folder/extension/pg_cron.control";

my $node = start_node('cron',
	shared_preload_libraries => "'onceq, pg_cron'",
	'cron.database_name' => "'postgres'",
	'cron.use_background_workers' => 'on',
	'onceq.worker_passive' => 'on',
	'onceq.worker_naptime' => 50);
query($node, 'CREATE DATABASE shop');
query($node, 'CREATE EXTENSION onceq', 'shop');
wait_for_worker($node, 'postgres');
is(sqlstate_of($node, 'SELECT onceq.use_pg_cron()'), '55000', 'without pg_cron that is said');
is(sqlstate_of($node, 'SELECT onceq.leave_pg_cron()'), '55000', 'in both ways');
query($node, 'CREATE EXTENSION pg_cron');

# ---- registered

my $registered = q{SELECT string_agg(concat_ws('|', jobname, schedule, command, database, username), E'\n' ORDER BY jobname) FROM cron.job};
is(query($node, q{SELECT onceq.use_pg_cron(recover => '5 4 * * *'), onceq.use_pg_cron()}), '3|3', 'three jobs, each time');
my $ours = "onceq archive postgres|0 * * * *|CALL onceq.archive()|postgres|postgres\n"
  . "onceq maintain postgres|* * * * *|CALL onceq.maintain()|postgres|postgres\n"
  . 'onceq recover postgres|* * * * *|CALL onceq.recover()|postgres|postgres';
is(query($node, $registered), $ours, 'the later ones remain');
query($node, 'CREATE ROLE admin LOGIN IN ROLE onceq_admin; CREATE ROLE nobody LOGIN; GRANT USAGE ON SCHEMA cron TO admin, nobody');
my @as = (extra_params => [ '-U', 'nobody' ]);
is(sqlstate_of($node, 'SELECT onceq.use_pg_cron()', 'postgres', @as), '42501', 'not for everybody');
is(sqlstate_of($node, 'SELECT onceq.leave_pg_cron()', 'postgres', @as), '42501', 'neither is the way back');
is(sqlstate_of($node, q{SELECT onceq.use_pg_cron('at noon')}), '22023', 'no schedule');
is(sqlstate_of($node, q{SELECT onceq.use_pg_cron(database => 'none')}), '3D000', 'no database');
is(query($node, $registered), $ours, 'nothing of this did anything');
is($node->psql('postgres', 'SELECT onceq.use_pg_cron(maintain => NULL, archive => NULL)', extra_params => [ '-U', 'admin' ]), 0, 'an administrator may');
is(query($node, q{SELECT onceq.leave_pg_cron(), onceq.use_pg_cron(archive => '* * * * *')}), '4|3', 'what others have registered is replaced');
is(query($node, q{SELECT onceq.use_pg_cron(archive => '* * * * *', database => 'shop')}), 3, 'for another database');

# ---- what falls due, here and in the other database

my $work = q{
	SELECT onceq.create_queue('work', backoff_base => '0'), onceq.create_queue('room');
	SELECT onceq.create_consumer('c', retention => '1 h');
	SELECT onceq.once('c', 'old');
	UPDATE onceq.processed_event SET processed_at = now() - interval '3 h';
	CREATE TABLE visit (at timestamptz);
	INSERT INTO visit VALUES (now() - interval '1 day'), (now());
	SELECT onceq.set_archive_policy('visit', 'at', '1 h', 'visit_archive');
	SELECT onceq.enqueue('work', '"lost"');
	SELECT count(*) FROM onceq.claim('work', lease => '100 ms');
	SELECT onceq.enqueue('work', '"late"', delay => '100 ms');
};
query($node, $work, $_) for qw(postgres shop);
query($node, q{SELECT onceq.create_queue('reports');
	SELECT cron.schedule('report', '* * * * *', $$SELECT onceq.enqueue('reports', '{"of": "this minute"}')$$)});
query($node, "CALL test.fill('room', 400000)");
is(query($node, q{SELECT ready FROM onceq.queue_stats WHERE queue = 'room'}), 400000, 'a passive worker makes room');

for my $database (qw(postgres shop))
{
	ok($node->poll_query_until($database, q{SELECT
			(SELECT count(*) = 2 FROM onceq.jobs('work', 'ready')) AND NOT EXISTS (SELECT FROM onceq.processed_events)
			AND (SELECT count(*) = 1 FROM visit)}),
		"$database: what is due is done");
	is(query($node, q{SELECT payload->>0, attempt FROM onceq.claim('work', 10) ORDER BY id}, $database), "lost|2\nlate|1", 'as it should be');
}
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM onceq.jobs('reports', 'ready')}), 'a job of the application enqueues');
is(query($node, q{SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'}), 0, 'no run failed');
is(query($node, q{SELECT string_agg(DISTINCT chore, ', ') FROM onceq.worker_chores WHERE runs > 0}),
	'keep the lease journal, prepare room', 'the worker did only what sessions wait for');

# ---- and back

is(query($node, q{SELECT onceq.leave_pg_cron('shop'), onceq.leave_pg_cron(), onceq.leave_pg_cron()}), '3|3|0', 'removed');
is(query($node, 'SELECT string_agg(jobname, $$ $$) FROM cron.job'), 'report', 'but not the application\'s own');

my $guide = slurp_file("$ENV{ONCEQ_SOURCE}/doc/guide/pg_cron.md");
my @blocks = $guide =~ /^```pgsql\n(.*?)^```$/msg;
cmp_ok(scalar(@blocks), '>', 3, 'the guide has examples');
is(sqlstate_of($node, $_), '', (split /\n/)[0]) for @blocks;

query($node, 'ALTER SYSTEM SET onceq.worker_passive = off');
$node->reload;
ok($node->poll_query_until('postgres', q{
	SELECT bool_and(runs > 0) FROM onceq.worker_chores WHERE database = 'postgres' AND chore NOT LIKE 'test %'}), 'the worker does its chores again');
log_is_clean($node);
done_testing();
