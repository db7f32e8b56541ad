# What statements cost, counted and not timed. The lock of a board is held at most twice in a claim, twice in an
# enqueue and three times in an ack, however many jobs there are (Invariant 8); and what a claim, an ack, an enqueue
# and a look at the statistics read does not grow with the backlog, with what is finished, or with what is delayed.
# No table stays locked after its transaction; nobody who enqueues sends a NOTIFY; and whatever becomes of jobs, no row
# of a job, outcome or result is updated or deleted.
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
query($node, q{SELECT count(*) FROM generate_series(1, 5) i, onceq.enqueue_many('large', test.payloads(10000), delay => i * interval '1 h')});
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
my %pages_of_ack;
for my $queue ('small', 'large')
{
	for (1, 2)
	{
		$session->query_safe(sprintf q{SELECT min(token) AS token FROM onceq.claim('%s', 100) \gset}, $queue);
		$pages_of_ack{$queue} = pages('SELECT onceq.ack(:token)');
	}
}
cmp_ok($pages_of_ack{large}, '<=', $pages_of_ack{small} * 1.3 + 12, 'nor does an ack');

# ---- What is left behind: locks, notifications, rows that are dead

my $pid = pid_of($session);
my @left;
my $everything = q{SELECT onceq.create_queue('life', lease => '1 h', backoff_base => '0 s', max_attempts => 2);
	SELECT count(*) FROM onceq.enqueue_many('life', test.payloads(100));
	SELECT onceq.enqueue('life', '1', ordering_key => 'k', delay => '1 h') AS delayed \gset
	SELECT onceq.enqueue('life', '1', unique_key => 'u');
	SELECT onceq.enqueue('life', '2', unique_key => 'u', unique_mode => 'replace');
	SELECT min(token) AS token, min(id) AS id FROM onceq.claim('life', 20) \gset
	SELECT onceq.ack(:token, :id, '{"done": true}');
	SELECT onceq.ack(:token, ARRAY[:id + 1, :id + 2]);
	SELECT onceq.nack(:token, :id + 3);
	SELECT onceq.reject(:token, :id + 4);
	SELECT onceq.release(:token, :id + 5);
	SELECT onceq.extend(:token);
	SELECT onceq.cancel('life', :id + 6);
	SELECT onceq.cancel('life', :delayed);
	SELECT min(token) AS other FROM onceq.claim_any('{life}', count => 10) \gset
	SELECT min(token) AS next FROM onceq.ack_and_claim(:other, 'life', 10) \gset
	SELECT onceq.ack(:next);
	SELECT count(*) FROM onceq.claim('life', 5, lease => '100 ms');
	SELECT onceq.redrive('life');
	SELECT onceq.purge_queue('life');
	SELECT count(*) FROM onceq.jobs('life');
	SELECT * FROM onceq.audit('life')};
# Of the pages of notifications: whoever sends one goes there.
my $notifications = q{SELECT sum(blks_zeroed + blks_hit + blks_read) FROM pg_stat_slru WHERE name ~* 'notify'};
my $notified = query($node, $notifications);
for my $statement (split /(?:;|\\gset)\n/, $everything)
{
	$session->query_safe($statement =~ /AS \w+ (?:FROM .*)?$/ ? "$statement \\gset" : "$statement \\g /dev/null");
	push @left, $statement if query($node, "SELECT count(*) FROM pg_locks WHERE pid = $pid") > 0;
}
is("@left", '', 'no lock outlives its transaction');
close_session($session);
my $expired = 0;
for (my $tries = 0; $expired < 5 && $tries < 1000; $tries++)
{
	query($node, 'CALL onceq.recover()');
	$expired = query($node, q{SELECT expired FROM onceq.queue_stats WHERE queue = 'life'});
}
is($expired, 5, 'jobs whose lease has passed go on');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"); # its counters are written by then
is(query($node, $notifications), $notified, 'nobody has sent a notification');
query($node, 'NOTIFY anything');
ok($node->poll_query_until('postgres', "SELECT ($notifications) > $notified"), 'which would have been noticed');
my $tables = q{FROM pg_stat_user_tables WHERE schemaname = 'onceq_data' AND relname ~ '^[jor][0-9]'};
cmp_ok(query($node, "SELECT sum(n_tup_ins) $tables"), '>', 200000, 'rows of jobs, outcomes and results were written');
is(query($node, "SELECT sum(n_tup_upd + n_tup_del) $tables"), 0, 'and none of them was updated or deleted');
log_is_clean($node);
done_testing();
