# Limits of a queue wake and bind those who wait: a claim that was refused because too many jobs run returns when
# one of them ends, by whatever way; one that was refused because of the rate returns when the next may be
# delivered. Many who claim at once never exceed a limit. After a crash the jobs of restored leases run, others do
# not, and the rate is not exceeded across it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('limits', 'onceq.worker_naptime' => 200, 'onceq.lease_journal_after' => "'100 ms'",
	autovacuum => 'off');

# Starts a claim that waits, and returns when it does.
sub start_waiting
{
	my ($queue) = @_;
	my $session = session($node);
	my $pid = pid_of($session);
	start_query($session, "SELECT payload FROM onceq.claim('$queue', wait => '50 s')");
	$node->poll_query_until('postgres',
		"SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the claim does not wait';
	return $session;
}

sub make_queue
{
	my ($queue, $options) = @_;
	query($node, "SELECT onceq.create_queue('$queue', lease => '1 h', backoff_base => '1 h', $options)");
	query($node, "SELECT onceq.enqueue_many('$queue', test.payloads(9))");
	return;
}

# ---- the end of a running job wakes

for my $case (
	[ 'an ack' => 'SELECT onceq.ack(%s)', 2 ],
	[ 'a failed attempt' => 'SELECT onceq.nack(%s, %s)', 2 ],
	[ 'a reject' => 'SELECT onceq.reject(%s, %s)', 2 ],
	[ 'a release' => 'SELECT onceq.release(%s)', 1 ],
	[ 'the end of a lease' => "SELECT onceq.extend(%s, '100 ms')", 2 ])
{
	my ($what, $sql, $next) = @$case;
	my $queue = lc($what) =~ s/ /_/gr;
	make_queue($queue, 'max_running => 1');
	my ($held) = rows($node, "SELECT token, id FROM onceq.claim('$queue')");
	my $waiting = start_waiting($queue);
	query($node, sprintf($sql, ($sql =~ tr/%//) == 2 ? @$held : $held->[0]));
	is((end_query($waiting))[0], $next, "$what wakes a claim that was refused");
	close_session($waiting);
}

make_queue('paced', "rate_limit => 1, rate_period => '5 s', rate_burst => 1");
query($node, "SELECT * FROM onceq.claim('paced')");
my $paced = start_waiting('paced');
is((end_query($paced))[0], 2, 'time wakes a claim that was refused because of the rate');
close_session($paced);

# ---- many at once

query($node, "SELECT onceq.create_queue('crowd', max_running => 5); CALL test.fill('crowd', 600)");
query($node, 'CREATE TABLE runs (began timestamptz, ended timestamptz)');
my $work = q{
	BEGIN;
	SELECT coalesce(min(token), 0) AS token, extract(epoch FROM clock_timestamp()) AS began, count(*) AS count
		FROM onceq.claim('crowd', 1 + (random() * 2)::int) \gset
	SELECT pg_sleep(random() * 0.01);
	INSERT INTO runs SELECT to_timestamp(:began), clock_timestamp() FROM generate_series(1, :count);
	SELECT onceq.ack(:token) WHERE :token <> 0;
	COMMIT;
};
$node->pgbench('--no-vacuum --client=8 --transactions=60', 0, [qr/processed/], [qr/^$/], 'eight clients claim and ack',
	{ 'limits_crowd' => $work });
is(query($node, 'SELECT count(*) > 100 FROM runs'), 't', 'they got jobs');
is( query(
		$node, q{SELECT max(n) FROM runs r, LATERAL (
		SELECT count(*) AS n FROM runs s WHERE s.began <= r.began AND s.ended > r.began) t}),
	5, 'five ran at once, and never more');

# ---- a crash

make_queue('crash', 'max_running => 3');
query($node, "SELECT token FROM onceq.claim('crash', 2)");
$node->poll_query_until('postgres', "SELECT bool_and(journalled) FROM onceq.leases WHERE queue = 'crash'")
  or die 'the lease is not journalled';
$node->append_conf('postgresql.conf', "onceq.lease_journal_after = '1 h'");
$node->reload;
query($node, "SELECT onceq.alter_queue('crash', max_running => 5); SELECT count(*) FROM onceq.claim('crash', 9)");
make_queue('crash.rate', "rate_limit => 1, rate_period => '1 h', rate_burst => 3");
is(query($node, "SELECT count(*) FROM onceq.claim('crash.rate', 2)"), 2, 'two of three are delivered');
kill_postmaster($node);
is(query($node, "SELECT running FROM onceq.queue_stats WHERE queue = 'crash'"), 2, 'restored leases run, others do not');
query($node, "SELECT onceq.alter_queue('crash', max_running => 3)");
is(query($node, "SELECT count(*) FROM onceq.claim('crash', 9)"), 1, 'and count');
is(query($node, "SELECT count(*) FROM onceq.claim('crash.rate', 9)"), 0, 'the rate holds across a crash');
is(query($node, "SELECT onceq.next_claim_at('crash.rate') - now() BETWEEN '50 min' AND '60 min'"),
	't', 'and goes on from the start');

log_is_clean($node);
done_testing();
