# A waiting claim sleeps, and returns when a job becomes ready by whatever way: commit of a producer,
# due time, release, failed attempt, end of a lease, purge rolled back. Of several that wait each job goes
# to one; a client that hung up gets nothing (Invariant 1: the job is delivered to another). A claim that waits
# for several queues is woken by each of them, and passes a wake-up on that it can do nothing with.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('waiting', 'onceq.worker_naptime' => 200);
query($node, "SELECT onceq.create_queue('w', lease => '1 h', backoff_base => '0')");

# Starts a claim that waits, for one queue or several, and returns when it does.
sub start_waiting
{
	my ($queues, %arguments) = @_;
	my $session = session($node);
	my $pid = pid_of($session);
	my $wait = $arguments{wait} // '50 s';
	my $claim = $queues =~ /[{]/ ? 'claim_any' : 'claim';
	$session->query_safe("SET ROLE $arguments{role}") if $arguments{role};
	start_query($session, "SELECT payload FROM onceq.$claim('$queues', wait => '$wait')");
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

# ---- several queues

query($node, "SELECT onceq.create_queue(q, lease => '1 h') FROM unnest('{one,two,three}'::text[]) q");
wakes('{one,two,three}', "a job of $_", sub { query($node, qq{SELECT onceq.enqueue('$_', '"$_"')}) }, qq{"$_"})
  for 'one', 'two', 'three';
wakes('{one,two,three}', 'a due time', sub { query($node, q{SELECT onceq.enqueue('three', '"due"', delay => '300 ms')}) }, '"due"');

query($node, "SELECT onceq.pause_queue('one')");
query($node, q{SELECT onceq.enqueue('one', '"paused"')});
wakes('{one,two}', 'a job beside a paused queue', sub { query($node, q{SELECT onceq.enqueue('two', '"not paused"')}) }, '"not paused"');
wakes('{one,two}', 'the end of the pause', sub { query($node, "SELECT onceq.resume_queue('one')") }, '"paused"');

my @lines = ('{one,two,three}', '{two,three,one}', '{three,one,two}') x 2;
@waiting = map { (start_waiting($_))[0] } @lines;
query($node, qq{SELECT onceq.enqueue('$_', '"$_ $_"'), onceq.enqueue('$_', '"$_ $_"')}) for 'two', 'three', 'one';
@got = sort map { (end_query($_))[0] } @waiting;
is("@got", '"one one" "one one" "three three" "three three" "two two" "two two"', 'each of six jobs of three queues goes to one of six sessions');
close_session($_) for @waiting;

# Woken by the second queue, it takes a job of the first: the next one in the second queue's line gets its job. It
# would find it anyway when it looks up, after five seconds; so at least once of several times it has to be quicker.
sub passes_on
{
	my ($both, $both_pid) = start_waiting('{one,two}');
	my ($next) = start_waiting('two');
	kill 'STOP', $both_pid;
	query($node, q{SELECT onceq.enqueue('two', '"for the next"')});
	query($node, q{SELECT onceq.enqueue('one', '"for both"')});
	kill 'CONT', $both_pid;
	my $begin = time;
	my @got = map { (end_query($_))[0] } $both, $next;
	my $quick = time - $begin < 4;
	is("@got", '"for both" "for the next"', 'queues are looked at in the order given, and the other one gets what is left');
	close_session($_) for $both, $next;
	return $quick;
}
ok((grep { passes_on() } 1 .. 3) > 0, 'a wake-up that is not used is passed on');

query($node, "CREATE ROLE consumer; SELECT onceq.grant_consumer('one', 'consumer'), onceq.grant_consumer('two', 'consumer')");
my ($revoked) = start_waiting('{one,two}', role => 'consumer');
query($node, format_revoke('two'));
query($node, q{SELECT onceq.enqueue('one', '"kept"')});
is((end_query($revoked))[1], '42501', 'a privilege that is revoked ends the wait');
is(query($node, q{SELECT payload FROM onceq.claim('one')}), '"kept"', '… and takes no job along');
close_session($revoked);

sub format_revoke
{
	my ($queue) = @_;
	return sprintf 'REVOKE ALL ON %s FROM consumer', query($node, "SELECT privileges FROM onceq.queues WHERE queue = '$queue'");
}

# Sleepers sleep: how often they give the processor up tells how often they had it.
my @sleepers = map { [ start_waiting('{one,two,three}') ] } 1 .. 8;
my ($begin, $switches) = (time, switches(@sleepers));
query($node, 'SELECT pg_sleep(3)');
$switches = switches(@sleepers) - $switches;
cmp_ok($switches, '<=', (time - $begin + 1) * @sleepers, 'who waits does not poll');
query($node, 'SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ $$^SELECT payload FROM onceq.claim_any$$');
close_session($_->[0]) for @sleepers;

sub switches
{
	my $sum = 0;
	for my $sleeper (@_)
	{
		$sum += $1 if slurp_file("/proc/$sleeper->[1]/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	}
	return $sum;
}

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
