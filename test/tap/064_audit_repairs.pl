# An audit finds every job whose state in memory is not what the tables say, repairs it, and leaves
# alone what a transaction or a lease owns. (Guards of the audit: skip what is owned; pin, then read.)
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use Test::More;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('audit', 'onceq.worker_naptime' => 600000);
query($node, q{
	SELECT onceq.create_queue('q', max_attempts => 3);
	CREATE FUNCTION test.spoil(queue text, id bigint, state text) RETURNS void
	LANGUAGE c AS '$libdir/onceq', 'onceq_test_spoil';
	CREATE TABLE test.job (id bigint, kind text);
	INSERT INTO test.job SELECT onceq.enqueue('q', to_jsonb(i)), 'acked' FROM generate_series(1, 10) i;
});
query($node, q{SELECT onceq.ack(token) FROM (SELECT DISTINCT token FROM onceq.claim('q', 10)) c});
query($node, q{
	INSERT INTO test.job SELECT onceq.enqueue('q', '1'), 'rejected';
	INSERT INTO test.job SELECT onceq.enqueue('q', '1', priority => 4), 'failed' });
query($node, q{SELECT onceq.nack(token, id, 'x', '0') FROM onceq.claim('q') WHERE priority = 4});
query($node, q{SELECT onceq.reject(token, id) FROM onceq.claim('q', 2) WHERE priority = 0});
query($node, q{CALL onceq.recover()});
query($node, q{
	INSERT INTO test.job SELECT onceq.enqueue('q', to_jsonb(i)), 'running' FROM generate_series(1, 3) i});
query($node, q{SELECT count(*) FROM onceq.claim('q', 5, lease => '1 h')});
query($node, q{
	INSERT INTO test.job SELECT onceq.enqueue('q', to_jsonb(i)), 'ready' FROM generate_series(1, 5) i;
	INSERT INTO test.job SELECT onceq.enqueue('q', to_jsonb(i), delay => '1 h'), 'scheduled' FROM generate_series(1, 5) i });

is(query($node, q{SELECT count(*) FROM onceq.audit('q')}), '0', 'a board that is right has no differences');

my $states = q{SELECT string_agg(id || state, ' ' ORDER BY id) FROM onceq.jobs('q', count => 1000)};
my $before = query($node, $states);
my $spoil = q{SELECT count(*) FROM (SELECT test.spoil('q', id, '%s') FROM test.job WHERE kind = '%s') s};
query($node, sprintf($spoil, @$_))
  for [ 'ready', 'acked' ], [ 'ready', 'rejected' ], [ 'none', 'ready' ], [ 'none', 'scheduled' ];
isnt(query($node, $states), $before, 'the board is spoiled');

# Somebody's own: reserved by an open transaction, and leased.
my $producer = session($node);
$producer->query_safe(q{BEGIN; SELECT onceq.enqueue('q', '"open"')});

is(query($node, q{SELECT string_agg(DISTINCT board || '->' || stored, ' ') FROM onceq.audit('q')}),
	'none->ready none->scheduled ready->none', 'each difference is reported');
is(query($node, q{SELECT count(*) FROM onceq.audit('q')}), '0', 'and repaired');
is(query($node, $states), $before, 'every state is as it was');
close_session($producer);
is(query($node, q{SELECT count(*) FROM onceq.claim('q', 100)}), query($node, q{SELECT count(*) FROM test.job WHERE kind = 'ready'}),
	'what is delivered is what is ready');
log_is_clean($node);
done_testing();
