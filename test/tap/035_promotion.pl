# A promoted standby goes on where the primary was. Synchronous: nothing that was committed is lost, no job
# that was acked is delivered again, journalled leases are held still (Invariant 5). Asynchronous: the
# same for all that was replicated; of the rest, jobs are missing or come again, and no id is used twice.
# On a standby one can look at jobs; whatever would change something is refused with 25006 (Invariant 10). While a
# commit waits for the standby, its effect is not there yet: what it enqueued cannot be claimed, what it acks
# cannot be taken away. For some time after a promotion jobs of before are suspicious, however long ago the standby
# was started, and however it was made.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(wait_for_worker);

my $primary = start_node('primary', allows_streaming => 1, 'onceq.lease_journal_after' => "'100ms'", 'onceq.worker_naptime' => "'100ms'");
query($primary, q{SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0')});

sub standby_of
{
	my ($node, $name) = @_;
	$node->backup($name);
	my $standby = PostgreSQL::Test::Cluster->new($name);
	$standby->init_from_backup($node, $name, has_streaming => 1);
	$standby->start;
	return $standby;
}

sub set
{
	my ($node, $setting) = @_;
	$node->append_conf('postgresql.conf', $setting);
	return $node->reload;
}

sub enqueue
{
	my ($node, $count, $arguments) = @_;
	return split /\n/, query($node, "SELECT onceq.enqueue_many('mail', test.payloads($count) " . ($arguments // '') . ')');
}

sub claim
{
	my ($node, $count) = @_;
	return query($node, "SELECT min(token) FROM onceq.claim('mail', $count, worker => 'worker$count')");
}

# Jobs in several states. Returns the token of a journalled lease of three jobs, what is delivered after a
# promotion, and the jobs that wait.
sub work_on
{
	my ($node) = @_;
	my @ids = enqueue($node, 20);
	my $journalled = claim($node, 3);                                                      # 0 to 2
	$node->poll_query_until('postgres', q{SELECT journalled FROM onceq.leases WHERE worker = 'worker3'});
	set($node, "onceq.lease_journal_after = '1h'");
	my $failing = claim($node, 4);                                                         # 3 to 6
	query($node, "SELECT onceq.nack($failing, $ids[3], retry_in => '0'), onceq.nack($failing, $ids[4], retry_in => '1 h')");
	query($node, "SELECT onceq.reject($failing, $ids[5])");
	my @delayed = enqueue($node, 1, ", delay => '1 h'");
	my $acked = claim($node, 5);                                                           # 3, 7 to 10
	query($node, "SELECT onceq.nack($acked, $ids[3], retry_in => '0')");
	my @urgent = enqueue($node, 1, ', priority => 5');
	is(query($node, "SELECT onceq.ack($acked)"), 4, 'the last commit before the end');
	return ($journalled, [ "$ids[3]:3", "$ids[6]:1", map({ "$ids[$_]:1" } 11 .. 19), "$urgent[0]:1" ], [ $ids[4], $delayed[0] ]);
}

# A claim returns a job that was there before only when its lease is in the journal.
sub suspects
{
	my ($node, $what) = @_;
	my $token = query($node, q{SELECT token FROM onceq.claim('mail', worker => 'suspicious')});
	is(query($node, q{SELECT journalled FROM onceq.leases WHERE worker = 'suspicious'}), 't', "$what: an old job is suspicious");
	query($node, "SELECT onceq.release($token)");
	return;
}

sub goes_on
{
	my ($node, $what, $journalled, $due, $waiting) = @_;
	ok(wait_for_worker($node, 'postgres'), "$what: a worker starts");
	audit_is_empty($node, 'mail', $what);
	is(query($node, "SELECT onceq.ack($journalled)"), 3, "$what: a journalled lease is held still");
	my @new = enqueue($node, 3);
	delivers($node, 'mail', [ @$due, map { "$_:1" } @new ], "$what: all that was unfinished is delivered, nothing else");
	is( query($node, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM onceq.jobs('mail', 'scheduled')}),
		join(' ', sort { $a <=> $b } @$waiting), "$what: what waited waits");
	audit_is_empty($node, 'mail', "$what, drained");
	return @new;
}

# ---- A standby.

my $standby = standby_of($primary, 'synchronous');
set($primary, "synchronous_standby_names = '*'");
$primary->poll_query_until('postgres', q{SELECT sync_state = 'sync' FROM pg_stat_replication});
my ($journalled, $due, $waiting) = work_on($primary);
query($primary, q{SELECT onceq.create_consumer('c'); SELECT onceq.once('c', 'before')});
query($primary, q{SELECT onceq.create_queue('keyed')});
my $keyed = query($primary, q{SELECT onceq.enqueue('keyed', '1', unique_key => 'a')});
$primary->wait_for_catchup($standby);

for my $statement (
	q{SELECT onceq.enqueue('mail', '1')},
	q{SELECT onceq.enqueue_many('mail', '{1}')},
	q{SELECT * FROM onceq.claim('mail')},
	"SELECT onceq.ack($journalled)",
	"SELECT onceq.ack($journalled, 1)",
	"SELECT * FROM onceq.ack_and_claim($journalled, 'mail')",
	"SELECT onceq.nack($journalled, 1)",
	"SELECT onceq.reject($journalled, 1)",
	"SELECT onceq.release($journalled)",
	"SELECT onceq.extend($journalled)",
	q{SELECT onceq.find_unique('keyed', 'a')},
	q{SELECT onceq.create_queue('other')},
	q{SELECT onceq.alter_queue('mail', max_attempts => 1)},
	q{SELECT onceq.drop_queue('mail')},
	q{SELECT onceq.purge_queue('mail')},
	q{SELECT onceq.pause_queue('mail')},
	q{SELECT onceq.audit('mail')},
	q{SELECT onceq.once('c', '1')},
	q{SELECT onceq.once_many('c', '{1}')},
	q{SELECT onceq.forget('c', 'before')},
	q{SELECT onceq.create_consumer('other')},
	'SELECT onceq.adopt()',
	'CALL onceq.recover()',
	'CALL onceq.maintain()')
{
	is(sqlstate_of($standby, $statement), '25006', "refused on a standby: $statement");
}
my $jobs = q{SELECT string_agg(id || state || attempt || payload, ' ' ORDER BY id) FROM onceq.jobs('mail') WHERE state IN ('scheduled', 'succeeded', 'dead')};
is(query($standby, $jobs), query($primary, $jobs), 'jobs can be looked at');
is(query($standby, 'SELECT queue, max_attempts FROM onceq.queues ORDER BY queue DESC'), "mail|20\nkeyed|20", 'queues too');
is(query($standby, q{SELECT onceq.is_processed('c', 'before'), count(*) FROM onceq.processed_events}), 't|1', 'events, too');
is(query($standby, 'SELECT count(*) FROM onceq.workers'), 0, 'a standby has no worker');

# ---- Waiting for it.

query($primary, q{SELECT onceq.create_queue('slow', lease => '10 min')});
my @slow = split /\n/, query($primary, q{SELECT onceq.enqueue_many('slow', test.payloads(2))});
my @tokens = split /\n/, query($primary, q{SELECT min(token) FROM onceq.claim('slow') UNION ALL SELECT min(token) FROM onceq.claim('slow')});
my @sessions = map { session($primary) } 1 .. 3;
my $cancelled = pid_of($sessions[1]);
$standby->stop;
start_query($sessions[0], "SELECT onceq.ack($tokens[0])");
start_query($sessions[1], "SELECT onceq.ack($tokens[1])");
start_query($sessions[2], "SELECT onceq.enqueue('slow', '3')");
ok($primary->poll_query_until('postgres', q{SELECT count(*) = 3 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'}),
	'three commits wait for the standby');
query($primary, "SELECT onceq.extend($_, '100 ms')") for @tokens;
ok($primary->poll_query_until('postgres', q{SELECT bool_and(expires_in <= '0') FROM onceq.leases WHERE queue = 'slow'}), 'the leases are over');
$sessions[3] = session($primary);
is($sessions[3]->query_safe(q{SELECT count(*) FROM onceq.claim('slow', 10)}), 0, 'nothing can be claimed');
is(query($primary, q{SELECT count(*) FROM onceq.jobs('slow', 'running')}), 2, 'what they ack is still running');
query($primary, "SELECT pg_cancel_backend($cancelled)");
end_query($sessions[1]);
is(query($primary, "SELECT state FROM onceq.job('slow', $slow[1])"), 'succeeded', 'a cancelled wait is a commit');
is(query($primary, "SELECT state FROM onceq.job('slow', $slow[0])"), 'running', 'the others wait still');
$standby->start;
is((end_query($sessions[0]))[0], 1, 'the standby is back: the ack is done, although the lease was over');
like((end_query($sessions[2]))[0], qr/^\d+$/, 'so is the enqueue');
like($sessions[3]->query_safe(q{SELECT payload FROM onceq.claim('slow', 10)}), qr/^3$/, 'its job, and no other, can be claimed');
close_session($_) for @sessions;

# ---- A synchronous standby is promoted.

# The window is shorter than the life of the standby so far, and longer than what follows.
set($standby, "onceq.lease_journal_after = '1h'");
my $life = 'floor(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()))';
$standby->poll_query_until('postgres', "SELECT $life >= 15");
set($standby, "onceq.suspicion_window = '" . query($standby, "SELECT $life") . "s'");
$primary->kill9;
$standby->promote;
ok(wait_for_worker($standby, 'postgres'), 'a worker starts');
suspects($standby, 'synchronous');
is(query($standby, q{SELECT onceq.find_unique('keyed', 'a')}), $keyed, 'who has a unique key is known');
my @new = goes_on($standby, 'synchronous', $journalled, $due, $waiting);
is(query($standby, q{SELECT onceq.once_many('c', '{before,after}')}), '{f,t}', 'what was processed is remembered');

# ---- An asynchronous one.

set($standby, "onceq.lease_journal_after = '100ms'");
my $second = standby_of($standby, 'asynchronous');
query($standby, q{SELECT onceq.purge_queue('mail')});
($journalled, $due, $waiting) = work_on($standby);
$standby->wait_for_catchup($second);
$second->stop;
my @tail = enqueue($standby, 3);
my $tail = claim($standby, 2);
query($standby, "SELECT onceq.ack($tail)");
query($standby, "SELECT onceq.ack($journalled)");
$standby->kill9;
$second->start;
$second->promote;
@new = goes_on($second, 'asynchronous', $journalled, $due, $waiting);
cmp_ok($new[0], '>', $tail[-1], 'ids of lost jobs are not used again');

# ---- One made of a server that was stopped cleanly.

enqueue($second, 1);
$second->stop;
$second->set_standby_mode;
$second->start;
$second->promote;
suspects($second, 'made cold');

log_is_clean($_, expect => qr/ walreceiver /) for $primary, $standby, $second;
done_testing();
