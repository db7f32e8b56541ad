# The worker goes when the extension is dropped and comes when it is created, in many databases and
# many times. What keeps it from working heals by itself: no free background worker, no free slot, no
# privilege to connect.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqWorker;

my $node = start_node('primary');
$node->safe_psql('postgres', 'CREATE EXTENSION onceq');
my $worker = wait_for_worker($node, 'postgres');

# Without a pause the next extension is there before the worker misses the last one.
for my $i (1 .. 10)
{
	$node->safe_psql('postgres', 'DROP EXTENSION onceq; CREATE EXTENSION onceq');
	$worker = wait_for_worker($node, 'postgres', $worker);
}
pass('DROP and CREATE EXTENSION 10 times');

for my $i (1 .. 10)
{
	$node->safe_psql('postgres', 'DROP EXTENSION onceq');
	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'onceq worker'")
	  or die 'the worker stays';
	$node->safe_psql('postgres', 'CREATE EXTENSION onceq');
	wait_for_worker($node, 'postgres');
}
pass('the same, waiting until the worker has left');

# While a transaction holds the extension to drop it, chores wait for nothing and raise no error.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; DROP EXTENSION onceq');
my $rounds = "SELECT state_change FROM pg_stat_activity WHERE backend_type = 'onceq worker'";
my $round = $node->safe_psql('postgres', $rounds);
ok($node->poll_query_until('postgres', "SELECT ($rounds) > '$round'"), 'the worker does not wait for a DROP EXTENSION');
$session->query_safe('ROLLBACK');
$session->quit;
my $runs = $node->safe_psql('postgres', 'SELECT sum(runs) FROM onceq.worker_chores');
ok($node->poll_query_until('postgres', "SELECT sum(runs) > $runs FROM onceq.worker_chores"),
	'chores go on when it is rolled back');

# The role may not connect.
$node->safe_psql('postgres', 'CREATE DATABASE closed');
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE closed FROM PUBLIC');
$node->safe_psql('closed', 'CREATE EXTENSION onceq');
$worker = wait_for_worker($node, 'closed');
$node->safe_psql('closed', 'REVOKE CONNECT ON DATABASE closed FROM onceq_worker; DROP EXTENSION onceq');
ok(wait_for_no_worker($node, 'closed'), 'no worker is wanted where it is not needed');
$node->safe_psql('closed', 'CREATE EXTENSION onceq');
wait_for_worker($node, 'closed');
pass('CREATE EXTENSION lets the role connect');
$node->safe_psql('closed', 'REVOKE CONNECT ON DATABASE closed FROM onceq_worker');
my $offset = -s $node->logfile;
$worker = worker_pid($node, 'closed');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$node->wait_for_log(qr/role "onceq_worker" may not connect\n.*GRANT CONNECT ON DATABASE closed TO onceq_worker/, $offset);
pass('it is logged when the role may not connect');
$node->safe_psql('closed', 'GRANT CONNECT ON DATABASE closed TO onceq_worker');
wait_for_worker($node, 'closed', $worker);
pass('the worker comes when it may');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|exit code 2|lock timeout|deadlock/, 'nothing odd in the log');

# No background worker is free: of three, two are taken by the launchers, ours and PostgreSQL's.
$offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "max_worker_processes = 3");
$node->start;
$node->wait_for_log(qr/no background worker is free for onceq in database "(postgres|closed)"/, $offset);
pass('a missing background worker is logged');
my $states = "SELECT database FROM onceq.workers WHERE database IN ('postgres', 'closed') AND state";
$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM onceq.workers WHERE database IN ('postgres', 'closed') AND state IN ('running', 'backing off')")
  or die 'neither works';
my $lucky = $node->safe_psql('postgres', "$states = 'running'");
my $unlucky = $node->safe_psql('postgres', "$states = 'backing off'");
isnt($unlucky, $lucky, 'one database has the only worker, the other waits');
$node->safe_psql($lucky, 'DROP EXTENSION onceq');
wait_for_worker($node, $unlucky);
pass('it gets the one that has become free');
$log = slurp_file($node->logfile, $offset);
is(scalar(() = $log =~ /no background worker is free for onceq in database "$unlucky"/g), 1, 'it was logged once');

# No slot is free.
$node->safe_psql($lucky, 'CREATE EXTENSION onceq');
$offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "max_worker_processes = 32\nonceq.max_databases = 1");
$node->restart;
$node->wait_for_log(qr/no room for another database/, $offset);
pass('a full table is logged');
($lucky) = $node->safe_psql('postgres', 'SELECT database FROM onceq.workers');
$unlucky = $lucky eq 'closed' ? 'postgres' : 'closed';
$node->safe_psql($lucky, 'DROP EXTENSION onceq');
wait_for_worker($node, $unlucky);
pass('the slot goes to the next database');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|exit code 2/, 'nothing odd in the log');
done_testing();
