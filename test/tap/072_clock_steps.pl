# Somebody sets the clock of the machine, forward and back: leases do not notice, because they age by a clock that
# is never set; a job is due when the clock says so, not before and not later; nothing is lost (Invariants 1, 11, 12).
use strict;
use warnings;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.worker_naptime' => "'50ms'");
query($node, q{SELECT onceq.create_queue(name, lease => '10 min', backoff_base => '0') FROM unnest('{q,short}'::text[]) name});

# Sets the clock in all processes; returns when a session that is open has it.
my $session = session($node);
sub set_clock
{
	my ($hours) = @_;
	my $seconds = $hours * 3600;
	query($node, "ALTER SYSTEM SET onceq.clock_offset = $seconds");
	query($node, 'SELECT pg_reload_conf()');
	for (1 .. 1000)
	{
		return if $session->query_safe(q{SELECT setting FROM pg_settings WHERE name = 'onceq.clock_offset'}) eq $seconds;
	}
	die 'the clock is not set';
}

sub state_is
{
	my ($id, $state, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('postgres', "SELECT state = '$state' FROM onceq.job('q', $id)"), $what);
}

# ---- Forward by two hours

my $held = query($node, q{SELECT onceq.enqueue('q', '"held"')});
my $token = $session->query_safe(q{SELECT token FROM onceq.claim('q')});
my $soon = query($node, q{SELECT onceq.enqueue('q', '"soon"', delay => '1 h')});
my $late = query($node, q{SELECT onceq.enqueue('q', '"late"', delay => '3 h')});
is(drain($node, 'q'), '', 'nothing is due');
set_clock(2);
ok($node->poll_query_until('postgres', q{SELECT ready = 1 FROM onceq.queue_stats WHERE queue = 'q'}), 'what became due by the step is promoted');
is(drain($node, 'q'), "$soon:1", 'and only that is delivered');
query($node, 'CALL onceq.recover()');
state_is($held, 'running', 'a lease does not run out');
is($session->query_safe("SELECT onceq.ack($token)"), 1, 'its holder acks');

# ---- Back by two hours: what is due in one of them was due a moment ago

$held = query($node, q{SELECT onceq.enqueue('short', '"held"')});
$token = $session->query_safe(q{SELECT token FROM onceq.claim('short', lease => '500 ms')});
my $was_due = query($node, q{SELECT onceq.enqueue('q', '"was due"', delay => '-0 s')});
set_clock(0);
my $plain = query($node, q{SELECT onceq.enqueue('q', '"plain"')});
my $again = query($node, q{SELECT onceq.enqueue('q', '"one hour"', delay => '1 h')});
state_is($again, 'scheduled', 'a job that would have been due before the step is not');
is(drain($node, 'q'), in_order("$was_due:1", "$plain:1"), 'jobs without delay are delivered, whenever they were enqueued');
delivers($node, 'short', ["$held:2"], 'a lease runs out in its time, though the clock says that it was granted in the future');
state_is($late, 'scheduled', 'a job that was delayed before the steps waits');
set_clock(1);
state_is($again, 'ready', 'a job is due when the clock reaches its time');
set_clock(4);
delivers($node, 'q', [ "$late:1", "$again:1" ], 'and so are the others');

# ---- A crash at another time of day

$held = query($node, q{SELECT onceq.enqueue('q', '"held"')});
query($node, q{SELECT * FROM onceq.claim('q')});
my $delayed = query($node, q{SELECT onceq.enqueue('q', '"delayed"', delay => '1 h')});
close_session($session);
kill_postmaster($node);
$session = session($node);
set_clock(0);
delivers($node, 'q', ["$held:1"], 'after a crash and a step back what was ready is ready');
state_is($delayed, 'scheduled', 'and what was scheduled is scheduled');
set_clock(6);
delivers($node, 'q', ["$delayed:1"], 'until its time comes');

# ---- Back between two changes of a job: what was said last counts, not what bears the later time

my $moved = query($node, q{SELECT onceq.enqueue('q', '"moved"', delay => '1 h')});
is(query($node, q{SELECT onceq.reschedule_jobs('q', delay => '3 h')}), 1, 'a job is to wait longer');
set_clock(4);
is(query($node, q{SELECT onceq.reschedule_jobs('q', delay => '1 h')}), 1, 'and then less long');
close_session($session);
kill_postmaster($node);
$session = session($node);
set_clock(6);
delivers($node, 'q', ["$moved:1"], 'after a crash, too, the last due time counts');

# ---- Back when a job has come to wait for its turn

my $first = query($node, q{SELECT onceq.enqueue('q', '"first"', ordering_key => 'k')});
$token = $session->query_safe(q{SELECT token FROM onceq.claim('q')});
my $second = query($node, q{SELECT onceq.enqueue('q', '"second"', delay => '1 h', ordering_key => 'k')});
set_clock(8);
ok($node->poll_query_until('postgres', q{SELECT ready + blocked = 1 FROM onceq.queue_stats WHERE queue = 'q'}), 'a job becomes due');
is(drain($node, 'q'), '', 'but its turn does not come');
set_clock(6);
audit_is_empty($node, 'q', 'which is no fault of the board, when the clock is set back');
is($session->query_safe("SELECT onceq.ack($token)"), 1, 'its turn comes');
is(drain($node, 'q'), '', 'before its time');
state_is($second, 'scheduled', 'so that it waits for that');
set_clock(8);
delivers($node, 'q', ["$second:1"], 'and is delivered then');
audit_is_empty($node, 'q', 'after all steps');
close_session($session);
log_is_clean($node);
done_testing();
