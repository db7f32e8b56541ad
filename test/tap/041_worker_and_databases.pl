# Statements that need a database for themselves work while its worker runs, again and again: DROP
# DATABASE, with FORCE too, RENAME, SET TABLESPACE, CREATE DATABASE … TEMPLATE. The worker is back
# afterwards. Who may not do such a thing cannot disturb the worker.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqWorker;

my $node = start_node('primary');

# psql's result and message as one text; empty: it went well.
sub try
{
	my ($sql, %options) = @_;
	my ($result, $stdout, $stderr) = $node->psql('postgres', $sql, %options);
	return $result == 0 ? '' : $stderr;
}

# A database with a running worker; returns the worker's pid.
sub create_database
{
	my ($name, $owner) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name" . ($owner ? " OWNER $owner" : ''));
	$node->safe_psql($name, 'CREATE EXTENSION onceq');
	return wait_for_worker($node, $name);
}

my $elsewhere = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$elsewhere'");
$node->safe_psql('postgres', 'CREATE EXTENSION onceq');
$node->safe_psql('postgres', 'CREATE ROLE tenant LOGIN CREATEDB; CREATE ROLE stranger LOGIN CREATEDB');
wait_for_worker($node, 'postgres');

for my $i (1 .. 5)
{
	create_database('shop');
	is(try('DROP DATABASE shop'), '', 'DROP DATABASE');
	ok(wait_for_no_worker($node, 'shop'), 'and its worker is forgotten');
}
for my $i (1 .. 5)
{
	create_database('shop', 'tenant');
	is(try('DROP DATABASE shop WITH (FORCE)', extra_params => [ '-U', 'tenant' ]),
		'', 'DROP DATABASE with FORCE, by an owner who may not signal the worker');
}

# Faster than the launcher.
for my $i (1 .. 5)
{
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->safe_psql('shop', 'CREATE EXTENSION onceq');
	is(try('CREATE DATABASE copy TEMPLATE shop'), '', 'copied right after CREATE EXTENSION');
	ok(wait_for_worker($node, 'copy'), 'the copy gets a worker') if $i % 2;
	is(try('DROP DATABASE shop'), '', 'dropped right after that');
	is(try('DROP DATABASE copy'), '', 'and the copy');
}

my $worker = create_database('shop', 'tenant');
for my $i (1 .. 5)
{
	is(try("ALTER DATABASE shop RENAME TO store"), '', 'RENAME');
	$worker = wait_for_worker($node, 'store', $worker);
	is(try("ALTER DATABASE store RENAME TO shop"), '', 'and back');
	$worker = wait_for_worker($node, 'shop', $worker);
}
for my $i (1 .. 5)
{
	is(try('ALTER DATABASE shop SET TABLESPACE elsewhere'), '', 'SET TABLESPACE');
	$worker = wait_for_worker($node, 'shop', $worker);
	is(try('ALTER DATABASE shop SET TABLESPACE pg_default'), '', 'and back');
	$worker = wait_for_worker($node, 'shop', $worker);
}
for my $i (1 .. 5)
{
	is(try("CREATE DATABASE copy TEMPLATE shop"), '', 'CREATE DATABASE … TEMPLATE');
	$worker = wait_for_worker($node, 'shop', $worker);
	ok(wait_for_worker($node, 'copy'), 'the copy has a worker too');
	is(try('DROP DATABASE copy'), '', 'the copy can be dropped');
}

# A statement that fails: somebody else is in the database.
my $session = $node->background_psql('shop');
like(try('DROP DATABASE shop'), qr/being accessed by other users/, 'DROP DATABASE fails because of a session');
$session->quit;
wait_for_worker($node, 'shop', $worker);
pass('then the worker is back');

# Others can do nothing, and disturb nobody.
$worker = wait_for_worker($node, 'shop');
for my $statement (
	'DROP DATABASE shop',
	'DROP DATABASE shop WITH (FORCE)',
	'ALTER DATABASE shop RENAME TO mine',
	'ALTER DATABASE shop SET TABLESPACE elsewhere',
	'CREATE DATABASE mine TEMPLATE shop')
{
	like(try($statement, extra_params => [ '-U', 'stranger' ]),
		qr/must be owner|permission denied/, "$statement by a stranger");
}
is(worker_pid($node, 'shop'), $worker, 'his attempts did not move the worker');

# A worker in the template of all new databases.
$node->safe_psql('template1', 'CREATE EXTENSION onceq');
$worker = wait_for_worker($node, 'template1');
for my $i (1 .. 5)
{
	is(try('CREATE DATABASE child'), '', 'CREATE DATABASE while template1 has a worker');
	ok(wait_for_worker($node, 'child'), 'which the new database has, too');
	is(try('DROP DATABASE child'), '', 'dropped');
	$worker = wait_for_worker($node, 'template1');
}

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|exit code 2/, 'nothing odd in the log');
done_testing();
