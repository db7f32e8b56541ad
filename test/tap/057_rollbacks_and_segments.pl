# What was never committed keeps no segment: ids of transactions, savepoints and calls that were rolled back, and what
# a transaction that enqueues singly reserved ahead and did not use, are void, so that the segment is drained and
# dropped like any other (Invariant 9: memory and tables are bounded). What a segment is dropped by is the
# board under its lock, not the flag in the catalog alone: a job that the board had forgotten when the
# segment was flagged, and that came back, keeps it (Invariant 1).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('primary', 'onceq.worker_naptime' => "'50ms'");
query($node, q{
	SELECT onceq.create_queue('mail', segment_age => '1 s', retention => '0', lease => '10 min');
	CREATE FUNCTION test.spoil(queue text, id bigint, state text) RETURNS void LANGUAGE c AS '$libdir/onceq', 'onceq_test_spoil';
	CREATE FUNCTION test.fail(count int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. count LOOP
			BEGIN
				PERFORM onceq.enqueue('mail', '"nested"'), onceq.enqueue_many('mail', test.payloads(100)), 1 / 0;
			EXCEPTION WHEN division_by_zero THEN NULL;
			END;
		END LOOP;
	END $$});

# The worker looks after segments twice a minute, unless it is called.
sub wait_until
{
	my ($condition, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $true;
	do
	{
		query($node, 'CALL onceq.maintain()');
		$true = query($node, "SELECT $condition FROM onceq.segment") eq 't';
	} until $true || time > $deadline;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($true, $what);
}

sub is_dropped
{
	my ($id, $what) = @_;
	my $first = $id >> 20;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until("bool_and(number > $first)", "$what keeps no segment");
}

# ---- Whatever rolls back. Each round also commits and delivers a job, without which no segment is sealed.

my $enqueue = q{SELECT onceq.enqueue('mail', '1')};
my %rounds = (
	'a transaction rolled back' => sub { query($node, "BEGIN; $enqueue; $enqueue; ROLLBACK"); },
	'a savepoint rolled back' => sub {
		return query($node, "BEGIN; SAVEPOINT a; $enqueue; SAVEPOINT b; $enqueue; RELEASE b; ROLLBACK TO a; $enqueue; ROLLBACK TO a; COMMIT");
	},
	'an exception' => sub { query($node, 'SELECT test.fail(5)'); },
	'a reserve not used' => sub {
		query($node, "BEGIN; $enqueue; $enqueue; $enqueue; $enqueue; $enqueue; COMMIT");
		return is(scalar(split / /, drain($node, 'mail')), 6, 'jobs of a transaction that enqueues singly are delivered');
	},
	'a large call rolled back' => sub { query($node, q{BEGIN; SELECT onceq.enqueue_many('mail', test.payloads(5000)); ROLLBACK}); },
	'a delayed job rolled back' => sub { query($node, q{BEGIN; SELECT onceq.enqueue('mail', '1', delay => '1 h'); ROLLBACK}); },
	'a session terminated' => sub {
		my $session = session($node);
		$session->query_safe("BEGIN; $enqueue; $enqueue; $enqueue");
		query($node, 'SELECT pg_terminate_backend(' . pid_of($session) . ', 10000)');
		return close_session($session);
	},
	'a commit that fails' => sub {
		return is(sqlstate_of($node, "SET onceq.fault = 'error at pre-commit: after pin'; BEGIN; $enqueue; COMMIT"), 'XX000', 'a commit fails');
	},
);
for my $what (sort keys %rounds)
{
	my $id = query($node, $enqueue);
	$rounds{$what}->();
	is(drain($node, 'mail'), ($what =~ /reserve/ ? '' : "$id:1"), "$what: only what was committed is delivered");
	is_dropped($id, $what);
}

# ---- A flag is not enough.

query($node, q{SELECT onceq.alter_queue('mail', retention => '1 h')});
my ($done, $forgotten) = split /\n/, query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(2))});
query($node, q{SELECT onceq.ack(token) FROM onceq.claim('mail')});
query($node, "SELECT test.spoil('mail', $forgotten, 'none')");
my $first = $forgotten >> 20;
wait_until("bool_or(number = $first AND drained_at IS NOT NULL)", 'a segment one of whose jobs is forgotten is flagged');
query($node, "SELECT test.spoil('mail', $forgotten, 'ready'), onceq.alter_queue('mail', retention => '0')");
query($node, 'CALL onceq.maintain()') for 1 .. 3;
is(query($node, "SELECT count(*) FROM onceq.segment WHERE number = $first"), 1, 'the job keeps its segment nevertheless');
is(drain($node, 'mail'), "$forgotten:1", 'it is delivered');
is_dropped($forgotten, 'a job that was done');
audit_is_empty($node, 'mail', 'in the end');
log_is_clean($node, expect => qr/ XX000 (?:ERROR:  fault at "pre-commit: after pin"|STATEMENT)/);
done_testing();
