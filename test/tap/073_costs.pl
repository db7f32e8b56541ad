# What statements cost, counted and not timed. The lock of a board is held at most twice in a claim, twice in an
# enqueue and three times in an ack, however many jobs there are (Invariant 8); and what a claim, an ack, an enqueue
# and a look at the statistics read does not grow with the backlog, with what is finished, or with what is delayed.
use strict;
use warnings;
use Test::More;
use OnceqNode;

my $node = start_node('primary', autovacuum => 'off', 'onceq.lease_journal_after' => "'1h'", 'onceq.worker_naptime' => "'1h'");
query($node, q{
	CREATE FUNCTION test.holds() RETURNS bigint LANGUAGE c AS '$libdir/onceq', 'onceq_test_holds';
	SELECT onceq.create_queue(q, lease => '1 h') FROM unnest(ARRAY['small', 'large']) q;
});

# ---- Holds of the lock

my $session = session($node);

# Of a statement and its commit; its tokens and ids are left in psql's variables.
sub holds
{
	my ($statement) = @_;
	my $before = $session->query_safe('SELECT test.holds()');
	$session->query_safe($statement =~ /\\gset/ ? $statement : "$statement \\g /dev/null");
	return $session->query_safe('SELECT test.holds()') - $before;
}

query($node, q{CALL test.fill('small', 4000)});
$session->query_safe(q{SELECT count(*) FROM onceq.claim('small')}); # what is remembered from now on is looked up
for my $count (1, 100, 1000)
{
	cmp_ok(holds("SELECT min(token) AS token, min(id) AS id FROM onceq.claim('small', $count) \\gset"), '<=', 2, "claim of $count");
	cmp_ok(holds('SELECT onceq.ack(:token)'), '<=', 3, "ack of $count");
}
cmp_ok(holds(q{SELECT onceq.enqueue('small', '1')}), '<=', 2, 'enqueue');
cmp_ok(holds(q{SELECT onceq.enqueue('small', '1', delay => '1 h')}), '<=', 2, 'enqueue with a delay');
cmp_ok(holds(q{SELECT count(*) FROM onceq.enqueue_many('small', test.payloads(1000))}), '<=', 2, 'enqueue of 1000');
$session->query_safe(q{SELECT min(token) AS token, min(id) AS id FROM onceq.claim('small', 100) \gset});
cmp_ok(holds('SELECT onceq.ack(:token, :id)'), '<=', 3, 'ack of one of many');
cmp_ok(holds('SELECT onceq.nack(:token, :id + 1)'), '<=', 3, 'nack');
cmp_ok(holds('SELECT onceq.reject(:token, :id + 2)'), '<=', 3, 'reject');
cmp_ok(holds('SELECT onceq.extend(:token)'), '<=', 2, 'extend');
cmp_ok(holds('SELECT onceq.release(:token)'), '<=', 2, 'release');
$session->query_safe(q{SELECT min(token) AS token FROM onceq.claim('small', 100) \gset});
cmp_ok(holds(q{SELECT count(*) FROM onceq.ack_and_claim(:token, 'small', 100)}), '<=', 5, 'ack and claim');
query($node, q{DO $$ BEGIN FOR i IN 1 .. 2500 LOOP PERFORM onceq.enqueue('large', '1'); END LOOP; END $$});
is(query($node, q{SELECT ready FROM onceq.queue_stats WHERE queue = 'large'}), 2500, 'many entries of one transaction have their effect');

# ---- Pages read: a queue that is nearly empty, and one with a backlog, a history and delayed jobs

query($node, q{CALL test.fill('large', 150000)});
query($node, q{DO $$ DECLARE t bigint; BEGIN FOR i IN 1 .. 50 LOOP SELECT min(token) INTO t FROM onceq.claim('large', 1000); PERFORM onceq.ack(t); END LOOP; END $$});
query($node, q{SELECT count(*) FROM generate_series(1, 5) i, onceq.enqueue_many('large', test.payloads(10000), delay => '1 h')});
query($node, 'CHECKPOINT');

# Pages that the statement reads, in cache or not.
sub pages
{
	my ($statement) = @_;
	my $plan = $session->query_safe("EXPLAIN (ANALYZE, BUFFERS, FORMAT YAML, TIMING off) $statement");
	my ($hit) = $plan =~ /Shared Hit Blocks: (\d+)/;
	my ($read) = $plan =~ /Shared Read Blocks: (\d+)/;
	return $hit + $read;
}

for my $statement (q{SELECT * FROM onceq.claim('%s')}, q{SELECT * FROM onceq.claim('%s', 100)}, q{SELECT onceq.enqueue('%s', '1')},
	q{SELECT onceq.enqueue('%s', '1', delay => '1 h')}, q{SELECT * FROM onceq.claim('%s')})
{
	my %pages;
	for my $queue ('small', 'large')
	{
		$session->query_safe(sprintf "$statement \\g /dev/null", $queue); # nothing is looked up for the first time
		$pages{$queue} = pages(sprintf $statement, $queue);
	}
	my $name = $statement =~ s/.*onceq\.(.*?)\)$/$1)/r;
	# An index of more rows has another level, or two.
	cmp_ok($pages{large}, '<=', $pages{small} * 1.3 + 12, "$name reads no more of a large queue");
}
cmp_ok(pages('SELECT * FROM onceq.queue_stats'), '<', 100, 'statistics read next to nothing');
close_session($session);
log_is_clean($node);
done_testing();
