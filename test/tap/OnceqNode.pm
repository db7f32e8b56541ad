# What the tests of the life of servers share: a server with onceq in it, sessions of clients, crashes,
# and what must be true of the log at the end.
package OnceqNode;

use strict;
use warnings;
use Exporter 'import';
use OnceqInput;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_node add_helpers query sqlstate_of rows drain in_order delivers audit_is_empty
  session close_session pid_of error_of start_query start_paused end_query kill_client
  wait_until_stopped kill_backend kill_postmaster wait_until_restarted log_is_clean);

# A running server, in its database postgres the extension and the helpers of add_helpers. Settings are
# those of a test node, and what is given.
sub start_node
{
	my ($name, %settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $streaming = delete $settings{allows_streaming};
	my $initdb = delete $settings{initdb} // [];
	$node->init(allows_streaming => $streaming, extra => $initdb);
	$settings{log_statement} //= 'none';
	$settings{max_connections} //= 40;
	$settings{autovacuum} //= 'off'; # it locks tables that a test expects to be dropped
	# %b and %e: so that log_is_clean can tell who raised what.
	$settings{log_line_prefix} = "'%m [%p] %b %e '";
	$node->append_conf('postgresql.conf', "$_ = $settings{$_}") for sort keys %settings;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION onceq');
	add_helpers($node, 'postgres');
	return $node;
}

# test.drain(queue): claims and acks whatever can be claimed now, and returns it.
# test.fill(queue, count): that many jobs, ten thousand a transaction.
sub add_helpers
{
	my ($node, $database) = @_;
	$node->safe_psql(
		$database, q{
		CREATE SCHEMA test;
		CREATE FUNCTION test.drain(queue text) RETURNS TABLE (id bigint, attempt int, payload jsonb)
		LANGUAGE plpgsql AS $$
		DECLARE
			job record;
			held bigint;
		BEGIN
			LOOP
				held := NULL;
				FOR job IN SELECT * FROM onceq.claim(queue, 1000)
				LOOP
					held := job.token;
					id := job.id;
					attempt := job.attempt;
					payload := job.payload;
					RETURN NEXT;
				END LOOP;
				EXIT WHEN held IS NULL;
				PERFORM onceq.ack(held);
			END LOOP;
		END $$;
		CREATE PROCEDURE test.fill(queue text, count int) LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 0 .. (count - 1) / 10000
			LOOP
				PERFORM onceq.enqueue_many(queue, test.payloads(least(count - i * 10000, 10000)));
				COMMIT;
			END LOOP;
		END $$;
		CREATE FUNCTION test.payloads(count int) RETURNS jsonb[] LANGUAGE sql
			RETURN (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, count) i);
	});
	return;
}

# ---- one statement, one connection

