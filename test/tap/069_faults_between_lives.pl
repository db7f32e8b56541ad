# Whatever fails where a board is built, a lease is restored, room is made, a segment ends, or a session waits: nothing
# is lost, no id is used twice, who comes next goes on (Invariants 1 and 5), and a journalled lease is held still.
# The worker does nothing here that nobody waits for: sessions meet each fault, and that they do is tested.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqFaults qw(points_for);
use OnceqNode;
use OnceqWorker qw(stop_worker);

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('primary', 'onceq.worker_passive' => 'on', 'onceq.segment_wait' => "'10min'", log_error_verbosity => 'terse');
my (%tested, $kills);

# Meets the fault by the statement, at the latest when it has been repeated for long enough.
sub meet
{
	my ($fault, $sql) = @_;
	my $offset = -s $node->logfile;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $met;
	do
	{
		my (undef, undef, $stderr) = $node->psql('postgres', "SET onceq.fault = '$fault';\n$sql", on_error_stop => 0);
		$met = $stderr =~ /connection to server was lost|server closed the connection/
		  || slurp_file($node->logfile, $offset) =~ /fault at "/;
		select undef, undef, undef, 0.1 unless $met;
	} until $met || time > $deadline;
	if ($fault =~ /^kill/) { wait_until_restarted($node, $offset); $kills++; }
	$tested{$1}++ if $fault =~ / at (.*)/;
	return ok($met, "$fault: met");
}

# ---- Segments come and go. Each has one finished job, so that it is sealed, drained and dropped.

query($node, q{SELECT onceq.create_queue('old', segment_age => '1 s', retention => '0'), onceq.create_queue('kept')});
my @kept = split /\n/, query($node, q{SELECT onceq.enqueue_many('kept', test.payloads(5))});
my $last = 0;
for my $point (points_for('room', 'segments'))
{
	for my $action (qw(error kill))
	{
		my $id = query($node, q{SELECT onceq.enqueue('old', '1')});
		cmp_ok($id, '>', $last, "$action at $point: no id is used twice");
		$last = $id;
		is(query($node, q{SELECT onceq.ack(token) FROM onceq.claim('old')}), 1, 'it is delivered');
		meet("$action at $point", 'CALL onceq.maintain()');
		audit_is_empty($node, 'old', "$action at $point");
		query($node, 'CALL onceq.maintain()');
	}
}
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
query($node, 'CALL onceq.maintain()') until query($node, 'SELECT bool_and(sealed_at IS NULL) FROM onceq.segment') eq 't' || time > $deadline;
is(query($node, 'SELECT count(*) FROM onceq.segment WHERE sealed_at IS NOT NULL'), 0, 'in the end no old segment is left');

# ---- Boards are built, with a lease of the journal.

query($node, q{SELECT onceq.create_queue('durable', durable_leases => true, lease => '1 h'), onceq.enqueue('durable', '1')});
my $token = query($node, q{SELECT token FROM onceq.claim('durable')});
$node->stop('immediate');
$node->start;
for my $point (points_for('build', 'restore'))
{
	# What has failed leaves the board to be built by the next one.
	meet("$_ at $point", q{SELECT count(*) FROM onceq.claim('durable')}) for qw(error fatal kill);
}
meet("$_ at lookup: before build", "SELECT onceq.ack($token)") for qw(error fatal kill);

# Its holder asks before the board is there, and somebody else builds it before the holder does.
my ($gate, $holder) = (session($node), session($node));
ok(start_paused($node, $gate, $holder, 'lookup: before build', "SELECT onceq.ack($token)"), 'the holder has not found the lease');
is(query($node, q{SELECT count(*) FROM onceq.jobs('durable', 'running')}), 1, 'somebody builds the board');
$gate->query_safe('SELECT pg_advisory_unlock(28529)');
is(join('|', end_query($holder)), '1|', 'the lease is held still');
close_session($_) for $gate, $holder;
audit_is_empty($node, 'durable', 'after failed builds');

# ---- Sessions wait: for a job, for room, for the journal.

query($node, q{SELECT onceq.create_queue('empty'); SELECT onceq.create_queue('room'); SELECT onceq.enqueue('durable', '2')});
meet("$_ at wait: for a job", q{SELECT count(*) FROM onceq.claim('empty', wait => '10 s')}) for qw(error fatal kill);
my ($waiting) = session($node);
start_query($waiting, q{SELECT payload FROM onceq.claim('empty', wait => '60 s')});
query($node, q{SELECT onceq.enqueue('empty', '"woken"')});
is((end_query($waiting))[0], '"woken"', 'who waits is woken');
close_session($waiting);

my %wait = ('wait: for room' => q{SELECT count(*) FROM onceq.enqueue_many('room', test.payloads(3000))}, 'wait: for the journal' => q{SELECT count(*) FROM onceq.claim('durable')});
for my $point (sort keys %wait)
{
	stop_worker($node, 'postgres');
	meet("$_ at $point", $wait{$point}) for qw(error fatal kill);
}
is(query($node, q{SELECT count(*) % 3000 FROM onceq.jobs('room', 'ready', count => 10000)}), 0, 'an enqueue is whole or nothing');
is(query($node, q{SELECT count(*) FROM onceq.enqueue_many('room', test.payloads(3000))}), 3000, 'the worker makes room');
is(query($node, q{SELECT payload, attempt FROM onceq.claim('durable')}), '2|1', 'a claim that did not come so far counts nothing');

# ---- All of them.

is(drain($node, 'kept'), join(' ', map { "$_:1" } @kept), 'nothing is lost');
audit_is_empty($node, $_, $_) for qw(old kept durable empty room);
is(join(', ', grep { !$tested{$_} } points_for(qw(room segments build restore wait))), '', 'every point was armed');
log_is_clean($node, kills => $kills, expect => qr/fault at| XX000 (?:STATEMENT|CONTEXT)/);
done_testing();
