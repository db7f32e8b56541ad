# What the tests of launcher and workers share. Workers are looked for in pg_stat_activity; what the
# view onceq.workers says is compared with that.
package OnceqWorker;

use strict;
use warnings;
use Exporter 'import';
use OnceqInput;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_node worker_pid wait_for_worker wait_for_no_worker stop_worker kill_process launcher_pid);

# A running server with these settings on top of the usual ones.
sub start_node
{
	my ($name, %settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', "$_ = $settings{$_}") for sort keys %settings;
	$node->start;
	return $node;
}

sub launcher_pid
{
	my ($node) = @_;
	my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'onceq launcher'";
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($launcher) l")
	  or die 'there is no launcher';
	return $node->safe_psql('postgres', $launcher);
}

# 0 if there is none.
sub worker_pid
{
	my ($node, $database) = @_;
	return $node->safe_psql('postgres',
		"SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = 'onceq worker' AND datname = '$database'"
	);
}

# Waits until the database has exactly one worker that runs, another than this one; returns its pid.
sub wait_for_worker
{
	my ($node, $database, $other) = @_;
	$other //= 0;
	$node->poll_query_until(
		$database, qq{
		SELECT count(*) = 1 AND bool_and(a.pid <> $other AND w.pid = a.pid AND w.state = 'running')
		FROM pg_stat_activity a LEFT JOIN onceq.workers w ON w.database = a.datname
		WHERE a.backend_type = 'onceq worker' AND a.datname = '$database'})
	  or die "database $database gets no worker";
	return worker_pid($node, $database);
}

# Waits until neither a worker is in the database nor the launcher wants one there.
sub wait_for_no_worker
{
	my ($node, $database) = @_;
	return $node->poll_query_until(
		'postgres', qq{
		SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'onceq worker' AND datname = '$database')
		AND NOT EXISTS (SELECT FROM onceq.workers WHERE database = '$database')});
}

# Stops the worker with SIGSTOP while it sleeps, and so holds no lock that others would wait for; returns its pid.
sub stop_worker
{
	my ($node, $database) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $deadline)
	{
		my $worker = wait_for_worker($node, $database);
		kill_process('STOP', $worker);
		return $worker
		  if $node->safe_psql($database, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $worker") eq 'Extension';
		kill_process('CONT', $worker);
	}
	die 'the worker never sleeps';
}

sub kill_process
{
	my ($signal, $pid) = @_;
	kill($signal, $pid) == 1 or die "cannot send SIG$signal to $pid";
}

1;
