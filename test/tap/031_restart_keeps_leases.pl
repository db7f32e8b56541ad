# A clean restart, fast or smart, keeps leases: the worker writes them to the lease journal, and the token
# that was granted before ends the jobs after it; what was ended before does not come back (Invariant 5).
# A lease held longer than onceq.lease_journal_after outlives even a crash. What happened to its jobs
# after that is not undone by the journal: jobs ended, failed, expired or released are not restored to
# their old lease (Invariants 2 and 6).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.lease_journal_after' => "'1h'", 'onceq.worker_naptime' => "'100ms'");
query($node, q{SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0')});
query($node, 'CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN');
query($node, "SELECT onceq.grant_consumer('mail', '$_')") for qw(alice bob);
my @as_alice = (extra_params => [ '-U', 'alice' ]);
my @as_bob = (extra_params => [ '-U', 'bob' ]);

sub enqueue
{
	my ($count) = @_;
	return split /\n/, query($node, "SELECT onceq.enqueue_many('mail', test.payloads($count))");
}

# Returns the token, and the ids.
sub claim
{
	my ($count, $arguments) = @_;
	my @rows = rows($node, "SELECT token, id FROM onceq.claim('mail', $count " . ($arguments // '') . ')');
	is(scalar @rows, $count, "$count claimed");
	return ($rows[0][0], map { $_->[1] } @rows);
}

sub set_journal_after
{
	my ($time) = @_;
	$node->append_conf('postgresql.conf', "onceq.lease_journal_after = '$time'");
	return $node->reload;
}

sub restart
{
	my ($mode) = @_;
	$node->stop($mode);
	return $node->start;
}

# ---- Clean restarts.

for my $mode (qw(fast smart))
{
	my @ids = enqueue(26);
	my ($whole) = claim(10);
	my ($mixed, @mixed) = claim(10);
	my ($finished) = claim(2);
	my ($alices) = $node->safe_psql('postgres', "SELECT token FROM onceq.claim('mail')", @as_alice);
	my ($brief) = claim(2, ", lease => '1 s'"); # the last, for its jobs come back
	query($node, "SELECT onceq.ack($finished), onceq.ack($mixed, $mixed[0]), onceq.reject($mixed, $mixed[1])");
	query($node, "SELECT onceq.nack($mixed, $mixed[2], retry_in => '1 h')");
	restart($mode);

	is(sqlstate_of($node, "SELECT onceq.ack($finished)"), 'OQ001', "$mode: a lease that ended before is not restored");
	is(sqlstate_of($node, "SELECT onceq.ack($mixed, $mixed[$_])"), 'OQ001', "$mode: nor is a job that ended before")
	  for 0 .. 2;
	is(query($node, "SELECT onceq.ack($mixed)"), 7, "$mode: the rest of that lease can be acked");
	is(query($node, "SELECT onceq.extend($whole) > clock_timestamp() + '9 min'"), 't', "$mode: a lease can be extended");
	is(query($node, "SELECT onceq.ack($whole)"), 10, "$mode: and its jobs acked");
	is(sqlstate_of($node, "SELECT onceq.ack($alices)", undef, @as_bob), '42501', "$mode: a lease belongs to its role");
	is($node->safe_psql('postgres', "SELECT onceq.ack($alices)", @as_alice), 1, "$mode: who can ack it");
	delivers($node, 'mail', [ "$ids[25]:1", map { "$ids[$_]:2" } 23, 24 ],
		"$mode: nothing is delivered again but what expired, which counts");
	audit_is_empty($node, 'mail', $mode);
	isnt(sqlstate_of($node, "SELECT onceq.ack($brief)"), '', "$mode: its token is worthless");
	query($node, "SELECT onceq.purge_queue('mail')");
}

# A lease bound to a session ends with it.
my ($bound) = enqueue(1);
my $session = session($node);
my $token = $session->query_safe("SELECT token FROM onceq.claim('mail', hold => 'session')");
restart('fast');
close_session($session);
is(sqlstate_of($node, "SELECT onceq.ack($token)"), 'OQ001', 'a lease bound to a session does not outlive it');
like(drain($node, 'mail'), qr/^$bound:[12]$/, 'the job is delivered again');

# After a restart with fewer slots, every job is in its lease still, or delivered again.
my @ids = enqueue(20);
my %token = map { my ($token, $id) = claim(1); ($id => $token) } @ids;
$node->append_conf('postgresql.conf', 'onceq.lease_slots = 16');
restart('fast');
my @lost = grep { sqlstate_of($node, "SELECT onceq.ack($token{$_})") eq 'OQ001' } @ids;
cmp_ok(scalar @lost, '<', 20, 'leases are restored as far as there are slots');
my @again = map { /(\d+):/ } split / /, drain($node, 'mail');
while (@again < @lost) { push @again, map { /(\d+):/ } split / /, drain($node, 'mail') }
is("@again", "@lost", 'the jobs of the others are delivered again');
$node->append_conf('postgresql.conf', 'onceq.lease_slots = 65536');
restart('fast');

# However many they are.
enqueue(2000);
my @many = split /\n/, query($node, join '', (q{SELECT token FROM onceq.claim('mail');}) x 2000);
restart('fast');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 2000 AND sum(jobs) = 2000 FROM onceq.leases'),
	'two thousand leases are held still, and seen when the worker has looked at the queue');
is(query($node, join '', map { "SELECT onceq.ack($_);" } @many), join("\n", (1) x 2000), 'by their old tokens');

# The holder may be quicker than the worker, and the first to ask after the restart.
@ids = enqueue(3);
my ($quick) = claim(2);
query($node, 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC, onceq_worker');
restart('fast');
is(query($node, "SELECT onceq.ack($quick)"), 2, 'a lease is held although nobody has looked at its queue yet');
is(sqlstate_of($node, "SELECT onceq.ack($quick)"), 'OQ001', 'once');
query($node, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC, onceq_worker');
restart('fast');
delivers($node, 'mail', ["$ids[2]:1"], 'and it was acked');

# ---- Crashes. The worker names the lease in the view.

set_journal_after('100ms');

# A lease that is over meanwhile counts as journalled.
sub claim_journalled
{
	my ($count, $worker, $lease) = @_;
	my @claim = claim($count, ", worker => '$worker', lease => '" . ($lease // '10 min') . "'");
	ok($node->poll_query_until('postgres', "SELECT coalesce(bool_and(journalled), true) FROM onceq.leases WHERE worker = '$worker'"),
		"the lease of $worker is journalled");
	return @claim;
}

my %crash = (
	'immediate stop' => sub { $node->stop('immediate'); $node->start; },
	'kill of the postmaster' => sub { kill_postmaster($node); },
);
for my $what (sort keys %crash)
{
	@ids = enqueue(30);
	my ($whole) = claim_journalled(5, 'whole');
	my ($mixed, @mixed) = claim_journalled(8, 'mixed');
	my ($released, @released) = claim_journalled(3, 'released');
	my ($acked) = claim_journalled(3, 'acked');
	my ($expired, @expired) = claim_journalled(2, 'expired', '1 s');
	query($node, "SELECT onceq.ack($acked), onceq.ack($mixed, $mixed[0]), onceq.reject($mixed, $mixed[1]),"
		. " onceq.nack($mixed, $mixed[2], retry_in => '0'), onceq.nack($mixed, $mixed[3], retry_in => '1 h')");
	query($node, "SELECT onceq.release($mixed, $mixed[4]), onceq.release($released)");
	# Their jobs are ready when the journal has forgotten the leases.
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 7 FROM onceq.jobs('mail', 'ready') WHERE id IN (" . join(', ', @released, @expired, @mixed[2, 4]) . ')'),
		"$what: released, failed and expired jobs become ready");
	$crash{$what}->();

	is(sqlstate_of($node, "SELECT onceq.ack($acked)"), 'OQ001', "$what: a lease that ended is not restored");
	is(sqlstate_of($node, "SELECT onceq.ack($released)"), 'OQ001', "$what: nor one that was released");
	is(sqlstate_of($node, "SELECT onceq.ack($expired)"), 'OQ001', "$what: nor one that expired");
	is(sqlstate_of($node, "SELECT onceq.ack($mixed, $mixed[$_])"), 'OQ001', "$what: nor job $_ of one that is")
	  for 0 .. 4;
	is(query($node, "SELECT onceq.ack($mixed)"), 3, "$what: the rest of that lease can be acked");
	is(query($node, "SELECT onceq.ack($whole)"), 5, "$what: and so can a lease that was left alone");
	delivers($node, 'mail', [ map({ "$_:1" } @ids[ 21 .. 29 ], @released, $mixed[4]), map { "$_:2" } @expired, $mixed[2] ],
		"$what: nothing is delivered again but what came back before");
	audit_is_empty($node, 'mail', $what);
	query($node, "SELECT onceq.purge_queue('mail')");
}

# A lease of an earlier attempt never takes a job away from a later one.
@ids = enqueue(1);
my ($first) = claim_journalled(1, 'first', '1 s');
ok($node->poll_query_until('postgres', "SELECT state = 'ready' FROM onceq.job('mail', $ids[0])"), 'the first lease expired');
my ($second) = claim_journalled(1, 'second');
$node->stop('immediate');
$node->start;
is(sqlstate_of($node, "SELECT onceq.ack($first)"), 'OQ001', 'the first attempt is over');
is(query($node, "SELECT onceq.ack($second)"), 1, 'the second one is not');

# Restored leases age, and what they lead to is counted.
@ids = enqueue(1);
my ($aging) = claim_journalled(1, 'aging', '2 s');
kill_postmaster($node);
delivers($node, 'mail', ["$ids[0]:2"], 'a restored lease expires, and that counts as an attempt');

# The journal is empty in the end.
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM onceq.lease_journal'), 'the journal forgets leases that ended');
log_is_clean($node, expect => qr/may not connect|CONNECT/);
done_testing();
