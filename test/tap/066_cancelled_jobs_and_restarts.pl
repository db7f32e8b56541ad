# What was cancelled stays so after any stop of the server, what was not yet committed was never cancelled
# (Invariants 1 and 5); and the holder of a lease that survives the restart still learns which of its jobs were
# cancelled (Invariant 3: it does not end the lease as a whole).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.lease_journal_after' => "'0'", 'onceq.worker_naptime' => "'100ms'",
	'onceq.suspicion_window' => 0);
query($node, q{SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0')});

for my $mode (qw(fast immediate))
{
	my @ids = split /\n/, query($node, "SELECT onceq.enqueue_many('mail', test.payloads(6))");
	my $token = query($node, "SELECT max(token) FROM onceq.claim('mail', 3)");
	ok($node->poll_query_until('postgres', 'SELECT count(*) > 0 AND bool_and(journalled) FROM onceq.leases'), "$mode: the lease is journalled");
	is(query($node, "SELECT onceq.cancel('mail', $ids[1]), onceq.cancel('mail', $ids[4])"), 't|t', "$mode: a running and a ready job are cancelled");
	my $open = $node->background_psql('postgres', on_error_stop => 0);
	$open->query_safe("BEGIN; SELECT onceq.cancel('mail', $ids[2]), onceq.cancel('mail', $ids[5])");
	$node->stop($mode);
	eval { $open->quit };
	$node->start;

	is(query($node, "SELECT string_agg(state, ' ' ORDER BY id) FROM onceq.jobs('mail') WHERE id BETWEEN $ids[0] AND $ids[5]"),
		'running cancelled running ready cancelled ready', "$mode: what was committed is cancelled, and nothing else");
	is(query($node, "SELECT onceq.cancelled($token)"), $ids[1], "$mode: the holder can learn what was cancelled");
	is(sqlstate_of($node, "SELECT onceq.ack($token)"), 'OQ001', "$mode: the lease as a whole is not done");
	is(query($node, "SELECT onceq.ack($token, ARRAY[$ids[0], $ids[2]]::bigint[])"), 2, "$mode: but the others are");
	is(query($node, "SELECT string_agg(id::text, ' ') FROM onceq.claim('mail', 10), onceq.ack(token, id)"), "$ids[3] $ids[5]", "$mode: the rest is delivered");
	is(query($node, "SELECT count(*) FROM onceq.audit('mail')"), 0, "$mode: the audit is empty");
}
done_testing();
