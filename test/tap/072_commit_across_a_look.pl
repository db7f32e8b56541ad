# A commit that has read the clock just before a job's due time, and tells the board only after the worker has looked for
# due jobs, and passed it over, makes it ready all the same: the watermark has risen before the look (Invariant 1:
# nothing waits for ever).
use strict;
use warnings;
use OnceqNode;
use Test::More;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('primary', 'onceq.worker_passive' => 'on');
query($node, q{SELECT onceq.create_queue('q')});
my ($gate, $look) = (session($node), session($node));

# A session that has read the clock when it commits, and does not go on; its job was not due then. On a machine that
# was too slow for that, another one, with more time.
sub stopped_commit
{
	for my $seconds (2, 10, 60)
	{
		my $session = session($node);
		my $pid = pid_of($session);
		my $due = $session->query_safe("SELECT clock_timestamp() + '$seconds s'");
		$session->query_safe(q{SET onceq.fault = 'stop at commit: after clock'});
		start_query($session, "SELECT onceq.enqueue('q', '$seconds', run_at => '$due') > 0");
		wait_until_stopped($pid);
		return ($session, $pid, $due, $seconds) if query($node, "SELECT clock_timestamp() < '$due'") eq 't';
		kill('CONT', $pid);
		end_query($session);
		close_session($session);
		query($node, q{SELECT onceq.purge_queue('q')});
	}
	die 'the machine is too slow';
}

my ($producer, $pid, $due, $payload) = stopped_commit();
query($node, qq{SELECT onceq.enqueue('q', '"beside"', run_at => '$due')}); # there is something to look for
ok($node->poll_query_until('postgres', "SELECT clock_timestamp() > '$due'"), 'its time comes');
ok(start_paused($node, $gate, $look, 'due: after look', 'CALL onceq.recover()'), 'the look has passed it over');
kill('CONT', $pid);
is((end_query($producer))[0], 't', 'the commit ends');
$gate->query_safe('SELECT pg_advisory_unlock(28529)');
end_query($look);
query($node, 'CALL onceq.recover()');
is(query($node, q{SELECT payload FROM onceq.claim('q', 10) ORDER BY id}), qq{$payload\n"beside"}, 'the job is delivered');
audit_is_empty($node, 'q', 'at the end');
close_session($_) for $producer, $look, $gate;
log_is_clean($node);
done_testing();
