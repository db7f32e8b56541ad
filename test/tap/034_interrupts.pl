# Calls that are interrupted at any moment, by a timeout, pg_cancel_backend or pg_terminate_backend, leave
# nothing behind (Invariants 1, 2 and 4): an enqueue_many adds all jobs or none, a claim that raised
# leaks no lease, an ack that raised ended nothing, a purge takes all jobs or none. Timeouts grow from nothing to more than
# the call needs, so that they hit every part of it, the commit too.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.lease_journal_after' => "'100ms'", 'onceq.worker_naptime' => "'50ms'");
query($node, q{
	SELECT onceq.create_queue(q, max_attempts => 1000, backoff_base => '0', lease => '10 min')
	FROM unnest(ARRAY['produced', 'consumed', 'purged']) q;
	CREATE TABLE test.effect (id bigint PRIMARY KEY);
	CREATE FUNCTION test.work(count int) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		held bigint;
		ids bigint[];
	BEGIN
		SELECT min(token), array_agg(id) INTO held, ids FROM onceq.claim('consumed', count);
		INSERT INTO test.effect SELECT unnest(ids);
		RETURN CASE WHEN held IS NOT NULL THEN onceq.ack(held) END;
	END $$;
});

# Runs the statement again and again, each time interrupted later; returns how often it said that it went
# well. It may have done so once more often: the timeout before may interrupt SET, and then not the statement.
sub run_with_timeouts
{
	my ($statement, $rounds) = @_;
	my $session = session($node);
	my %times = ('' => 0, '57014' => 0);
	$times{ error_of($session, "SET statement_timeout = $_;\n$statement") }++ for 1 .. $rounds;
	close_session($session);
	is(join(' ', sort keys %times), ' 57014', "$times{''} times it went well, $times{57014} times it was interrupted");
	return $times{''};
}

# Runs the statements while another session cancels whatever this one does, again and again.
sub run_with_cancels
{
	my ($statements, $what) = @_;
	my $victim = session($node);
	my $sniper = session($node);
	my $pid = pid_of($victim);
	my $offset = -s $node->logfile;
	my $sniper_pid = pid_of($sniper);
	start_query($sniper, "DO \$\$ BEGIN LOOP PERFORM pg_cancel_backend($pid), pg_sleep(random() * 0.002); END LOOP; END \$\$");
	$node->poll_query_until('postgres', "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $sniper_pid") or die 'nobody cancels';
	start_query($victim, $statements);
	end_query($victim);
	query($node, "SELECT pg_terminate_backend($sniper_pid)");
	close_session($_) for $sniper, $victim;
	my $hits = () = slurp_file($node->logfile, $offset) =~ /canceling statement due to user request/g;
	ok($hits, "$what: $hits statements were cancelled");
	return;
}

# The session is terminated in the middle of its statement.
sub run_terminated
{
	my ($statement, $function) = @_;
	my $session = session($node);
	my $pid = pid_of($session);
	start_query($session, $statement);
	$node->poll_query_until('postgres', "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $pid");
	query($node, "SELECT $function($pid)");
	my ($result, $error) = end_query($session);
	close_session($session);
	return $error;
}

sub wait_for_no_lease
{
	my ($what) = @_;
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM onceq.leases'), "$what: no lease is left");
	return;
}

# ---- enqueue_many

my $enqueue = q{SELECT count(*) FROM onceq.enqueue_many('produced', test.payloads(5000))};
my $well = run_with_timeouts($enqueue, 50);
my $long = q{SELECT count(*) FROM generate_series(1, 200) i, LATERAL onceq.enqueue_many('produced', test.payloads(5000 + i * 0))};
is(run_terminated($long, 'pg_cancel_backend'), '57014', 'an enqueue is cancelled');
is(run_terminated($long, 'pg_terminate_backend'), '57P01', 'an enqueue is terminated');
my $ready = query($node, q{SELECT ready FROM onceq.queue_stats WHERE queue = 'produced'});
is($ready % 5000, 0, 'each call adds all of its jobs, or none');
cmp_ok($ready, '>=', 5000 * $well, 'all of them, if it says so');
audit_is_empty($node, 'produced', 'enqueue_many');
is(query($node, q{SELECT count(*), count(DISTINCT id) FROM test.drain('produced')}),
	"$ready|$ready", 'all that is ready is delivered, once');

# ---- claim

my $jobs = 60000;
query($node, "CALL test.fill('consumed', $jobs)");
run_with_cancels(q{SELECT onceq.release(min(token)) FROM onceq.claim('consumed', 1000); } x 300, 'claim');
wait_for_no_lease('claim and release');
is(query($node, q{SELECT ready FROM onceq.queue_stats WHERE queue = 'consumed'}), $jobs, 'claim and release: all jobs are ready');

# ---- claim and ack, in one transaction and in two

run_with_cancels('SELECT test.work(200); ' x 300, 'claim and ack');
run_with_cancels(q{
	SELECT coalesce(min(token), 0) AS held, array_agg(id) AS ids FROM onceq.claim('consumed', 200, hold => 'session') \gset
	BEGIN; INSERT INTO test.effect SELECT unnest(:'ids'::bigint[]); SELECT onceq.ack(:held); COMMIT;
	SELECT onceq.release(:held);
} x 150, 'claim, then ack');
for (1 .. 3)
{
	is(run_terminated('DO $$ BEGIN FOR i IN 1 .. 100000 LOOP PERFORM test.work(1); COMMIT; END LOOP; END $$', 'pg_terminate_backend'),
		'57P01', 'a consumer is terminated');
}
wait_for_no_lease('claim and ack');
($ready, my $done) = split /\|/,
  query($node, q{SELECT ready, (SELECT count(*) FROM test.effect) FROM onceq.queue_stats WHERE queue = 'consumed'});
is($ready + $done, $jobs, 'each job is ready, or has had its effect');
note "$done had it";
audit_is_empty($node, 'consumed', 'ack');
query($node, 'SELECT test.work(1000) FROM generate_series(1, 100)');
is(query($node, 'SELECT count(*) FROM test.effect'), $jobs, 'in the end all have had it');

# ---- purge

query($node, q{CALL test.fill('purged', 200000)});
query($node, q{SELECT count(*) FROM onceq.enqueue_many('purged', test.payloads(5000), delay => '1 h')});
my $purge = q{SELECT onceq.purge_queue('purged')};
for my $round (1 .. 100)
{
	local $ENV{PGOPTIONS} = "-c statement_timeout=$round";
	my $error = sqlstate_of($node, $purge);
	delete $ENV{PGOPTIONS};
	my $left = query($node, q{SELECT ready + scheduled FROM onceq.queue_stats WHERE queue = 'purged'});
	if ($left != ($error ? 205000 : 0)) { fail("a purge that ended with '$error' leaves $left jobs"); }
	last unless $error;
}
query($node, $purge); # a slow machine may never have been in time
is(query($node, q{SELECT ready + scheduled FROM onceq.queue_stats WHERE queue = 'purged'}), 0, 'a purge takes all jobs, or none');
audit_is_empty($node, 'purged', 'purge');
is(drain($node, 'purged'), '', 'what is purged is not delivered');

log_is_clean($node);
done_testing();
