# After an unclean start the jobs that were in hand do not come back all at once (storm), but within
# onceq.restart_spread, each at a time of its own, and none is lost or doubled by that (Invariants 1 and 5). Their
# number is visible. New jobs are delivered meanwhile. What can be done to a scheduled job can be done to
# those held back; the audit knows them. A clean restart holds nothing back.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary',
	'onceq.restart_spread' => "'10min'",
	'onceq.suspicion_window' => 0,
	'onceq.lease_journal_after' => "'1h'",
	'onceq.worker_naptime' => "'20ms'");
query($node, q{SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0')});
my @ids = split /\n/, query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(300))});
my ($late) = split /\n/, query($node, q{SELECT onceq.enqueue('mail', '"late"', delay => '1 h')});
my $token = query($node, q{SELECT min(token) FROM onceq.claim('mail', 200)});
query($node, "SELECT onceq.ack($token, ARRAY[$ids[0], $ids[1]]), onceq.nack($token, $ids[2], retry_in => '0')");

sub stats { return query($node, q{SELECT ready, scheduled, running, restored, held_back FROM onceq.queue_stats WHERE queue = 'mail'}); }

sub set_spread
{
	my ($time) = @_;
	$node->append_conf('postgresql.conf', "onceq.restart_spread = '$time'");
	return $node->reload;
}

# ---- A crash, and ten minutes of spread: the first jobs to come may be waited for.

kill_postmaster($node);
my ($ready, $scheduled, $running, $restored, $held_back) = split /\|/, stats();
is("$restored $held_back", '0 298', 'what may have been in hand is held back, and counted');
is($running, 0, 'nothing is running');
is($ready + $scheduled, 299, 'no job is lost');
cmp_ok($scheduled, '>', 200, 'most of them wait');
audit_is_empty($node, 'mail', 'held back');
is(query($node, "SELECT state FROM onceq.job('mail', $late)"), 'scheduled', 'a delayed job is delayed');

my $new = query($node, q{SELECT onceq.enqueue('mail', '"new"', priority => 9)});
is(query($node, q{SELECT id FROM onceq.claim('mail')}), $new, 'a new job does not wait');

# A purge that is rolled back leaves them where they were.
is(query($node, 'BEGIN; SELECT onceq.purge_queue(\'mail\') > 200; ROLLBACK'), 't', 'they can be purged');
audit_is_empty($node, 'mail', 'after a purge that was rolled back');

# Eight seconds of spread: all come, and not in one moment.
$node->append_conf('postgresql.conf', q{onceq.restart_spread = '8s'});
kill_postmaster($node);
my @counts;
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
do
{
	push @counts, query($node, q{SELECT ready FROM onceq.queue_stats WHERE queue = 'mail'});
} until $counts[-1] >= 299 || time > $deadline;
my %seen = map { $_ => 1 } @counts;
cmp_ok(scalar(keys %seen), '>=', 3, 'they come by and by');
is_deeply(\@counts, [ sort { $a <=> $b } @counts ], 'and stay');
audit_is_empty($node, 'mail', 'let out');
delivers($node, 'mail', [ (map { "$_:1" } $new, @ids[ 3 .. 299 ]), "$ids[2]:2" ], 'each is delivered, once');

# ---- Leases of the journal.

set_spread('10min');
$node->append_conf('postgresql.conf', q{onceq.lease_journal_after = 0});
$node->reload;
my ($long, $short, $bound) = split /\n/, query($node, q{SELECT onceq.enqueue_many('mail', '{1,2,3}')});
my $long_token = query($node, q{SELECT token FROM onceq.claim('mail', worker => 'long')});
my $short_token = query($node, q{SELECT token FROM onceq.claim('mail', worker => 'short')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM onceq.leases WHERE journalled}), 'two leases are journalled');
kill_postmaster($node);
like(stats(), qr/\|2\|1$/, 'two jobs are restored, one held back');
is(query($node, "SELECT onceq.ack($long_token)"), 1, 'a restored lease works');
query($node, "SELECT onceq.extend($short_token, '100 ms')");
ok($node->poll_query_until('postgres', "SELECT attempt = 1 AND state = 'scheduled' AND due_at > enqueued_at FROM onceq.job('mail', $short)"),
	'the job of a restored lease that expires is spread, too');
audit_is_empty($node, 'mail', 'restored');

# ---- A clean restart.

query($node, q{SELECT onceq.purge_queue('mail')});
query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(10))});
$node->restart;
is(stats(), '10|0|0|0|0', 'a clean restart holds nothing back');

log_is_clean($node);
done_testing();
