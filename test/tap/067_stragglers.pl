# An old segment goes although jobs of it are unfinished: these keep their ids, in the queue's stay tables, and
# everything that could be done to them can be done still; a crash, and whatever fails on the way, loses
# and doubles none (Invariants 1, 2, 5 and 7).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.worker_naptime' => "'50ms'", 'onceq.suspicion_window' => 0);
query($node, q{SELECT onceq.create_queue('mail', segment_age => '1 s', retention => '0', lease => '10 min', backoff_base => '0')});

my $segments = q{SELECT count(*) FROM onceq.segment WHERE queue_id = 1 AND number = };
# A job that falls due in a moment is ready or scheduled.
my $states = q{SELECT string_agg(id || ':' || CASE WHEN payload = '"soon"' THEN 'waiting' ELSE state END || ':' || attempt || ':' || coalesce(error, '') || ':' || payload, ' ' ORDER BY id) FROM onceq.jobs('mail', count => 1000)};

sub until_gone
{
	my ($number, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $left;
	do { query($node, 'CALL onceq.maintain()'); $left = query($node, $segments . $number); } until $left == 0 || time > $deadline;
	return is($left, 0, $what);
}

my @ids = split /\n/, query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(12))});
my ($late) = query($node, q{SELECT onceq.enqueue('mail', '"late"', delay => '1 h')});
my ($soon) = query($node, q{SELECT onceq.enqueue('mail', '"soon"', delay => '15 s')});
my ($urgent) = query($node, q{SELECT onceq.enqueue('mail', '"urgent"', priority => 9)});
my $first = $ids[0] >> 20;
my $token = query($node, q{SELECT min(token) FROM onceq.claim('mail', 6)});
query($node, "SELECT onceq.ack($token, ARRAY[$urgent, $ids[0]]), onceq.nack($token, $ids[1], 'once', '0'), onceq.nack($token, $ids[2], 'later', '1 h'), onceq.reject($token, $ids[3], 'never')");
my $before = query($node, $states);

# A job that is held keeps the segment.
$node->poll_query_until('postgres', "SELECT bool_or(sealed_at < now() - interval '2 s') FROM onceq.segment WHERE number = $first") or die;
query($node, 'CALL onceq.maintain()') for 1 .. 3;
is(query($node, $segments . $first), 1, 'a job that is held keeps its segment');
query($node, "SELECT onceq.release($token)");
until_gone($first, 'then it goes');
my %was = map { /^(\d+):(.*)/ ? ($1 => $2) : () } split / /, $before;
my %is = map { /^(\d+):(.*)/ ? ($1 => $2) : () } split / /, query($node, $states);
delete $was{$_} for $urgent, $ids[0], $ids[3];
$was{ $ids[4] } =~ s/running:1/ready:0/;
is_deeply(\%is, \%was, 'what is unfinished is as it was, the rest is gone');
audit_is_empty($node, 'mail', 'relocated');

for my $crash (1, 0)
{
	kill_postmaster($node) if $crash;
	is_deeply({ map { /^(\d+):(.*)/ ? ($1 => $2) : () } split / /, query($node, $states) }, \%was, 'they are there after a crash') if $crash;
	audit_is_empty($node, 'mail', 'after a crash');
}
my $held = query($node, q{SELECT min(token) FROM onceq.claim('mail', 5)});
is(query($node, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM onceq.jobs('mail', 'running')}), join(' ', @ids[ 1, 4 .. 7 ]), 'they are claimed');
is(query($node, "SELECT onceq.ack($held, $ids[1], '\"result\"')"), 1, 'acked');
query($node, "SELECT onceq.nack($held, $ids[4], 'again', '0'), onceq.reject($held, $ids[5], 'no')");
is(query($node, "SELECT onceq.nack($held, $ids[6], 'long', '1 h') IS NOT NULL"), 't', 'nacked');
query($node, "SELECT onceq.release($held)");
kill_postmaster($node);
audit_is_empty($node, 'mail', 'after ends and a crash');
ok($node->poll_query_until('postgres', "SELECT state = 'ready' FROM onceq.job('mail', $soon)"), 'a due time comes');
delivers($node, 'mail', [ "$ids[4]:2", map({ "$_:1" } @ids[ 7 .. 11 ], $soon) ], 'each is delivered');
is(query($node, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM onceq.jobs('mail', 'scheduled')}), "$ids[2] $ids[6] $late", 'the others wait');
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
query($node, 'CALL onceq.maintain()') until query($node, 'SELECT count(*) FROM onceq_data.j1_stay') <= 3 || time > $deadline;
is(query($node, 'SELECT count(*) FROM onceq_data.j1_stay'), 3, 'those that ended are deleted');

# Somebody looks at an old segment for hours, as a dump does: the worker does not try without end to move what is left.
query($node, q{SELECT onceq.create_queue('read', segment_age => '1 s', retention => '0'); ALTER SYSTEM SET onceq.worker_naptime = '1s'});
query($node, q{SELECT onceq.enqueue_many('read', test.payloads(3)); SELECT pg_reload_conf()});
my $table = query($node, q{SELECT replace(privileges::text, '.q', '.j') || '_0000' FROM onceq.queues WHERE queue = 'read'});
my $reader = session($node);
$reader->query_safe("BEGIN; LOCK TABLE $table IN ACCESS SHARE MODE");
query($node, q{SELECT onceq.ack(token) FROM onceq.claim('read')});
$node->poll_query_until('postgres', q{SELECT sealed_at < now() - interval '2 s' FROM onceq.segment JOIN onceq.queue ON id = queue_id WHERE name = 'read' AND number = 0}) or die;
my $runs = q{SELECT runs FROM onceq.worker_chores WHERE database = 'postgres' AND chore = 'keep segments'};
my $before = query($node, $runs);
query($node, 'SELECT pg_sleep(3)');
cmp_ok(query($node, $runs), '<', $before + 60, 'the worker rests');
is(query($node, q{SELECT string_agg(payload::text, ' ' ORDER BY id) FROM onceq.claim('read', 3)}), '2 3', 'the jobs can be claimed');
$reader->query_safe('COMMIT');
close_session($reader);
query($node, q{ALTER SYSTEM RESET onceq.worker_naptime; SELECT pg_reload_conf()});
is(query($node, q{SELECT onceq.purge_queue('mail')}), 3, 'a purge takes them');
audit_is_empty($node, 'mail', 'purged');
query($node, q{SELECT onceq.drop_queue('mail')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_class WHERE relname LIKE '%1\_stay%'}), 'a dropped queue leaves nothing');
log_is_clean($node);
done_testing();
