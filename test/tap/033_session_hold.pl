# A lease with hold => 'session' is lost when its session ends, however it ends: the jobs come back at
# once, and the attempt counts. A lease with hold => 'time' does not care. Claims and DISCARD ALL, ten
# thousand times in one session, do not use up the server's few places for exit hooks.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.lease_journal_after' => "'1h'");
query($node, q{SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0', max_attempts => 1000)});

sub enqueue
{
	my ($count) = @_;
	return split /\n/, query($node, "SELECT onceq.enqueue_many('mail', test.payloads($count))");
}
my $claim = q{SELECT DISTINCT token FROM onceq.claim('mail', 10, hold => 'session')};

# ---- Ends of a session.

my %end_of = (
	'disconnect' => sub { close_session($_[0]); },
	'termination' => sub { query($node, 'SELECT pg_terminate_backend(' . pid_of($_[0]) . ')'); close_session($_[0]); },
	'death of the client' => sub { kill_client($_[0]); },
	'death of the client during a query' => sub {
		$_[0]->query_safe("SET client_connection_check_interval = '50ms'");
		start_query($_[0], 'SELECT pg_sleep(1000)');
		kill_client($_[0]);
	},
	'idle timeout' => sub { start_query($_[0], "SET idle_session_timeout = '1ms'"); end_query($_[0]); close_session($_[0]); },
);
for my $end (sort keys %end_of)
{
	my @ids = enqueue(5);
	my $session = session($node);
	my $token = $session->query_safe($claim);
	$session->query_safe("SELECT onceq.ack($token, $ids[0]), onceq.release($token, $ids[1]), onceq.extend($token)");
	$session->query_safe('DISCARD ALL');
	is(query($node, "SELECT hold, jobs FROM onceq.leases"), 'session|3', "$end: the lease outlives DISCARD ALL");
	$end_of{$end}->($session);
	delivers($node, 'mail', [ "$ids[1]:1", map { "$ids[$_]:2" } 2 .. 4 ], "$end: jobs come back at once, counted");
	is(sqlstate_of($node, "SELECT onceq.ack($token)"), 'OQ001', "$end: the token is worthless");
}

# ---- What the session was about to do.

my @ids = enqueue(4);
my $session = session($node);
my $token = $session->query_safe($claim);
$session->query_safe("BEGIN; SELECT onceq.ack($token, $ids[0])");
$session->query_safe("SAVEPOINT a; SELECT onceq.ack($token, $ids[1])");
$session->query_safe("SELECT onceq.nack($token, $ids[2], retry_in => '1 h')");
close_session($session);
delivers($node, 'mail', [ map { "$_:2" } @ids ], 'an ack that was not committed ends nothing');

@ids = enqueue(3);
$session = session($node);
$session->query_safe('BEGIN');
$session->query_safe($claim);
close_session($session);
delivers($node, 'mail', [ map { "$_:2" } @ids ], 'a claim that was not committed, but returned its jobs, counts');

# ---- The token is all one needs, as long as the session lives.

@ids = enqueue(2);
$session = session($node);
$token = $session->query_safe($claim);
is(query($node, "SELECT onceq.ack($token, $ids[0])"), 1, 'another session can ack');
is(query($node, "SELECT count(*) FROM onceq.ack_and_claim($token, 'mail')"), 0, 'also with ack_and_claim');
close_session($session);
@ids = enqueue(2);
$session = session($node);
$token = $session->query_safe(q{SELECT DISTINCT token FROM onceq.claim('mail', 10)});
close_session($session);
is(query($node, 'SELECT hold, state, jobs FROM onceq.leases'), 'time|held|2', 'a lease with hold => time outlives its session');
is(query($node, "SELECT onceq.ack($token)"), 2, 'and its jobs can be acked by another');

# A token handed on keeps the hold, and binds to the session that asks.
enqueue(2);
$session = session($node);
$token = $session->query_safe(q{SELECT token FROM onceq.claim('mail', hold => 'session')});
my $other = session($node);
my ($next, $id) = split /\|/, $other->query_safe("SELECT token, id FROM onceq.ack_and_claim($token, 'mail')");
close_session($session);
is(query($node, 'SELECT hold, state FROM onceq.leases'), 'session|held', 'ack_and_claim binds the new lease to its own session');
close_session($other);
delivers($node, 'mail', ["$id:2"], 'and it ends with that');

# ---- Many claims.

query($node, q{SELECT count(*) FROM onceq.enqueue_many('mail', test.payloads(10000))});
my $statements = join '', map {
	"SELECT onceq.ack(token) AS acked FROM onceq.claim('mail', hold => 'session') \\gset\n" . ($_ % 10 ? '' : "DISCARD ALL;\n")
} 1 .. 10000;
is(sqlstate_of($node, $statements), '', '10,000 claims and 1,000 times DISCARD ALL in a session');
is(query($node, q{SELECT count(*) FROM onceq.jobs('mail', 'ready')}), 0, 'all of them found a job');
is(query($node, 'SELECT count(*) FROM onceq.leases'), 0, 'no lease is left');
audit_is_empty($node, 'mail', 'in the end');
log_is_clean($node);
done_testing();
