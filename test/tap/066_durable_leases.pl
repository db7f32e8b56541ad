# With durable_leases a claim returns only when its lease is in the journal. So the lease outlives a crash in
# the moment after: the token goes on working, the job is not delivered again (Invariants 2 and 5), also
# on a standby that is promoted. Many claims that wait share one commit of the worker. A queue
# without the option writes nothing. Without a worker a claim raises 55000, and nothing is lost.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(wait_for_worker);

my $node = start_node('primary', allows_streaming => 1, 'onceq.suspicion_window' => 0, 'onceq.lease_journal_after' => "'1h'", 'onceq.worker_naptime' => "'100ms'");
query($node, q{
	SELECT onceq.create_queue('safe', lease => '10 min', backoff_base => '0', durable_leases => true);
	SELECT onceq.create_queue('plain', lease => '10 min', backoff_base => '0');
});

sub enqueue
{
	my ($queue, $count) = @_;
	return split /\n/, query($node, "SELECT onceq.enqueue_many('$queue', test.payloads($count))");
}

sub claim
{
	my ($queue, $count, $arguments) = @_;
	return query($node, "SELECT min(token) FROM onceq.claim('$queue', $count" . ($arguments // '') . ')');
}

# ---- A crash right after the claim.

my %crash = (
	'immediate stop' => sub { $node->stop('immediate'); $node->start; },
	'kill of the postmaster' => sub { kill_postmaster($node); },
);
for my $what (sort keys %crash)
{
	my @ids = enqueue('safe', 20);
	my @plain = enqueue('plain', 2);
	my $whole = claim('safe', 5);
	my $mixed = claim('safe', 5);
	my $released = claim('safe', 2);
	my $lost = claim('plain', 1);
	is(query($node, q{SELECT bool_and(journalled = (queue = 'safe')) FROM onceq.leases}), 't', "$what: leases are journalled, of this queue only");
	query($node, "SELECT onceq.ack($mixed, $ids[5]), onceq.nack($mixed, $ids[6], retry_in => '0'), onceq.release($released, $ids[10])");
	ok($node->poll_query_until('postgres', "SELECT state = 'ready' FROM onceq.job('safe', $ids[10])"), "$what: a released job is ready");
	$crash{$what}->();
	is(query($node, "SELECT onceq.ack($whole)"), 5, "$what: the token works");
	is(query($node, "SELECT onceq.ack($mixed)"), 3, "$what: for what was left of it");
	is(query($node, "SELECT onceq.extend($released) > clock_timestamp()"), 't', "$what: also after a release of some of its jobs");
	is(query($node, "SELECT onceq.ack($released)"), 1, "$what: which it does not have any more");
	is(sqlstate_of($node, "SELECT onceq.ack($lost)"), 'OQ001', "$what: an ordinary lease is lost");
	delivers($node, 'safe', [ "$ids[6]:2", "$ids[10]:1", map { "$ids[$_]:1" } 12 .. 19 ], "$what: nothing is delivered again");
	delivers($node, 'plain', [ map { "$_:1" } @plain ], "$what: but from the other queue");
	audit_is_empty($node, 'safe', $what);
}
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM onceq.lease_journal'), 'the journal forgets leases that ended');

# One that nobody has heard of any more expires, and that counts.
my ($forgotten) = enqueue('safe', 1);
claim('safe', 1, ", lease => '1 s'");
kill_postmaster($node);
delivers($node, 'safe', ["$forgotten:2"], 'a durable lease ages');

# ---- Many at once, and what it costs others.

enqueue('safe', 200);
my @sessions = map { session($node) } 1 .. 5;
start_query($_, q{SELECT count(*) FROM generate_series(1, 20) i, LATERAL onceq.claim('safe', 1 + i * 0) c}) for @sessions;
is((end_query($_))[0], 20, 'a session has its leases') for @sessions;
close_session($_) for @sessions;
is(query($node, q{SELECT count(*), count(*) FILTER (WHERE journalled) FROM onceq.leases}), '100|100', 'all of them are durable');
kill_postmaster($node);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 100 AND sum(jobs) = 100 FROM onceq.leases}), 'and outlive a crash');
enqueue('plain', 10);
$node->poll_query_until('postgres', q{SELECT state = 'running' FROM onceq.workers});
is(query($node, q{BEGIN; SELECT count(*) FROM onceq.claim('plain', 1) WHERE false; SELECT pg_current_xact_id_if_assigned() IS NULL; COMMIT}) =~ /t$/ ? 1 : 0, 1,
	'a claim has no transaction id');
is(query($node, q{BEGIN; SELECT count(*) FROM onceq.claim('safe', 1); SELECT pg_current_xact_id_if_assigned() IS NULL; COMMIT}), "1\nt",
	'not even one whose lease is durable: the worker writes it');
query($node, q{SELECT onceq.alter_queue('safe', durable_leases => false)});
query($node, q{SELECT count(*) FROM onceq.claim('safe', worker => 'brief')});
is(query($node, q{SELECT journalled FROM onceq.leases WHERE worker = 'brief'}), 'f', 'the option can be taken back');
query($node, q{SELECT onceq.alter_queue('safe', durable_leases => true)});
is(query($node, q{SELECT count(*) FROM onceq.ack_and_claim(NULL, 'safe')}), 1, 'ack_and_claim waits, too');
is(query($node, q{SELECT count(*) FILTER (WHERE NOT journalled) FROM onceq.leases WHERE queue = 'safe'}), 1, 'for its lease to be durable');

# ---- No worker.

query($node, q{SELECT onceq.create_queue('alone', durable_leases => true); SELECT onceq.enqueue('alone', '1')});
query($node, 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC, onceq_worker');
query($node, 'SELECT pg_terminate_backend(pid) FROM onceq.workers');
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM onceq.workers WHERE pid IS NOT NULL});
my ($result, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM onceq.claim('alone')");
like($stderr, qr/55000.*could not be made durable.*HINT:.*worker/s, 'without a worker the claim says so');
is(query($node, q{SELECT count(*) FROM onceq.leases WHERE queue = 'alone'}), 0, 'and holds nothing');
is(query($node, q{SELECT state, attempt FROM onceq.jobs('alone')}), 'ready|0', 'the job is ready, nothing was counted');
query($node, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC, onceq_worker');
ok(wait_for_worker($node, 'postgres'), 'the worker is back');
is(query($node, q{SELECT attempt FROM onceq.claim('alone')}), 1, 'and the job can be claimed');

# ---- A standby is promoted.

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT sync_state = 'sync' FROM pg_stat_replication});
query($node, q{SELECT onceq.purge_queue('safe')});
my @ids = enqueue('safe', 6);
my $token = claim('safe', 4);
$node->kill9;
$standby->promote;
is(query($standby, "SELECT onceq.ack($token, $ids[0])"), 1, 'promoted: the token works');
is(query($standby, "SELECT onceq.extend($token) > clock_timestamp()"), 't', 'promoted: the lease can be extended');
delivers($standby, 'safe', [ map { "$ids[$_]:1" } 4, 5 ], 'promoted: its jobs are not delivered again');
is(query($standby, "SELECT onceq.ack($token)"), 3, 'promoted: and can be acked');
audit_is_empty($standby, 'safe', 'promoted');

log_is_clean($standby, expect => qr/ walreceiver /);
done_testing();
