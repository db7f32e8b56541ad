# A crash of a server process, of the server, or an immediate stop costs a redelivery of what was in
# flight, and nothing else. In each round a queue holds jobs in every state, and sessions are in the midst
# of transactions that enqueue and ack; then something is killed. Afterwards: each job whose enqueue was
# committed and which was not ended is delivered, with its attempt; no other is (Invariants 1 and 5);
# a token of the earlier life changes nothing (Invariant 2); no id is used twice; delayed jobs and those
# that wait for another attempt wait still; what the board says agrees with the tables.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

# Without the journal a lease does not outlive a crash. (Leases of jobs older than an unclean start are
# journalled always: here no such lease is held at a crash.)
my $node = start_node('primary', 'onceq.lease_journal_after' => "'1h'", 'onceq.worker_naptime' => "'100ms'");
my $kills = 0;
my $highest_id = 0; # given out so far, to whomever
my @waiting;        # jobs that wait for an hour: id:attempts so far

query($node, q{SELECT onceq.create_queue('mail', backoff_base => '1 h', backoff_jitter => 0)});

sub note_ids
{
	my @ids = @_;
	cmp_ok((sort { $a <=> $b } @ids)[0], '>', $highest_id, 'ids are new');
	$highest_id = (sort { $b <=> $a } @ids)[0];
	return @ids;
}

sub enqueue
{
	my ($count, $arguments) = @_;
	return note_ids(split /\n/, query($node, "SELECT onceq.enqueue_many('mail', test.payloads($count) $arguments)"));
}

sub claim
{
	my ($where, $count) = @_;
	my ($token) = $where->query_safe("SELECT DISTINCT token FROM onceq.claim('mail', $count, '1 h')") =~ /^(\d+)$/
	  or die 'a claim gave nothing';
	return $token;
}

# Jobs in every state, sessions in the midst of transactions. Returns the sessions, what must be delivered
# after a crash, and the tokens that must be worthless then.
sub prepare
{
	my %at = (producer => session($node), consumer => session($node), holder => session($node));
	my ($consumer, $holder) = @at{qw(consumer holder)};
	my @ids = enqueue(50, '');

	my $held = claim($holder, 10);                   # ids 0 to 9
	my $acked = claim($consumer, 10);                # 10 to 19
	$consumer->query_safe("SELECT onceq.ack($acked)");
	my $mixed = claim($holder, 10);                  # 20 to 29
	my $ending = claim($consumer, 5);                # 30 to 34
	$holder->query_safe("SELECT onceq.ack($mixed, $ids[20], '{\"result\": 1}')");
	$holder->query_safe("SELECT onceq.ack($mixed, ARRAY[$ids[21], $ids[29]])");
	$holder->query_safe("SELECT onceq.nack($mixed, $ids[22], 'again', '0')");
	$holder->query_safe("SELECT onceq.nack($mixed, $ids[23], 'later')");
	$holder->query_safe("SELECT onceq.reject($mixed, $ids[24], 'never')");
	$holder->query_safe("SELECT onceq.release($mixed, $ids[25])");
	push @waiting, "$ids[23]:1", map { "$_:0" } enqueue(3, ", delay => '1 h'");
	my @soon = enqueue(2, ", delay => '1 s'");
	my @urgent = enqueue(2, ', priority => 9');
	query($node, "BEGIN; SELECT onceq.enqueue('mail', '0'); ROLLBACK");

	$consumer->query_safe('BEGIN');
	$consumer->query_safe("SELECT onceq.ack($ending, $ids[30])");
	$consumer->query_safe("SELECT onceq.nack($ending, $ids[31])");
	$consumer->query_safe('SELECT pg_current_xact_id()');
	$at{producer}->query_safe('BEGIN');
	note_ids(split /\n/, $at{producer}->query_safe("SELECT onceq.enqueue('mail', '0') FROM generate_series(1, 5)"));
	note_ids(split /\n/, $at{producer}->query_safe("SELECT onceq.enqueue_many('mail', test.payloads(5))"));

	my @due = ((map { "$_:1" } @ids[ 0 .. 9, 25 .. 28, 30 .. 49 ], @soon, @urgent), "$ids[22]:2");
	return (\%at, \@due, [ $held, $acked, $mixed, $ending ]);
}

sub recover
{
	my ($what, $due, $tokens) = @_;
	for my $token (@$tokens)
	{
		is(sqlstate_of($node, "SELECT onceq.ack($token)"), 'OQ001', "$what: a token of the earlier life is worthless");
		is(sqlstate_of($node, "SELECT onceq.extend($token)"), 'OQ001', "$what: nor can it be extended");
	}
	audit_is_empty($node, 'mail', $what);
	cmp_ok(query($node, q{SELECT scheduled FROM onceq.queue_stats WHERE queue = 'mail'}), '>=', scalar @waiting,
		"$what: what is not due waits, and is not left to claims to find out");
	my @new = enqueue(3, '');
	delivers($node, 'mail', [ @$due, map { "$_:1" } @new ], "$what: all that was unfinished is delivered, nothing else");
	audit_is_empty($node, 'mail', "$what, drained");
	return;
}

# Each way to crash, by what is killed.
my %crashes = (
	'kill of the holder of leases' => sub { kill_backend($node, pid_of($_[0]{holder})); $kills++; },
	'kill in a transaction that has enqueued' => sub { kill_backend($node, pid_of($_[0]{producer})); $kills++; },
	'kill in a transaction that has acked' => sub { kill_backend($node, pid_of($_[0]{consumer})); $kills++; },
	'kill of the postmaster' => sub { kill_postmaster($node); },
	'immediate stop' => sub { $node->stop('immediate'); $node->start; },
);
for my $what (sort keys %crashes)
{
	my ($at, $due, $tokens) = prepare();
	$crashes{$what}->($at);
	close_session($_) for values %$at;
	recover($what, $due, $tokens);
}

# Two crashes in a row, the second while nobody has touched the queue since the first.
my ($at, $due, $tokens) = prepare();
$node->stop('immediate');
$node->start;
kill_postmaster($node);
close_session($_) for values %$at;
recover('two crashes', $due, $tokens);

# What waited through all of that waits still.
is( query($node, q{SELECT string_agg(id || ':' || attempt, ' ' ORDER BY id) FROM onceq.jobs('mail', 'scheduled')}),
	in_order(@waiting),
	'jobs that wait for an hour survived all crashes');

log_is_clean($node, kills => $kills);
done_testing();
