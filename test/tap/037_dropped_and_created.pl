# Names that are used again mean new things. Queues, the extension and its database are dropped, with jobs and
# leases in them, and created anew under the same names, again and again: no job of the former is
# delivered, no token of the former is good, no event was processed, ids begin at 1, and the memory of the former is free again:
# there is room for a few queues, and for the jobs of one of them, only (Invariants 2, 9 and 10).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.max_queues' => 4, 'onceq.state_memory' => "'256kB'", 'onceq.lease_slots' => 16,
	'onceq.worker_naptime' => "'50ms'");
my %token; # of the last queue of a name
my $rounds = 12;

# Until the worker has removed what was dropped there may be no room; that it comes is waited for.
sub query_when_there_is_room
{
	my ($sql, $database) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $error;
	do { $error = sqlstate_of($node, $sql, $database) } while $error eq '53400' && time < $deadline;
	die "$sql: $error" if $error;
	return;
}

# Scattered jobs, so that their states cannot be held in a few bytes; leases; a delayed and a dead job.
sub use_queue
{
	my ($name, $database) = @_;
	query_when_there_is_room("SELECT onceq.create_queue('$name', lease => '1 h')", $database);
	query_when_there_is_room(
		"SELECT id FROM onceq.enqueue_many('$name', test.payloads(8000)) id", $database);
	is( query($node, "SELECT min(id), max(id), count(*) FROM onceq.jobs('$name', count => 10000)", $database),
		'1|8000|8000', "$name: only its own jobs, from 1 on");
	query_when_there_is_room("SELECT onceq.enqueue('$name', '0', delay => '1 h')", $database);
	my ($first, $second) = map { $_->[0] } rows($node,
		"SELECT token FROM onceq.claim('$name', 500) GROUP BY token UNION ALL SELECT token FROM onceq.claim('$name', 10, hold => 'session') GROUP BY token",
		$database);
	query_when_there_is_room("SELECT onceq.ack($first, id) FROM generate_series(1, 99, 2) id", $database);
	query_when_there_is_room("SELECT onceq.reject($first, 2)", $database);
	is(sqlstate_of($node, "SELECT onceq.ack($token{$name})", $database), 'OQ001', 'a token of the former is worthless')
	  if $token{$name};
	$token{$name} = $first;
	return;
}

sub all_is_free
{
	my ($what) = @_;
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_tables WHERE schemaname = 'onceq_data'}), "$what: no table is left");
	is(query($node, 'SELECT count(*) FROM onceq.leases'), 0, "$what: no lease is left");
	return;
}

# ---- Queues.

for my $round (1 .. $rounds)
{
	use_queue('mail');
	query($node, q{SELECT onceq.drop_queue('mail')});
}
all_is_free('queues');

# Of a transaction that created, dropped and created, only the last counts.
query_when_there_is_room(q{
	BEGIN;
	SELECT onceq.create_queue('mail'); SELECT onceq.enqueue('mail', '1'); SELECT onceq.drop_queue('mail');
	SAVEPOINT a; SELECT onceq.create_queue('mail'); SELECT onceq.enqueue('mail', '2') FROM generate_series(1, 5); ROLLBACK TO a;
	SELECT onceq.create_queue('mail'); SELECT onceq.enqueue('mail', '3') FROM generate_series(1, 3);
	COMMIT});
is(query($node, q{SELECT string_agg(payload::text, ' ') FROM test.drain('mail')}), '3 3 3', 'the last queue of a transaction counts');
audit_is_empty($node, 'mail', 'created twice in a transaction');
# More than there is room for, if what is undone were not free at once.
for my $round (1 .. $rounds)
{
	query_when_there_is_room(qq{BEGIN; SELECT onceq.create_queue('undone$round'); SELECT onceq.enqueue('undone$round', '1'); ROLLBACK});
}
pass('queues whose creation was undone leave nothing');
query($node, q{SELECT onceq.drop_queue('mail')});

# Dropped while jobs are claimed, acked and enqueued in open transactions.
use_queue('mail');
my @sessions = map { session($node) } 1 .. 3;
my $token = query($node, q{SELECT min(token) FROM onceq.claim('mail', 10)});
$sessions[0]->query_safe(q{BEGIN; SELECT onceq.enqueue('mail', '1')});
$sessions[1]->query_safe("BEGIN; SELECT onceq.ack($token)");
$sessions[2]->query_safe(q{BEGIN; SELECT id FROM onceq.claim('mail')});
query($node, q{SELECT onceq.drop_queue('mail')});
query_when_there_is_room(q{SELECT onceq.create_queue('mail')});
query($node, q{SELECT onceq.enqueue('mail', '"new"')});
like(error_of($_, 'COMMIT'), qr/^(OQ001|42704|)$/, 'a transaction of the dropped queue ends') for @sessions;
close_session($_) for @sessions;
is(drain($node, 'mail'), '1:1', 'and does nothing to its namesake');
audit_is_empty($node, 'mail', 'the namesake');
query($node, q{SELECT onceq.drop_queue('mail')});
all_is_free('queues in use');

# ---- The extension; a session that marks events plans anew.

my $marker = session($node);
for my $round (1 .. $rounds)
{
	use_queue('mail');
	query($node, q{SELECT onceq.create_consumer('c')});
	is($marker->query_safe(q{SELECT onceq.once('c', '1'), onceq.once('c', '1')}), 't|f', 'no event was processed');
	query($node, $round % 2 ? 'DROP EXTENSION onceq CASCADE; CREATE EXTENSION onceq' : 'DROP EXTENSION onceq CASCADE');
	query($node, 'CREATE EXTENSION onceq') unless $round % 2;
}
close_session($marker);
all_is_free('extension');

# ---- The database.

for my $round (1 .. $rounds / 2)
{
	query($node, 'CREATE DATABASE shop');
	query($node, 'CREATE EXTENSION onceq', 'shop');
	add_helpers($node, 'shop');
	use_queue($_, 'shop') for qw(mail orders);
	query($node, $round % 2 ? 'DROP DATABASE shop' : 'DROP DATABASE shop WITH (FORCE)');
}

# All of the memory is there for the next.
use_queue($_) for qw(mail orders);
like(sqlstate_of($node, "SELECT onceq.create_queue('q$_'), onceq.enqueue('q$_', '1')"), qr/^(53400)?$/, 'a limit is a limit') for 1 .. 8;
log_is_clean($node, expect => qr/terminating .*autovacuum/);
done_testing();
