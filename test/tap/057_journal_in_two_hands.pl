# The lease journal is kept by the worker and, at the same time, by hand: a lease that is released while
# another session is writing it down is given back only when that can be undone, so that no crash
# restores a lease that was released (Invariant 2). The same if the writing is rolled back.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(stop_worker);

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('primary', 'onceq.lease_journal_after' => 0, 'onceq.worker_naptime' => "'50ms'", 'onceq.suspicion_window' => 0);
query($node, q{SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0')});

my $rounds = q{SELECT runs FROM onceq.worker_chores WHERE chore = 'keep the lease journal'};

for my $end (qw(commit rollback))
{
	my $worker = stop_worker($node, 'postgres');
	my $id = query($node, q{SELECT onceq.enqueue('mail', '1')});
	my $token = query($node, q{SELECT token FROM onceq.claim('mail')});

	# By hand, and held up before it commits.
	my ($gate, $hand) = (session($node), session($node));
	my $pid = pid_of($hand);
	ok(start_paused($node, $gate, $hand, 'journal: after insert', 'CALL onceq.maintain()'), "$end: somebody is writing");

	# The worker goes on, and the lease is released.
	kill('CONT', $worker);
	query($node, "SELECT onceq.release($token)");
	my $runs = query($node, $rounds);
	ok($node->poll_query_until('postgres', "SELECT ($rounds) > $runs + 3"), "$end: the worker has had its turns");
	is(query($node, "SELECT state FROM onceq.job('mail', $id)"), 'running', "$end: the job is not given back yet");
	query($node, "SELECT pg_cancel_backend($pid)") if $end eq 'rollback';
	$gate->query_safe('SELECT pg_advisory_unlock(28529)');
	is((end_query($hand))[1], $end eq 'commit' ? '' : '57014', "$end: then it ends");
	close_session($_) for $gate, $hand;
	ok($node->poll_query_until('postgres', "SELECT state = 'ready' FROM onceq.job('mail', $id)"), "$end: and the job is given back");
	is(query($node, 'SELECT count(*) FROM onceq.lease_journal'), 0, "$end: the journal has forgotten the lease");

	$node->stop('immediate');
	$node->start;
	is(drain($node, 'mail'), "$id:1", "$end: a crash restores nothing");
	is(sqlstate_of($node, "SELECT onceq.ack($token)"), 'OQ001', "$end: the token is worthless");
	audit_is_empty($node, 'mail', $end);
}
log_is_clean($node);
done_testing();
