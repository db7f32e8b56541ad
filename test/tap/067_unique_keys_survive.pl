# Which unique keys are taken, and by which jobs, is the same after every kind of crash and restart, and in a copy
# made from a dump: the key of an unfinished job is, that of a finished one is not but for its time, and nothing is
# left of transactions that were open (Invariant 5). Between the moment in which a producer's commit can be seen
# and that in which the board knows of it, the key is taken, and who replaces the job waits for the board.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('primary', 'onceq.lease_journal_after' => "'1h'", 'onceq.restart_spread' => 0);
my $keys = q{unnest(ARRAY['ready', 'scheduled', 'running', 'failed', 'acked', 'dead', 'purged', 'window', 'replaced', 'open', 'reopened', 'none']) key};
my $held_query = "SELECT key, onceq.find_unique('q', key) FROM $keys ORDER BY key";
my $kills = 0;

query($node, q{
	SELECT onceq.create_queue('q', backoff_base => '1 h', backoff_jitter => 0);
	CREATE FUNCTION test.enqueue(key text, mode text DEFAULT 'skip', delay interval DEFAULT '0', span interval DEFAULT NULL)
	RETURNS bigint LANGUAGE sql AS $$
		SELECT onceq.enqueue('q', to_jsonb(key), unique_key => key, unique_mode => mode, delay => delay, unique_for => span) $$;
});

# A job that is the only one ready is claimed, and ends as the statement says.
sub end_one
{
	my ($key, $end) = @_;
	my $enqueue = $key eq 'window' ? "test.enqueue('window', span => '1 day')" : "test.enqueue('$key')";
	query($node, "SELECT $enqueue");
	query($node, "SELECT $end FROM onceq.claim('q')");
	return;
}

end_one('acked', 'onceq.ack(token, id)');
end_one('window', 'onceq.ack(token, id)');
end_one('dead', 'onceq.reject(token, id)');
end_one('failed', 'onceq.nack(token, id)');
my $holder = session($node);
query($node, q{SELECT test.enqueue('running')});
$holder->query_safe(q{SELECT id FROM onceq.claim('q', lease => '1 h')});
query($node, $_) for q{SELECT test.enqueue('replaced')}, q{SELECT test.enqueue('replaced', 'debounce', '2 h')},
  q{SELECT test.enqueue('scheduled', delay => '1 h')}, q{SELECT test.enqueue('ready'), test.enqueue('reopened')};

my %held = map { $_->[0] => $_->[1] } rows($node, $held_query);
is(join(' ', sort grep { $held{$_} ne '' } keys %held), 'failed ready reopened replaced running scheduled window', 'keys that are taken');

# Every key that is taken has its job and refuses another, every other one takes it.
sub keys_are_as_before
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply({ map { $_->[0] => $_->[1] } rows($node, $held_query) }, \%held, "$what: keys have the jobs they had");
	my $refused = query($node, "BEGIN; SELECT string_agg(key, ' ' ORDER BY key) FROM $keys WHERE test.enqueue(key) IS NULL; ROLLBACK");
	is($refused, 'failed ready reopened replaced running scheduled window', "$what: and refuse another");
	audit_is_empty($node, 'q', $what);
	return;
}

# Transactions that nobody shall find anything of.
sub open_transactions
{
	my @sessions = map { session($node) } 1 .. 2;
	$sessions[0]->query_safe(q{BEGIN; SELECT test.enqueue('open'), test.enqueue('acked')});
	$sessions[1]->query_safe(q{BEGIN; SELECT test.enqueue('reopened', 'replace'), test.enqueue('reopened', 'replace'), onceq.purge_queue('q')});
	return @sessions;
}

keys_are_as_before('at first');
my @crashes = (
	'kill of a backend' => sub { kill_backend($node, pid_of($_[0])); $kills++; },
	'kill of the postmaster' => sub { kill_postmaster($node); },
	'immediate stop' => sub { $node->stop('immediate'); $node->start; },
	'restart' => sub { $node->restart; },
);
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
while (my ($what, $crash) = splice @crashes, 0, 2)
{
	my @sessions = open_transactions();
	$crash->($sessions[0]);
	close_session($_) for @sessions;
	keys_are_as_before($what);
}
close_session($holder);

# ---- a copy

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'dump');
query($node, 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'copy', $dump ], 'restore');
query($node, 'SELECT onceq.adopt()', 'copy');
is_deeply({ map { $_->[0] => $_->[1] } rows($node, $held_query, 'copy') }, \%held, 'a copy has the keys');
is(query($node, q{SELECT test.enqueue('ready') IS NULL, test.enqueue('acked') > 1000}, 'copy'), 't|t', 'and goes on with them');

# ---- a commit that is seen by all, but not told to the board yet

my ($slow, $other) = (session($node), session($node));
my $pid = pid_of($slow);
$slow->query_safe(q{SET onceq.fault = 'stop at commit: before effects'});
start_query($slow, q{SELECT test.enqueue('open')});
wait_until_stopped($pid);
is(query($node, q{SELECT onceq.find_unique('q', 'open') IS NOT NULL, test.enqueue('open') IS NULL}), 't|t', 'the key is taken');
start_query($other, q{SELECT test.enqueue('open', 'replace') > 0});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted}), 'who replaces waits');
kill('CONT', $pid);
end_query($slow);
is((end_query($other))[0], 't', 'and then replaces');
is(query($node, q{SELECT string_agg(state, ' ' ORDER BY id) FROM onceq.jobs('q') WHERE payload = '"open"'}), 'cancelled ready', 'one of them is delivered');
close_session($_) for $slow, $other;
audit_is_empty($node, 'q', 'at the end');
log_is_clean($node, kills => $kills);
done_testing();
