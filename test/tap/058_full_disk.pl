# A disk that is full, played by a limit of the size of files: an enqueue that cannot be written fails and leaves
# nothing behind, an ack that cannot be written fails and leaves the lease as it was; claims, and acks that
# need no new room, go on, and all does when there is room again (Invariants 1, 4 and 9).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

# XX000: PostgreSQL has no better name for a file that is too large; a full disk is 53100.
my $full = qr/^(?:53100|XX000)$/;

my $node = start_node('primary', initdb => ['--wal-segsize=1'], 'onceq.worker_naptime' => "'50ms'");
query($node, q{
	SELECT onceq.create_queue('mail', lease => '10 min', backoff_base => '0', max_attempts => 1000);
	CREATE FUNCTION test.noise(kilobytes int) RETURNS jsonb LANGUAGE sql
		RETURN (SELECT to_jsonb(string_agg(md5(random()::text), '')) FROM generate_series(1, kilobytes * 32));
});
$node->stop;
is(system('sh', '-c', 'ulimit -f 20480; exec pg_ctl -s -w -D "$1" -l "$2" start', 'sh', $node->data_dir, $node->logfile), 0, 'started with a limit');
$node->_update_pid(1);

sub counts
{
	return query($node, q{SELECT ready, running, scheduled FROM onceq.queue_stats WHERE queue = 'mail'});
}

# Runs the statement until it fails; returns how often it went well.
sub until_full
{
	my ($statement, $what) = @_;
	for my $times (0 .. 1000)
	{
		my $error = sqlstate_of($node, $statement);
		next unless $error;
		like($error, $full, "$what: the disk is full");
		return $times;
	}
	return fail("$what: the disk is never full");
}

# ---- Jobs.

my $ready = 500 * until_full(q{SELECT count(*) FROM onceq.enqueue_many('mail', ARRAY(SELECT test.noise(1) FROM generate_series(1, 500)))}, 'enqueue_many');
is(counts(), "$ready|0|0", 'enqueue_many: all of a call, or nothing');
$ready += until_full(q{SELECT onceq.enqueue('mail', test.noise(1)) FROM generate_series(1, 50)}, 'enqueue') * 50;
is(counts(), "$ready|0|0", 'enqueue: all of a transaction, or nothing');
like(sqlstate_of($node, q{BEGIN; SAVEPOINT a; SELECT onceq.enqueue('mail', test.noise(1)) FROM generate_series(1, 1000)}), $full, 'in a savepoint');
is(counts(), "$ready|0|0", 'the same');
audit_is_empty($node, 'mail', 'enqueue');
my ($token, @ids) = map { split / / } map { $_->[0] } rows($node, q{SELECT min(token) || ' ' || string_agg(id::text, ' ' ORDER BY id) FROM onceq.claim('mail', 10)});
is(query($node, "SELECT onceq.ack($token, $ids[0])"), 1, 'claims and acks go on');
$ready -= 10;

# ---- Results.

my $acked = 1;
my $session = session($node);
while (@ids > $acked + 1)
{
	my $error = error_of($session, "SELECT onceq.ack($token, $ids[$acked], test.noise(8000))");
	$acked++ unless $error;
	last if $error;
}
my $error = error_of($session, "SELECT onceq.ack($token, $ids[$acked], test.noise(8000))");
like($error, $full, 'an ack that cannot be written fails');
is(counts(), "$ready|" . (10 - $acked) . '|0', 'and ends nothing');
like(error_of($session, "BEGIN; SELECT onceq.ack($token, $ids[$acked]); SELECT onceq.ack($token, $ids[$acked + 1], test.noise(8000))"), $full,
	'neither what its transaction acked before') if @ids > $acked + 1;
$session->query('ROLLBACK');
$session->{stderr} = '';
is(counts(), "$ready|" . (10 - $acked) . '|0', 'the lease is held');
is(query($node, "SELECT onceq.ack($token)"), 10 - $acked, 'and can be acked without a result');
close_session($session);
audit_is_empty($node, 'mail', 'ack');

# ---- Room again.

$node->stop('immediate');
$node->start;
audit_is_empty($node, 'mail', 'after a crash');
is(query($node, q{SELECT count(*) FROM onceq.enqueue_many('mail', ARRAY(SELECT test.noise(1) FROM generate_series(1, 100)))}), 100, 'with room, producers go on');
is(query($node, q{SELECT count(*), count(DISTINCT id) FROM test.drain('mail')}), join('|', ($ready + 100) x 2), 'and each job is delivered');
log_is_clean($node, expect => qr/ (?:XX000|53100) /);
done_testing();
