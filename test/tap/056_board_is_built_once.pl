# The first touch of a queue after a start builds its board from the tables. One session does, others wait for
# it and then find every job once. A builder that is cancelled, terminated or loses its client leaves the work to
# the next, and never keeps the others waiting for ever; so does one whose transaction fails (Invariants 1, 2 and 5).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(wait_for_worker);

my $node = start_node('primary', 'onceq.suspicion_window' => 0, 'onceq.worker_naptime' => "'100ms'");
query($node, q{SELECT onceq.create_queue('mail', backoff_base => '0')});
my @ids = split /\n/, query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(60))});
# Without a worker nobody is quicker than we are.
query($node, 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC, onceq_worker');

my $claim = q{SELECT id, attempt FROM onceq.claim('mail', 2)};

# A session that holds up the builder; then sessions that want to claim, the first of which builds.
my ($lock, @sessions);
sub begin_building
{
	my ($count) = @_;
	$node->stop('immediate');
	$node->start;
	$lock = session($node);
	$lock->query_safe('BEGIN; LOCK TABLE onceq_data.o1_0000');
	@sessions = ();
	for my $i (1 .. $count)
	{
		push @sessions, session($node);
		my $pid = pid_of($sessions[-1]);
		start_query($sessions[-1], $claim);
		my $event = $i == 1 ? 'Lock' : 'Extension';
		$node->poll_query_until('postgres', "SELECT wait_event_type = '$event' FROM pg_stat_activity WHERE pid = $pid")
		  or die 'a session does not wait';
	}
	return;
}

sub end_building
{
	my ($what, @claimants) = @_;
	$lock->query_safe('COMMIT');
	my @claimed = map { my ($rows, $error) = end_query($_); is($error, '', "$what: claims"); split /\n/, $rows } @claimants;
	is(in_order(@claimed), join(' ', map { "$_|1" } @ids[ 0 .. 2 * @claimants - 1 ]), "$what: each job goes to one");
	close_session($_) for $lock, @sessions;
	is(query($node, q{SELECT count(*) FROM onceq.jobs('mail', 'ready', count => 1000)}), @ids - 2 * @claimants, "$what: the others are ready");
	audit_is_empty($node, 'mail', $what);
	return;
}

begin_building(5);
end_building('five sessions', @sessions);

my %end = (
	'cancelled' => sub { query($node, 'SELECT pg_cancel_backend(' . $_[0] . ')'); end_query($sessions[0]); },
	'terminated' => sub { query($node, 'SELECT pg_terminate_backend(' . $_[0] . ')'); end_query($sessions[0]); },
	'out of time' => sub { end_query($sessions[0]); },
	'without its client' => sub { kill_client($sessions[0]); },
);
for my $what (sort keys %end)
{
	query($node, q{ALTER DATABASE postgres SET client_connection_check_interval = '100ms'}) if $what eq 'without its client';
	query($node, q{ALTER DATABASE postgres SET statement_timeout = '10s'}) if $what eq 'out of time';
	begin_building(1);
	query($node, q{ALTER DATABASE postgres RESET ALL});
	my $pid = query($node, q{SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'});
	for my $i (1 .. 3)
	{
		push @sessions, session($node);
		start_query($sessions[-1], $claim);
	}
	$node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query ~ 'onceq.claim' AND pid <> pg_backend_pid()})
	  or die 'three sessions do not wait';
	$end{$what}->($pid);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'onceq.claim' AND pid <> $pid"),
		"a builder $what: another one builds");
	end_building("a builder $what", @sessions[ 1 .. 3 ]);
}

# A board outlives the transaction in which it was built.
$node->stop('immediate');
$node->start;
query($node, "BEGIN; $claim; ROLLBACK");
my $session = session($node);
$session->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1');
is(query($node, q{SELECT count(*) FROM onceq.jobs('mail', 'ready', count => 1000)}) + query($node, q{SELECT coalesce(sum(jobs), 0) FROM onceq.leases}),
	60, 'built in a transaction that is rolled back');
close_session($session);

# With the worker back, too.
query($node, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC, onceq_worker');
$node->restart;
wait_for_worker($node, 'postgres');
my @all = map { /^(\d+)/ } split / /, drain($node, 'mail');
is(scalar @all, 60, 'in the end all are delivered');
log_is_clean($node, expect => qr/not permitted to connect|may not connect|CONNECT/);
done_testing();
