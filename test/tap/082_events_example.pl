# examples/events counts each event once: two consumers race for all of them, the source is set back, and
# consumers die between effect and commit of the offset, and between effect and commit of the transaction.
use strict;
use warnings;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this is no Debian system with python3-psycopg'
  unless system('/usr/bin/python3 -c "import psycopg" 2>/dev/null') == 0;

my $example = "$ENV{ONCEQ_SOURCE}/examples/events";
local $ENV{TEMP_CONFIG} = $ENV{ONCEQ_RELEASE_CONF};
my $node = start_node('events_example');
$node->safe_psql('postgres', slurp_file("$example/schema.sql"));
local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres',
	PYTHONDONTWRITEBYTECODE => 1);
my @python = ('env', 'PGUSER=teller', '/usr/bin/python3');

sub start_consumer
{
	my ($output, @options) = @_;
	return IPC::Run::start([ @python, "$example/consumer.py", @options ], '>', $output, '2>&1');
}

# All at once; those that crash are started again.
my ($ada, $bob, $cyd) = ('', '', '');
my @racers = (start_consumer(\$ada, 'ada', '--rewind'), start_consumer(\$bob, 'bob', '--batch', 7, '--rewind'));
my ($runs, $exit) = (0, 3);
while ($exit == 3 && $runs++ < 1000)
{
	my $consumer = start_consumer(\$cyd, 'cyd', '--crash', '--batch', 5);
	$consumer->finish;
	$exit = $consumer->full_result >> 8;
}
is($exit, 0, 'a consumer that crashes comes to the end');
ok($_->finish, 'the others do, too') or diag("$ada$bob") for @racers;

# The whole source again, as when somebody resets its offsets, by consumers that crash and by one that does not.
my $crashes = 0;
for (1 .. 6)
{
	query($node, 'TRUNCATE source_offset');
	my $consumer = start_consumer(\$cyd, 'dan', '--crash');
	$consumer->finish;
	$crashes++ if $consumer->full_result >> 8 == 3;
}
cmp_ok($crashes, '>', 0, 'a consumer crashes');
query($node, 'TRUNCATE source_offset');
command_like([ @python, "$example/consumer.py", 'eve' ], qr/: 0 of 1000 events were new/,
	'a source that is read again from the beginning brings nothing new');

command_like([ @python, "$example/check.py" ], qr/^1000 events processed, 0 of them twice; 20 accounts, 0 wrong$/,
	'each event is counted once');
is(query($node, 'SELECT sum(payments) FROM account'), 1000, 'the accounts say so');
log_is_clean($node);
done_testing();