sub query
{
	my ($node, $sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

# The rows as [[column, …], …].
sub rows
{
	return map { [ split /\|/, $_, -1 ] } split /\n/, query(@_);
}

# SQLSTATE of the error that the statement raises; empty if it raises none.
sub sqlstate_of
{
	my ($node, $sql, $database, %options) = @_;
	my ($result, $stdout, $stderr) =
	  $node->psql($database // 'postgres', "\\set VERBOSITY verbose\n$sql", %options);
	return error_in($stderr);
}

sub error_in
{
	my ($stderr) = @_;
	return $1 if $stderr =~ /(?:ERROR|FATAL):\s+(\w{5}):/;
	return $stderr =~ /(?:NOTICE|WARNING):/ ? '' : $stderr;
}

# Ids and attempts of what the queue delivers now, by id: "7:1 8:2". All of it is acked.
sub drain
{
	my ($node, $queue, $database) = @_;
	return query($node,
		"SELECT coalesce(string_agg(id || ':' || attempt, ' ' ORDER BY id), '') FROM test.drain('$queue')",
		$database);
}

# Tests that the queue delivers exactly this, now or soon: ids and attempts, "7:1", in any order.
sub delivers
{
	my ($node, $queue, $expected, $what, $database) = @_;
	my @delivered;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	do { push @delivered, split / /, drain($node, $queue, $database) } until @delivered >= @$expected || time > $deadline;
	push @delivered, split / /, drain($node, $queue, $database);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(in_order(@delivered), in_order(@$expected), $what);
}

# Words that begin with a number, by that number.
sub in_order
{
	return join ' ', sort { ($a =~ /(\d+)/)[0] <=> ($b =~ /(\d+)/)[0] } @_;
}

sub audit_is_empty
{
	my ($node, $queue, $what, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(query($node, "SELECT * FROM onceq.audit('$queue')", $database), '', "$what: board and tables agree");
}

# ---- a client with a connection of its own

sub session
{
	my ($node, $database, %options) = @_;
	my $session =
	  $node->background_psql($database // 'postgres', on_error_stop => 0, %options);
	$session->query_safe('\\set VERBOSITY verbose');
	return $session;
}

# Also of a session whose backend is gone.
sub close_session
{
	my ($session) = @_;
	eval { $session->quit; };
	return;
}

sub pid_of
{
	my ($session) = @_;
	return $session->query_safe('SELECT pg_backend_pid()');
}

# As sqlstate_of, in the session.
sub error_of
{
	my ($session, $sql) = @_;
	$session->query($sql);
	my $error = error_in($session->{stderr});
	$session->{stderr} = '';
	return $error;
}

# Sends a statement without waiting for its end, which is for end_query.
sub start_query
{
	my ($session, $sql) = @_;
	$session->{stdin} .= "$sql\n;\n\\echo 'started query ends'\n";
	$session->{run}->pump_nb;
	return;
}

# The same for a statement that pauses at this point, as long as the gate's session holds the advisory lock 28529.
# Whether it has come there.
sub start_paused
{
	my ($node, $gate, $session, $point, $sql) = @_;
	my $pid = pid_of($session);
	$gate->query_safe('SELECT pg_advisory_lock(28529)');
	$session->query_safe("SET onceq.fault = 'pause at $point'");
	start_query($session, $sql);
	return $node->poll_query_until('postgres', "SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $pid");
}

# Waits for the end, of the statement or of the session; returns result and SQLSTATE.
sub end_query
{
	my ($session) = @_;
	my $end = qr/started query ends\r?\n/;
	while ($session->{stdout} !~ $end && $session->{run}->pumpable)
	{
		last unless eval { $session->{run}->pump; 1 };
	}
	my ($output, $error) = ($session->{stdout}, error_in($session->{stderr}));
	$output =~ s/\r?\n?$end//;
	($session->{stdout}, $session->{stderr}) = ('', '');
	return ($output, $error);
}

# Ends psql itself, as when a client crashes.
sub kill_client
{
	my ($session) = @_;
	kill('KILL', $_->{PID}) for @{ $session->{run}{KIDS} };
	return close_session($session);
}

# A fault has stopped this process, by SIGSTOP.
sub wait_until_stopped
{
	my ($pid) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while (slurp_file("/proc/$pid/stat") !~ /^\d+ \(.*\) T/)
	{
		die 'never stopped' if time > $deadline;
		select undef, undef, undef, 0.01;
	}
	return;
}

# ---- crashes

# kill -9 of one process: the postmaster ends all others and starts anew. Returns when it has.
sub kill_backend
{
	my ($node, $pid) = @_;
	my $offset = -s $node->logfile;
	kill('KILL', $pid) == 1 or die "cannot kill $pid";
	return wait_until_restarted($node, $offset);
}

sub wait_until_restarted
{
	my ($node, $offset) = @_;
	$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	return;
}

# kill -9 of the postmaster, and a start as soon as its children have left.
sub kill_postmaster
{
	my ($node) = @_;
	my @children = split /\s+/, query($node, 'SELECT pid FROM pg_stat_activity');
	$node->kill9;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while (grep { kill(0, $_) } @children)
	{
		die 'processes outlive the postmaster' if time > $deadline;
		select undef, undef, undef, 0.01;
	}
	$node->start;
	return;
}

# ---- the log

# Stops the server and looks at its log: nothing crashed but what the test killed, no error of the worker,
# no internal error. expect: what the test provoked on purpose, as a regular expression of log lines.
sub log_is_clean
{
	my ($node, %options) = @_;
	my $expected = $options{expect} // qr/(?!)/;
	my $kills = $options{kills} // 0;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->stop('fast');
	my @lines = grep { !/$expected/ } split /\n/, slurp_file($node->logfile);
	my @signals = grep { /terminated by signal/ } @lines;
	# The postmaster also reports those of its own that it ended itself.
	my @strange = grep { !/terminated by signal (?:3|9|6)/ } @signals;
	is(scalar(grep { /terminated by signal 9/ } @signals), $kills, 'the log tells of the kills of this test only')
	  or diag(join "\n", @signals);
	my @odd = grep {
		/PANIC|TRAP:|terminated by signal (?!9)/
		  || / XX\d\d\d /
		  || /onceq (?:worker|launcher) \S+ (?:ERROR|WARNING|FATAL|LOG:.*(?:could not|failed))/ && !/ 57P0[123] /
		  || /could not (?!receive data from client|send data to client)/
	} @lines;
	is("@odd", '', 'nothing odd in the log');
	return;
}

1;
