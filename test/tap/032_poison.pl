# A job whose handler kills the server each time is dead after at most max_attempts + 1 deliveries, and the
# other jobs of its queue are delivered meanwhile (Invariant 6). After an unclean start jobs older than
# it are returned by a claim only when their lease is in the journal, so that the next crash counts as an
# attempt. onceq.suspicion_window = 0 turns that off, a clean start ends it, and a claim that is
# interrupted while it waits for the journal changes nothing.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(stop_worker);

my $node = start_node('primary', 'onceq.lease_journal_after' => "'1h'", 'onceq.worker_naptime' => "'50ms'");
my $kills = 0;
query($node, q{
	SELECT onceq.create_queue(q, max_attempts => 3, backoff_base => '0')
	FROM unnest(ARRAY['time', 'session', 'later']) q;
	CREATE TABLE test.effect (queue text, payload jsonb);
});

# A consumer that lives until it gets a job that kills it, or until the queue is done. Returns how often it died.
sub consume
{
	my ($queue, $arguments, $deaths_at_most) = @_;
	my $deaths = 0;
	while ($deaths < $deaths_at_most)
	{
		my $consumer = session($node);
		my $poison = 0;
		until ($poison)
		{
			my ($id, $token, $payload) =
			  split /\|/, $consumer->query_safe("SELECT id, token, payload FROM onceq.claim('$queue', $arguments)");
			if (!defined $id)
			{
				last if $consumer->query_safe("SELECT count(*) FROM onceq.leases WHERE queue = '$queue'") == 0
				  && $consumer->query_safe("SELECT count(*) FROM onceq.jobs('$queue', 'ready')") == 0;
				$consumer->query_safe('SELECT pg_sleep(0.02)');
				next;
			}
			$poison = $payload eq '"poison"';
			if ($poison) { kill_backend($node, pid_of($consumer)); }
			else
			{
				my $error = error_of($consumer, "BEGIN; INSERT INTO test.effect VALUES ('$queue', '$payload'); SELECT onceq.ack($token); COMMIT");
				die "ack: $error" if $error !~ /^(?:OQ001)?$/; # a short lease may be over
			}
		}
		close_session($consumer);
		return $deaths unless $poison;
		$deaths++;
		$kills++;
	}
	return $deaths;
}

my %arguments = (time => "lease => '1 s'", session => "lease => '10 min', hold => 'session'");
for my $queue (sort keys %arguments)
{
	my $poison = query($node, "SELECT onceq.enqueue('$queue', '\"poison\"')");
	query($node, "SELECT onceq.enqueue_many('$queue', test.payloads(20))");
	my $deaths = consume($queue, $arguments{$queue}, 10);
	cmp_ok($deaths, '>=', 3, "$queue: the job got its attempts");
	cmp_ok($deaths, '<=', 4, "$queue: and at most one more");
	is(query($node, "SELECT state, attempt FROM onceq.job('$queue', $poison)"), 'dead|3', "$queue: it is dead");
	is( query($node, "SELECT count(*), count(DISTINCT payload) FROM test.effect WHERE queue = '$queue'"),
		'20|20', "$queue: the others were done, once");
	audit_is_empty($node, $queue, $queue);
}

# Without suspicion nobody counts.
$node->append_conf('postgresql.conf', 'onceq.suspicion_window = 0');
$node->reload;
my $poison = query($node, q{SELECT onceq.enqueue('later', '"poison"')});
is(consume('later', "lease => '10 min'", 5), 5, 'suspicion off: the job goes on killing');
is(query($node, "SELECT state, attempt FROM onceq.job('later', $poison)"), 'ready|0', 'suspicion off: nothing was counted');
$node->append_conf('postgresql.conf', "onceq.suspicion_window = '15min'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('onceq.suspicion_window') = '15min'");
is(consume('later', "lease => '10 min', hold => 'session'", 10), 3, 'suspicion on again: it ends');
is(query($node, "SELECT state FROM onceq.job('later', $poison)"), 'dead', 'and the job is dead');

# ---- Waiting for the journal.

my $old = query($node, q{SELECT onceq.enqueue('later', '"old"')});
$node->stop('immediate');
$node->start;
$node->poll_query_until('postgres', q{SELECT runs > 0 FROM onceq.worker_chores WHERE chore = 'prepare room'});
my $worker = stop_worker($node, 'postgres');
my $claim = q{SELECT id, attempt FROM onceq.claim('later')};
for my $signal (qw(pg_cancel_backend pg_terminate_backend))
{
	my $interrupted = session($node);
	my $pid = pid_of($interrupted);
	start_query($interrupted, "BEGIN; $claim");
	ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid"),
		'a claim waits for the journal');
	query($node, "SELECT $signal($pid)");
	my ($result, $error) = end_query($interrupted);
	is($error, $signal eq 'pg_cancel_backend' ? '57014' : '57P01', "$signal ends the wait");
	close_session($interrupted);
}
my $new = query($node, q{SELECT onceq.enqueue('later', '"new"', priority => 9)});
is(query($node, $claim), "$new|1", 'a job younger than the start needs no journal');
kill('CONT', $worker);
is(query($node, $claim), "$old|1", 'then the old job is delivered, and no attempt was counted');
is(query($node, q{SELECT count(*), count(*) FILTER (WHERE journalled) FROM onceq.leases}), '2|1',
	'only the lease of the old job was journalled');
audit_is_empty($node, 'later', 'after interrupted claims');

# A clean start trusts again.
$node->restart;
query($node, q{SELECT onceq.enqueue('later', '"trusted"')});
$node->restart;
query($node, q{SELECT id FROM onceq.claim('later', worker => 'trusting')});
is(query($node, q{SELECT journalled FROM onceq.leases WHERE worker = 'trusting'}), 'f', 'a clean start trusts again');

log_is_clean($node, kills => $kills);
done_testing();
