# Whatever step of archiving fails, in a session or in the process of its own, by an error, a fatal one or a
# kill: no row is lost, none is there twice, and the next run goes on.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqFaults qw(points_for);
use OnceqNode;
use OnceqArchive;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = archive_node('faults');
my $tables = 0;

# A new table for each, with 30 old rows and 10 that are not; nothing archives it by itself.
sub new_table
{
	my $table = 'events_' . ++$tables;
	create_events($node, $table);
	query($node, "CREATE INDEX ON $table (at)") if $tables % 2;
	add_events($node, $table, 30);
	query($node, "SELECT onceq.set_archive_policy('$table', 'at', '1 day', '${table}_archive', batch => 10, not_before => localtime + interval '1 h', not_after => localtime + interval '2 h')");
	query($node, "DROP TABLE ${table}_archive");
	return $table;
}

# Every row once.
sub conserved
{
	my ($table, $what) = @_;
	my $there = query($node, "SELECT to_regclass('${table}_archive') IS NOT NULL");
	my $archive = $there eq 't' ? "SELECT id FROM ${table}_archive" : 'SELECT 1::bigint WHERE false';
	return is(query($node, "SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM $table UNION ALL $archive) s"), '40|40', $what);
}

sub completes
{
	my ($table, $what) = @_;
	query($node, "CALL onceq.archive('$table')");
	return is(counts($node, $table, "${table}_archive"), '10|30', $what);
}

for my $point (points_for('archive'))
{
	for my $action (qw(error fatal kill))
	{
		my $table = new_table();
		my $offset = -s $node->logfile;
		my (undef, undef, $stderr) = $node->psql('postgres', "SET onceq.fault = '$action at $point';\nCALL onceq.archive('$table')", on_error_stop => 0);
		like($stderr, qr/fault at|connection to server was lost|server closed the connection/, "$action at $point: met");
		wait_until_restarted($node, $offset) if $action eq 'kill';
		conserved($table, "$action at $point: conserved");
		completes($table, "$action at $point: goes on");
	}
	my $table = new_table();
	my $offset = -s $node->logfile;
	query($node, "ALTER ROLE onceq_worker SET onceq.fault = 'error at $point'");
	query($node, "SELECT onceq.set_archive_policy('$table', 'at', '1 day', '${table}_archive', batch => 10); DROP TABLE ${table}_archive");
	ok($node->wait_for_log(qr/fault at "$point"/, $offset), "$point: met by the process");
	query($node, 'ALTER ROLE onceq_worker RESET onceq.fault');
	conserved($table, "$point: conserved");
	completes($table, "$point: goes on");
}
$node->stop;
done_testing();
