# A database with the extension has one worker, whatever happens to processes and servers: it appears
# after CREATE EXTENSION, after each kind of restart, after the death of the worker or the launcher by
# SIGKILL and SIGTERM, and on a promoted standby.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqWorker;

my $node = start_node('primary', 'wal_level' => 'replica', 'max_wal_senders' => 4);
my $launcher = launcher_pid($node);
ok($launcher, 'the launcher runs without any database to work for');
is(worker_pid($node, 'postgres'), 0, 'no worker without the extension');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'onceq%'"),
	0, 'and no role');

$node->safe_psql('postgres', 'CREATE EXTENSION onceq');
my $worker = wait_for_worker($node, 'postgres');
pass('a worker appears after CREATE EXTENSION');
is( $node->safe_psql('postgres', "SELECT usename || ' ' || application_name FROM pg_stat_activity WHERE pid = $worker"),
	'onceq_worker onceq worker',
	'it works as onceq_worker');

$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION onceq; CREATE EXTENSION onceq; ROLLBACK');
is(wait_for_worker($node, 'postgres'), $worker, 'it stays when a DROP EXTENSION is rolled back');

# Restarts of the server.
for my $mode (qw(fast immediate smart))
{
	$node->stop($mode);
	$node->start;
	$worker = wait_for_worker($node, 'postgres', $worker);
	pass("a worker appears after a $mode restart");
}

# SIGTERM ends one process only.
for my $i (1 .. 20)
{
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
	$worker = wait_for_worker($node, 'postgres', $worker);
}
pass('it comes back after each of 20 terminations');
for my $i (1 .. 3)
{
	$launcher = launcher_pid($node);
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'onceq launcher' AND pid <> $launcher");
	is(wait_for_worker($node, 'postgres'), $worker, 'the worker outlives its launcher');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
	$worker = wait_for_worker($node, 'postgres', $worker);
	pass('the next launcher restarts it');
}

# A cancel while there is nothing to cancel.
$node->safe_psql('postgres', "SELECT pg_cancel_backend($worker) FROM generate_series(1, 20)");
wait_for_worker($node, 'postgres');
pass('a cancelled worker goes on, or comes back');

# SIGKILL makes the postmaster restart all processes, and forget workers.
for my $i (1 .. 10)
{
	kill_process('KILL', $worker = wait_for_worker($node, 'postgres'));
	$worker = wait_for_worker($node, 'postgres', $worker);
}
pass('it comes back after each of 10 kills');
for my $i (1 .. 5)
{
	kill_process('KILL', $launcher = launcher_pid($node));
	$worker = wait_for_worker($node, 'postgres', $worker);
	isnt(launcher_pid($node), $launcher, 'so does the launcher');
}

# A standby has no worker until it is promoted.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is( $standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'onceq%'"),
	0,
	'neither launcher nor worker on a standby');
$standby->promote;
ok(wait_for_worker($standby, 'postgres'), 'a worker appears after promotion');

for my $server ($node, $standby)
{
	$server->stop;
	unlike(slurp_file($server->logfile), qr/PANIC|TRAP|exit code 2|did not exit/, 'nothing odd in the log');
}
done_testing();
