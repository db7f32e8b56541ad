# What synchronous_commit = off means: a crash may bring back a job that was acked so, but only together with
# what the same transaction did, so that effects happen once all the same. What was committed synchronously stays, whatever
# came before or after it; ids that were given out asynchronously are not used again (Invariants 1, 3 and 5). And the
# leases that the journal restores are not those of acks that were lost.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

# The WAL writer hardly ever flushes, so that something is lost.
my $node = start_node('primary', wal_writer_delay => "'10s'", wal_writer_flush_after => "'1GB'", 'onceq.lease_journal_after' => "'100ms'",
	'onceq.worker_naptime' => "'50ms'");
query($node, q{
	SELECT onceq.create_queue('mail', backoff_base => '0', lease => '10 min', max_attempts => 100);
	CREATE TABLE test.effect (id bigint);
	CREATE TABLE test.ticket (id bigint);
});

# Every job that was enqueued durably has had its effect, or comes again; no job has two.
sub check
{
	my ($what, $enqueued) = @_;
	audit_is_empty($node, 'mail', $what);
	is(query($node, 'SELECT count(*) FROM (SELECT id FROM test.effect GROUP BY id HAVING count(*) > 1) twice'), 0, "$what: no effect twice");
	is(query($node, q{SELECT count(*) FROM test.effect e JOIN unnest(ARRAY['ready', 'scheduled', 'running']) s ON true JOIN LATERAL onceq.jobs('mail', s, count => 10000) j USING (id)}),
		0, "$what: no job with an effect is unfinished");
	is(query($node, q{SELECT count(*) FROM test.ticket t WHERE NOT EXISTS (SELECT FROM test.effect e WHERE e.id = t.id)
		AND NOT EXISTS (SELECT FROM unnest(ARRAY['ready', 'scheduled', 'running']) s, onceq.jobs('mail', s, count => 10000) j WHERE j.id = t.id)}),
		0, "$what: each job without one is unfinished");
	return;
}

my $highest = 0;
my $lost = 0;
my %crash = (
	'immediate stop' => sub { $node->stop('immediate'); $node->start; },
	'kill of a backend' => sub { kill_backend($node, $_[0]); },
	'kill of the postmaster' => sub { kill_postmaster($node); },
);
for my $round (1 .. 2)
{
	for my $what (sort keys %crash)
	{
		# Enqueued durably, and their ids noted.
		my @ids = split /\n/, query($node,
			q{WITH new AS (INSERT INTO test.ticket SELECT onceq.enqueue('mail', '1') FROM generate_series(1, 30) RETURNING id) SELECT id FROM new ORDER BY id});
		cmp_ok($ids[0], '>', $highest, "$what: ids are new");
		# A lease that is journalled before its jobs are acked asynchronously.
		my $held = query($node, q{SELECT min(token) FROM onceq.claim('mail', 5, worker => 'held')});
		$node->poll_query_until('postgres', q{SELECT journalled FROM onceq.leases WHERE worker = 'held'});
		my $session = session($node);
		my $pid = pid_of($session);
		$session->query_safe('SET synchronous_commit = off');
		my $asynchronous = q{
			WITH job AS MATERIALIZED (SELECT * FROM onceq.claim('mail')),
			effect AS (INSERT INTO test.effect SELECT id FROM job)
			SELECT onceq.ack(token) FROM job};
		$session->query_safe($asynchronous) for 1 .. 5;
		# One that is synchronous takes all before it along.
		query($node, $asynchronous) if $round == 2;
		my $durable = query($node, 'SELECT count(*) FROM test.effect');
		$session->query_safe("INSERT INTO test.effect SELECT j.id FROM onceq.jobs('mail', 'running', count => 10000) j WHERE false");
		$session->query_safe($asynchronous) for 1 .. 5;
		$session->query_safe("WITH mine AS (SELECT id FROM onceq.jobs('mail', 'running') WHERE worker = 'held' LIMIT 2), e AS (INSERT INTO test.effect SELECT id FROM mine) SELECT onceq.ack($held, id) FROM mine");
		my ($async_id) = $session->query_safe(q{SELECT max(onceq.enqueue('mail', '2')) FROM generate_series(1, 10)}) =~ /(\d+)/;
		my $acked = query($node, 'SELECT count(*) FROM test.effect');
		$crash{$what}->($pid);
		close_session($session);
		my $left = query($node, 'SELECT count(*) FROM test.effect');
		cmp_ok($left, '>=', $durable - 5, "$what: what was durable is there");
		cmp_ok($left, '>=', $durable, "$what: with all that came before it") if $round == 2;
		$lost += $acked - $left;
		check($what);
		my @new = split /\n/, query($node, q{SELECT onceq.enqueue('mail', '3') FROM generate_series(1, 2)});
		cmp_ok($new[0], '>', $async_id, "$what: an id given out asynchronously is not used again");
		$highest = $new[-1];
		# Everything comes to its end.
		is(query($node, "SELECT count(onceq.ack($held, id)) >= 3 FROM onceq.jobs('mail', 'running', count => 1000) WHERE worker = 'held'"), 't',
			"$what: the journalled lease is held still");
		query($node, q{INSERT INTO test.effect SELECT id FROM test.drain('mail')});
		query($node, q{INSERT INTO test.effect SELECT t.id FROM test.ticket t WHERE NOT EXISTS (SELECT FROM test.effect e WHERE e.id = t.id)});
		is(query($node, 'SELECT count(*) FROM (SELECT id FROM test.effect GROUP BY id HAVING count(*) > 1) twice'), 0, "$what: in the end no effect is there twice");
	}
}
cmp_ok($lost, '>', 0, "something was lost: $lost asynchronous acks");
log_is_clean($node, kills => 2);
done_testing();
