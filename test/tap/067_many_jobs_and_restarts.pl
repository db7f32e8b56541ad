# Jobs that were rejected, redriven and rescheduled by the many, also again and again, are after any stop of the server
# what was said of them last, and come when they are due; what was not committed was never said (Invariants 1, 5, 6
# and 12).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.worker_naptime' => "'100ms'", 'onceq.suspicion_window' => 0,
	'onceq.restart_spread' => 0, restart_after_crash => 'on');

sub states
{
	my ($queue) = @_;
	return query($node, "SELECT string_agg(concat_ws(' ', payload::text, state, attempt), ', ' ORDER BY id) FROM onceq.jobs('$queue')");
}

for my $mode (qw(fast immediate kill))
{
	my $queue = "many.$mode";
	query($node, "SELECT onceq.create_queue('$queue', max_attempts => 5)");
	my @ids = split /\n/, query($node, "SELECT onceq.enqueue_many('$queue', test.payloads(9))");
	push @ids, query($node, "SELECT onceq.enqueue('$queue', '10', delay => '1 h')");
	push @ids, query($node, "SELECT onceq.enqueue('$queue', '11', delay => '1 h')");
	my $change = sub {
		my ($verb, $job, $arguments) = @_;
		$arguments = defined $arguments ? ", $arguments" : '';
		return "SELECT onceq.${verb}_jobs('$queue'$arguments, ids => '{$ids[$job - 1]}')";
	};
	query($node, "SELECT onceq.nack(token, id, retry_in => '1 h') FROM onceq.claim('$queue')");
	query($node, $_) for (
		$change->('reschedule', 1), # failed once, and then at once
		$change->('reschedule', 2, "delay => '1 h'"), $change->('reschedule', 2), $change->('reschedule', 2, "delay => '3 h'"),
		$change->('reschedule', 3, "delay => '3 h'"), $change->('reschedule', 3),
		$change->('reject', 4), $change->('redrive', 4), $change->('reject', 4),
		$change->('reject', 5), $change->('redrive', 5), $change->('reschedule', 5, "delay => '3 h'"),
		$change->('reschedule', 6, "delay => '3 h'"), $change->('cancel', 6),
		$change->('reschedule', 10),
		$change->('reschedule', 9, "run_at => clock_timestamp() + '500 ms'"));
	my $session = session($node);
	$session->query_safe('BEGIN; ' . join('; ', $change->('reschedule', 7, "delay => '1 h'"), $change->('reject', 8), $change->('cancel', 10),
			'SAVEPOINT s', $change->('reschedule', 11)));
	my $due = query($node, "SELECT string_agg(due_at::text, ' ' ORDER BY id) FROM onceq.jobs('$queue', 'scheduled') WHERE id IN ($ids[1], $ids[4])");
	if ($mode eq 'kill')
	{
		kill_backend($node, pid_of($session));
		close_session($session);
	}
	else
	{
		$node->stop($mode);
		close_session($session);
		$node->start;
	}
	is(query($node, "SELECT string_agg(due_at::text, ' ' ORDER BY id) FROM onceq.jobs('$queue', 'scheduled') WHERE id IN ($ids[1], $ids[4])"),
		$due, "$mode: the last due time counts");
	audit_is_empty($node, $queue, $mode);
	delivers($node, $queue, [ "$ids[0]:2", "$ids[2]:1", "$ids[6]:1", "$ids[7]:1", "$ids[8]:1", "$ids[9]:1" ], "$mode: what is due is delivered");
	is(states($queue), '1 succeeded 2, 2 scheduled 0, 3 succeeded 1, 4 dead 2, 5 scheduled 1, 6 cancelled 0, '
		. '7 succeeded 1, 8 succeeded 1, 9 succeeded 1, 10 succeeded 1, 11 scheduled 0', "$mode: each job is what was said of it last");
	is(query($node, "SELECT onceq.reschedule_jobs('$queue')"), 3, "$mode: the rest is rescheduled");
	delivers($node, $queue, [ "$ids[1]:1", "$ids[4]:2", "$ids[10]:1" ], "$mode: and delivered");
	audit_is_empty($node, $queue, "$mode: at the end");
}
done_testing();
