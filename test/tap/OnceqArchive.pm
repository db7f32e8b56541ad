# What the tests of archiving share: a table of events, and how to wait for a policy.
package OnceqArchive;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

our @EXPORT = qw(archive_node create_events add_events counts archive wait_for_run policy_is archiver_pid);

# A server whose policies run again and again, as fast as they can.
sub archive_node
{
	my ($name, %settings) = @_;
	return start_node($name, 'onceq.archive_interval' => "'1s'", 'onceq.archive_batches_per_second' => 0,
		'onceq.worker_naptime' => "'100ms'", max_worker_processes => 16, %settings);
}

sub create_events
{
	my ($node, $table, $owner) = @_;
	query($node, "CREATE TABLE $table (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, what text)");
	query($node, "ALTER TABLE $table OWNER TO $owner") if $owner;
	return;
}

# That many events older than a day, and ten that are not.
sub add_events
{
	my ($node, $table, $old) = @_;
	return query($node, "INSERT INTO $table (at, what) SELECT now() - interval '2 days' - i * interval '1 s', 'old' FROM generate_series(1, $old) i; "
		  . "INSERT INTO $table (at, what) SELECT now(), 'new' FROM generate_series(1, 10)");
}

# Rows of the table, and of its archive: "10|500".
sub counts
{
	my ($node, $table, $archive) = @_;
	return query($node, "SELECT (SELECT count(*) FROM $table), (SELECT count(*) FROM $archive)");
}

# Archives the table by hand; if the process is at it, again when that has ended.
sub archive
{
	my ($node, $table) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($result, $stdout, $stderr);
	do { ($result, $stdout, $stderr) = $node->psql('postgres', "CALL onceq.archive('$table')", on_error_die => 1); }
	  while $stderr =~ /archived already/ && time < $deadline;
	return;
}

# Tests that this comes to be true of the policy.
sub policy_is
{
	my ($node, $table, $condition, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(
		$node->poll_query_until('postgres', "SELECT $condition FROM onceq.archive_policies WHERE source = '$table'::regclass"),
		$what)
	  || diag(query($node, 'SELECT * FROM onceq.archive_policies'));
}

# A run that began after this call, and went well.
sub wait_for_run
{
	my ($node, $table) = @_;
	my $now = query($node, 'SELECT clock_timestamp()');
	return $node->poll_query_until('postgres',
		"SELECT last_run > '$now' AND failures = 0 FROM onceq.archive_policies WHERE source = '$table'::regclass");
}

# 0: there is none.
sub archiver_pid
{
	my ($node) = @_;
	return query($node, "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = 'onceq archiver'");
}

1;
