# A waiting claim sleeps, and returns when a job becomes ready by whatever way: commit of a producer,
# due time, release, failed attempt, end of a lease, purge rolled back. Of several that wait each job goes
# to one; a client that hung up gets nothing (Invariant 1: the job is delivered to another).
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('waiting', 'onceq.worker_naptime' => 200);
query($node, "SELECT onceq.create_queue('w', lease => '1 h', backoff_base => '0')");

# Starts a claim that waits, and returns when it does.
sub start_waiting
{
	my ($queue, %arguments) = @_;
	my $session = session($node);
	my $pid = pid_of($session);
	my $wait = $arguments{wait} // '50 s';
	start_query($session, "SELECT payload FROM onceq.claim('$queue', wait => '$wait')");
	$node->poll_query_until('postgres',
		"SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the claim does not wait';
	return ($session, $pid);
}

sub wakes
{
	my ($queue, $what, $action, $payload) = @_;
	my ($session) = start_waiting($queue);
	$action->();
	my ($output, $error) = end_query($session);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$output$error", $payload, "$what wakes it");
	close_session($session);
	return;
}

# ---- what wakes

wakes('w', 'a commit', sub { query($node, q{SELECT onceq.enqueue('w', '"committed"')}) }, '"committed"');
wakes('w', 'a due time', sub { query($node, q{SELECT onceq.enqueue('w', '"due"', delay => '300 ms')}) }, '"due"');
wakes(
	'w', 'only the commit',
	sub {
		query($node, q{BEGIN; SELECT onceq.enqueue('w', '"rolled back"'); ROLLBACK});
		query($node, q{SELECT onceq.enqueue('w', '"after a rollback"')});
	},
	'"after a rollback"');

for my $case (
	[ 'a release' => 'SELECT onceq.release(%s)' ],
	[ 'a failed attempt' => "SELECT onceq.nack(%s, %s, 'again', '0')" ],
	[ 'the end of a lease' => "SELECT onceq.extend(%s, '100 ms')" ])
{
	my ($what, $sql) = @$case;
	my $queue = lc($what) =~ s/ /_/gr;
	query($node, "SELECT onceq.create_queue('$queue', lease => '1 h', backoff_base => '0')");
	query($node, "SELECT onceq.enqueue('$queue', '\"held\"')");
	my ($held) = rows($node, "SELECT token, id FROM onceq.claim('$queue')");
	my @arguments = $what eq 'a failed attempt' ? @$held : $held->[0];
	wakes($queue, $what, sub { query($node, sprintf($sql, @arguments)) }, '"held"');
}

query($node, "SELECT onceq.create_queue('purged')");
query($node, q{SELECT onceq.enqueue('purged', '"purged"')});
my $purger = session($node);
$purger->query_safe("BEGIN; SELECT onceq.purge_queue('purged')");
wakes('purged', 'a purge rolled back', sub { $purger->query_safe('ROLLBACK') }, '"purged"');
close_session($purger);

query($node, "SELECT onceq.create_queue('paused'); SELECT onceq.pause_queue('paused')");
query($node, q{SELECT onceq.enqueue('paused', '"paused"')});
wakes('paused', 'the end of a pause', sub { query($node, "SELECT onceq.resume_queue('paused')") }, '"paused"');

# ---- several

query($node, "SELECT onceq.create_queue('many')");
my @waiting = map { (start_waiting('many'))[0] } 1 .. 8;
query($node, q{SELECT onceq.enqueue_many('many', test.payloads(8))});
my @got = sort { $a <=> $b } map { (end_query($_))[0] } @waiting;
is("@got", '1 2 3 4 5 6 7 8', 'eight sessions wait, eight jobs come: one each');
close_session($_) for @waiting;

# ---- who does not get a job

query($node, "SELECT onceq.create_queue('gone')");
my ($dead, $dead_pid) = start_waiting('gone');
$dead->{run}->kill_kill;
query($node, q{SELECT onceq.enqueue('gone', '"for the living"')});
is(query($node, q{SELECT payload FROM onceq.claim('gone', wait => '20 s')}), '"for the living"', 'a dead client gets no job')
  or diag(query($node, 'SELECT * FROM onceq.leases'));

my ($cancelled, $cancelled_pid) = start_waiting('gone');
query($node, "SELECT pg_cancel_backend($cancelled_pid)");
is((end_query($cancelled))[1], '57014', 'a waiting claim can be cancelled');
close_session($cancelled);

my ($dropped) = start_waiting('gone');
query($node, "SELECT onceq.drop_queue('gone')");
is((end_query($dropped))[1], '42704', 'a dropped queue ends the wait');
close_session($dropped);

# ---- arguments

is(query($node, "SELECT count(*) FROM onceq.claim('w', wait => '100 ms')"), '0', 'no job in time: no row');
is(sqlstate_of($node, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT onceq.claim('w', wait => '1 s') FROM (SELECT 1) x;"),
	'0A000', 'not in a select list');
is(sqlstate_of($node, "BEGIN ISOLATION LEVEL $_; SELECT * FROM onceq.claim('w', wait => '1 s');"), '25001', "not under $_")
  for 'REPEATABLE READ', 'SERIALIZABLE';
is(sqlstate_of($node, "SELECT * FROM onceq.claim('w', wait => '$_')"), '22023', "not for $_") for '-1 s', '61 s';
is(sqlstate_of($node, "SELECT * FROM onceq.claim('w', wait => NULL)"), '22004', 'not for null');
log_is_clean($node);
done_testing();
