# examples/packages works as it says: each package record becomes one job, each job that a worker ended has
# exactly one result, a worker that is told to stop gives back what it has not begun, and a worker that is
# killed costs a failed attempt of what it held, and no more.
use strict;
use warnings;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $psycopg = system('/usr/bin/python3 -c "import psycopg" 2>/dev/null') == 0;
plan skip_all => 'this is no Debian system with python3-psycopg' unless -r '/var/lib/dpkg/status' && $psycopg;

my $example = "$ENV{ONCEQ_SOURCE}/examples/packages";
local $ENV{TEMP_CONFIG} = $ENV{ONCEQ_RELEASE_CONF};
my $node = start_node('example');
$node->safe_psql('postgres', slurp_file("$example/schema.sql"));
local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');

command_like([ 'env', 'PGUSER=registrar', '/usr/bin/python3', "$example/produce.py" ],
	qr/records stored/, 'the producer runs');
my $jobs = query($node, 'SELECT count(*) FROM package');
is(query($node, q{SELECT ready FROM onceq.queue_stats}), $jobs, 'a job for each record');

sub start_worker
{
	my ($name) = @_;
	my $output = '';
	my $worker = IPC::Run::start([ 'env', 'PGUSER=inspector', '/usr/bin/python3', "$example/worker.py", $name ],
		'>', \$output, '2>&1');
	$node->poll_query_until('postgres', "SELECT count(*) >= 5 FROM inspection WHERE worker = '$name'")
	  or die "no results: $output";
	return $worker;
}

my $stopped = start_worker('stopped');
$stopped->signal('TERM');
ok($stopped->finish, 'a worker that is told to stop ends well');
is(query($node, 'SELECT running FROM onceq.queue_stats'), 0, 'and holds nothing');
is(query($node, q{SELECT count(*) FROM onceq.jobs('inspections', count => 10000) WHERE error IS NOT NULL}),
	0, 'and no attempt has failed');

my $killed = start_worker('killed');
$killed->kill_kill;
$node->poll_query_until('postgres', 'SELECT running = 0 FROM onceq.queue_stats') or die 'the lease does not end';
cmp_ok(query($node, q{SELECT count(*) FROM onceq.jobs('inspections', count => 10000) WHERE error IS NOT NULL}),
	'<=', 8, 'a worker that is killed costs an attempt of what it held');

is( query($node, 'SELECT count(*) FROM inspection'),
	query($node, q{SELECT count(*) FROM onceq.jobs('inspections', 'succeeded', count => 10000)}),
	'a result for each job that was ended');
is(query($node, 'SELECT count(DISTINCT job) = count(*) FROM inspection'), 't', 'one each');
audit_is_empty($node, 'inspections', 'in the end');
log_is_clean($node);
done_testing();
