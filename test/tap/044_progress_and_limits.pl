# The memory of what progress() reports is bounded: when it is used up a further job gets 53400 with a hint that
# names the setting, others go on reporting, and what leaves its lease makes room (Invariant 9). A lease that
# outlives a restart has its time limits again, but no progress: that lives in memory only. A killed holder's
# progress is gone with its lease.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.progress_slots' => 2, 'onceq.worker_naptime' => "'50ms'",
	'onceq.suspicion_window' => 0);
query($node, q{SELECT onceq.create_queue('films', lease => '1 min', backoff_base => '0', hard_time_limit => '2 min')});
my @ids = split /\n/, query($node, "SELECT onceq.enqueue_many('films', test.payloads(3))");
my ($token) = split /\n/, query($node, "SELECT token FROM onceq.claim('films', 3)");

sub report
{
	my ($held, $id, $current) = @_;
	return sqlstate_of($node, "SELECT onceq.progress($held, $id, $current)") || 'ok';
}

sub shown
{
	return query($node, "SELECT string_agg(coalesce(progress_current::text, '-'), ' ' ORDER BY id) FROM onceq.jobs('films')");
}

# ---- Bounded

is(report($token, $ids[0], 1), 'ok', 'a first job reports');
is(report($token, $ids[1], 2), 'ok', 'a second one');
is(report($token, $ids[2], 3), '53400', 'a third one has no room');
is(query($node, q{SELECT used, capacity FROM onceq.memory WHERE setting = 'onceq.progress_slots'}), '2|2', 'both are in use');
my (undef, undef, $stderr) = $node->psql('postgres', "SELECT onceq.progress($token, $ids[2], 3)");
like($stderr, qr/HINT:.*onceq\.progress_slots/, 'the hint names the setting');
is(report($token, $ids[0], 10), 'ok', 'the others go on reporting');
is(shown(), '10 2 -', 'as it is shown');
query($node, "SELECT onceq.release($token, $ids[0])");
is(report($token, $ids[2], 3), 'ok', 'what leaves its lease makes room');
is(shown(), '- 2 3', 'as it is shown');

# ---- After a clean restart

$node->restart;
is(query($node, "SELECT count(*) FROM onceq.jobs('films', 'running') WHERE progress_current IS NULL"), 2,
	'restored jobs run, without progress');
is(report($token, $ids[1], 5), 'ok', 'their holder goes on reporting');
is(query($node, "SELECT onceq.extend($token, '1 h') BETWEEN now() + '1 min' AND now() + '121 s'"), 't',
	'and the hard limit is in force');
query($node, "SELECT onceq.ack($token)");

# ---- The holder is killed

my $session = session($node);
query($node, q{SELECT onceq.alter_queue('films', max_attempts => 1)});
$token = $session->query_safe("SELECT token FROM onceq.claim('films', hold => 'session')");
is(report($token, $ids[0], 1), 'ok', 'a lease of a session');
close_session($session);
$node->poll_query_until('postgres', "SELECT state = 'dead' FROM onceq.job('films', $ids[0])")
  or die 'the job is not lost';
is(shown(), '- - -', 'what was reported is gone with the session');
audit_is_empty($node, 'films', 'at the end');

log_is_clean($node);
done_testing();
