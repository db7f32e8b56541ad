# Whatever fails while stragglers are moved, they are where they were, or where they should be, once (Invariants
# 1 and 5). While they are being moved nobody gets one, and nobody waits: a claim passes them over, and
# producers go on (Invariants 2 and 7).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

# The worker leaves segments to this test.
my $node = start_node('primary', 'onceq.worker_passive' => 'on', 'onceq.suspicion_window' => 0, lock_timeout => "'1min'");
query($node, q{SELECT onceq.create_queue('mail', segment_age => '1 s', retention => '0', lease => '10 min', backoff_base => '0')});

my $live = q{SELECT string_agg(id || ':' || state, ' ' ORDER BY id) FROM onceq.jobs('mail', count => 1000) WHERE state IN ('ready', 'scheduled')};
my (%state, $kills);

# A sealed segment with a finished job, one that is ready and one that waits; returns its number.
sub make_segment
{
	my $done = query($node, q{SELECT onceq.enqueue('mail', '1', priority => 9)});
	my $ready = query($node, q{SELECT onceq.enqueue('mail', '2')});
	my $late = query($node, q{SELECT onceq.enqueue('mail', '3', delay => '1 h')});
	query($node, "SELECT onceq.ack(token, $done) FROM onceq.claim('mail', 1)");
	$state{$ready} = 'ready';
	$state{$late} = 'scheduled';
	my $number = $done >> 20;
	my $old = "SELECT bool_or(sealed_at < now() - interval '1200 ms') FROM onceq.segment WHERE number = $number";
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until (query($node, $old) eq 't' || time > $deadline)
	{
		query($node, 'CALL onceq.maintain()') if query($node, "SELECT bool_and(sealed_at IS NULL) FROM onceq.segment WHERE number = $number") eq 't';
		select undef, undef, undef, 0.1;
	}
	return $number;
}

sub all_there
{
	my ($what) = @_;
	is(query($node, $live), join(' ', map { "$_:$state{$_}" } sort { $a <=> $b } keys %state), "$what: every job is there, once");
	return audit_is_empty($node, 'mail', $what);
}

my $gone = 'SELECT count(*) = 0 FROM onceq.segment WHERE number = ';
for my $point ('relocate: after seize', 'relocate: after copy', 'relocate: after drop', 'relocate: after delete', 'pre-commit: after pin', 'commit: before effects')
{
	for my $action (qw(error fatal kill))
	{
		next if $point =~ /^commit/ && $action ne 'kill';
		my $number = make_segment();
		my $offset = -s $node->logfile;
		my ($result, $stdout, $stderr) = $node->psql('postgres', "SET onceq.fault = '$action at $point'; CALL onceq.maintain()", on_error_stop => 0);
		if ($action eq 'kill') { wait_until_restarted($node, $offset); $kills++; }
		all_there("$action at $point");
		query($node, 'CALL onceq.maintain()');
		is(query($node, $gone . $number), 't', "$action at $point: then the segment goes");
		all_there("$action at $point, moved");
	}
}

# ---- Beside the others.

for my $point ('relocate: after seize', 'relocate: after copy')
{
	my $number = make_segment();
	my @mine = grep { $_ >> 20 == $number } keys %state;
	my ($gate, $mover) = (session($node), session($node));
	start_paused($node, $gate, $mover, $point, 'CALL onceq.maintain()') or die;

	my ($new) = split /\n/, query($node, q{SELECT onceq.enqueue('mail', '"new"', priority => 8)});
	my %got = map { $_->[0] => $_->[1] } rows($node, q{SELECT id, token FROM onceq.claim('mail', 1000)});
	is(join(' ', grep { exists $got{$_} } @mine), '', "$point: a claim passes over what is being moved");
	ok(exists $got{$new}, "$point: and gets what is new");
	query($node, "SELECT onceq.ack($got{$new}, $new), onceq.release($got{$new})");
	is(query($node, 'SELECT sum(ready + scheduled) > 0 FROM onceq.queue_stats'), 't', "$point: numbers can be looked at");
	is(sqlstate_of($node, "BEGIN; SELECT onceq.purge_queue('mail'); ROLLBACK"), '', "$point: a purge waits for nothing");
	$gate->query_safe('SELECT pg_advisory_unlock(28529)');
	is((end_query($mover))[1], '', "$point: the move goes on");
	close_session($_) for $gate, $mover;
	query($node, 'CALL onceq.maintain()');
	is(query($node, $gone . $number), 't', "$point: the segment is gone");
	all_there($point);
}

# A dump has them, and a copy goes on with them.
my $folder = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-f', "$folder/dump.sql", 'postgres' ], 'dumped');
query($node, 'CREATE DATABASE copied TEMPLATE template0');
$node->command_ok([ 'psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', 'copied', '-f', "$folder/dump.sql" ], 'restored');
query($node, 'SELECT onceq.adopt()', 'copied');
is(query($node, $live, 'copied'), query($node, $live), 'a copy has the same jobs');
audit_is_empty($node, 'mail', 'copied', 'copied');
delivers($node, 'mail', [ map { "$_:1" } grep { $state{$_} eq 'ready' } keys %state ], 'each is delivered, once');

log_is_clean($node, kills => $kills, expect => qr/fault at| XX000 (?:STATEMENT|CONTEXT)/);
done_testing();
