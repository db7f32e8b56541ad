# A chore that fails backs off alone, while the others go on; a chore that will not end is cancelled
# when the worker must go; at a shutdown the worker says farewell. Test chores of the testing build do
# this while there is a table of their name in schema test.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqWorker;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('primary');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('postgres', 'CREATE EXTENSION onceq');
$node->safe_psql('shop', 'CREATE EXTENSION onceq');
$node->safe_psql('shop', 'CREATE SCHEMA test; GRANT USAGE ON SCHEMA test TO PUBLIC');
my $worker = wait_for_worker($node, 'shop');

my $chore = "FROM onceq.worker_chores WHERE database = 'shop' AND chore";

# Failing.
$node->safe_psql('shop', 'CREATE TABLE test.failure ()');
ok($node->poll_query_until('shop', "SELECT failures >= 2 $chore = 'test failure'"), 'a chore fails, more than once');
is($node->safe_psql('shop', "SELECT last_error $chore = 'test failure'"), 'this chore fails for a test', 'why is shown');
my $others = $node->safe_psql('shop', "SELECT runs $chore = 'test stall'");
my $fails = $node->safe_psql('shop', "SELECT runs $chore = 'test failure'");
ok($node->poll_query_until('shop', "SELECT runs > $others + 5 $chore = 'test stall'"), 'other chores go on');
cmp_ok($node->safe_psql('shop', "SELECT runs $chore = 'test failure'"), '<', $fails + 5, 'the failing one is tried less often');
is($node->safe_psql('shop', "SELECT sum(failures) $chore <> 'test failure'"), 0, 'they do not fail');
my ($result, $stdout, $stderr) = $node->psql('shop', 'CALL onceq.recover()');
like($stderr, qr/this chore fails for a test/, 'by hand it fails too');
$node->safe_psql('shop', 'DROP TABLE test.failure');
$node->safe_psql('shop', 'CALL onceq.recover(); CALL onceq.maintain()');
ok($node->poll_query_until('shop', "SELECT failures = 0 $chore = 'test failure'"), 'it recovers');
is(worker_pid($node, 'shop'), $worker, 'all that time the worker was the same');
my $log = slurp_file($node->logfile);
like($log, qr/this chore fails for a test\n.*CONTEXT:.*database "shop", chore "test failure"/, 'the log names database and chore');

# Only operators and administrators may.
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN; CREATE ROLE operator LOGIN IN ROLE onceq_operator');
for my $procedure (qw(recover maintain))
{
	($result, $stdout, $stderr) = $node->psql('shop', "CALL onceq.$procedure()", extra_params => [ '-U', 'nobody' ]);
	like($stderr, qr/permission denied/, "$procedure() is not for everybody");
	($result, $stdout, $stderr) = $node->psql('shop', "CALL onceq.$procedure()", extra_params => [ '-U', 'operator' ]);
	is($result, 0, "$procedure() by an operator");
}

# Stalling, as long as it takes, whatever has been set for all transactions.
$node->safe_psql('postgres', q{ALTER ROLE onceq_worker SET transaction_timeout = '200ms'}) if $node->pg_version >= 17;
sub stall
{
	$node->safe_psql('shop', 'CREATE TABLE IF NOT EXISTS test.stall ()');
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'shop' AND query = 'test stall' AND state = 'active' AND now() - query_start > '0.5 s'")
	  or die 'the chore does not stall';
}
stall();
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE shop');
pass('a stalling chore is cancelled for CREATE DATABASE');
$node->safe_psql('postgres', 'DROP DATABASE copy');
stall();
$worker = worker_pid($node, 'shop');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
wait_for_worker($node, 'shop', $worker);
pass('a stalling worker can be terminated');

# Farewell.
stall();
$node->safe_psql('shop', 'CREATE TABLE test.farewell ()');
$node->stop('fast');
$log = slurp_file($node->logfile);
is(scalar(() = $log =~ /the worker says farewell/g), 1, 'a shutdown waits for the farewell, even of a stalling worker');
$node->start;
$node->safe_psql('shop', 'DROP TABLE test.stall');
$worker = wait_for_worker($node, 'shop');
$node->safe_psql('postgres', 'DROP DATABASE shop');
$log = slurp_file($node->logfile);
is(scalar(() = $log =~ /the worker says farewell/g), 1, 'none when its database goes');
unlike($log, qr/PANIC|TRAP|exit code 2/, 'nothing odd in the log');
done_testing();
