# What was redriven stays so after any stop of the server, also when its segment had been found drained; what became
# of it afterwards, too; and what was not committed is dead as before (Invariants 1, 5 and 6).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.worker_naptime' => "'100ms'", 'onceq.suspicion_window' => 0);

sub states
{
	my ($queue) = @_;
	return query($node, "SELECT string_agg(concat_ws(' ', payload::text, state, attempt), ', ' ORDER BY id) FROM onceq.jobs('$queue')");
}

for my $mode (qw(fast immediate))
{
	# ---- One segment, in use.

	my $queue = "open.$mode";
	query($node, "SELECT onceq.create_queue('$queue', max_attempts => 2, backoff_base => '0')");
	my @ids = split /\n/, query($node, "SELECT onceq.enqueue_many('$queue', test.payloads(8))");
	query($node, "SELECT onceq.reject(token, id) FROM onceq.claim('$queue', 8)");
	query($node, "SELECT onceq.redrive('$queue', id) FROM unnest(ARRAY[$ids[0], $ids[1], $ids[2], $ids[3], $ids[4]]) id");
	query($node, "SELECT onceq.ack(token, id) FROM onceq.claim('$queue')");
	query($node, "SELECT onceq.nack(token, id, retry_in => '1 h') FROM onceq.claim('$queue')");
	query($node, "SELECT onceq.reject(token, id) FROM onceq.claim('$queue')");
	query($node, "SELECT onceq.cancel('$queue', $ids[3])");
	my $session = session($node);
	$session->query_safe("BEGIN; SELECT onceq.redrive('$queue', $ids[6]); SAVEPOINT s; SELECT onceq.redrive('$queue', $ids[7]); ROLLBACK TO s");
	$node->stop($mode);
	close_session($session);
	$node->start;
	is(states($queue), '1 succeeded 2, 2 scheduled 2, 3 dead 2, 4 cancelled 1, 5 ready 1, 6 dead 1, 7 dead 1, 8 dead 1',
		"$mode: each job is what became of it");
	audit_is_empty($node, $queue, $mode);
	is(query($node, "SELECT onceq.redrive('$queue', $ids[2])"), 1, "$mode: redriven a second time");
	is(query($node, "SELECT onceq.nack(token, id, retry_in => '0') IS NULL FROM onceq.claim('$queue', 10)"), "f\nf",
		"$mode: both have attempts left");
	is(query($node, "SELECT string_agg(concat_ws(' ', attempt, onceq.nack(token, id) IS NULL), ', ' ORDER BY id) FROM onceq.claim('$queue', 10)"),
		'4 t, 3 t', "$mode: but not more than max_attempts");

	# ---- A segment that was drained.

	$queue = "drained.$mode";
	query($node, "SELECT onceq.create_queue('$queue', segment_age => '1 s')");
	query($node, "SELECT count(*) FROM onceq.enqueue_many('$queue', test.payloads(3))");
	query($node, "SELECT onceq.reject(token, id) FROM onceq.claim('$queue', 3)");
	my $drained = "SELECT drained_at IS NOT NULL FROM onceq.segment s JOIN onceq.queue q ON q.id = s.queue_id WHERE q.name = '$queue' AND number = 0";
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	do { query($node, 'CALL onceq.maintain()') } until query($node, $drained) eq 't' || time > $deadline;
	is(query($node, "SELECT onceq.redrive('$queue', count => 2, rate => 1) FROM ($drained) d (drained) WHERE drained"), 2, "$mode: two jobs of a drained segment are redriven");
	is(query($node, $drained), 'f', "$mode: it is drained no longer");
	$node->stop($mode);
	$node->start;
	delivers($node, $queue, [ '1:2', '2:2' ], "$mode: and delivered after the restart");
	is(states($queue), '1 succeeded 2, 2 succeeded 2, 3 dead 1', "$mode: the third is dead as before");
	audit_is_empty($node, $queue, $mode);
}
done_testing();
