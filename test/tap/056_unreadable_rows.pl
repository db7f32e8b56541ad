# A job whose row cannot be read, here because its payload is gone from the disk, makes the claim that meets it
# fail, and that counts as an attempt of this job alone: the jobs taken with it are ready again at once, uncounted
# (Invariants 1 and 6). So it is dead after max_attempts, and the jobs around it are delivered. A restart
# in between changes nothing of that: whoever builds the board does not read payloads.
use strict;
use warnings;
no warnings 'numeric'; # 5f1 is 5
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.worker_naptime' => "'50ms'");
query($node, q{
	SELECT onceq.create_queue('q', max_attempts => 3, backoff_base => '0', lease => '10 min');
	CREATE FUNCTION test.large() RETURNS jsonb LANGUAGE sql AS $$
		SELECT to_jsonb(string_agg(md5(i::text), '')) FROM generate_series(1, 3000) i $$});
my @ids = split /\n/, query($node, q{SELECT onceq.enqueue_many('q', test.payloads(2))});
my @lost = (query($node, q{SELECT onceq.enqueue('q', test.large())}));
push @ids, query($node, q{SELECT onceq.enqueue('q', '3')});
push @lost, query($node, q{SELECT onceq.enqueue('q', test.large(), priority => 1)});
my $file = query($node, q{
	SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 'j1_0000' AND relnamespace = 'onceq_data'::regnamespace});
$node->stop('fast');
truncate($node->data_dir . "/$file", 0) or die "cannot truncate $file: $!";
$node->start;

# jobs() would have to read the payloads.
my $outcomes = q{SELECT coalesce(string_agg(first_id || outcome::text || attempt, ' ' ORDER BY first_id, attempt), '') FROM onceq_data.o1_0000};
my @expected;
for my $id (reverse @lost)
{
	for my $outcome ('f1', 'f2', 'd3')
	{
		push @expected, "$id$outcome";
		my $what = join ' ', @expected;
		is(sqlstate_of($node, q{SELECT id FROM onceq.claim('q', 10)}), 'XX001', "$what: a claim that meets it fails");
		ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM onceq.leases"), "$what: its lease is taken away");
		is(query($node, $outcomes), join(' ', sort { $a <=> $b || substr($a, -1) <=> substr($b, -1) } @expected), "$what: it is counted, for this job alone");
		is(query($node, q{SELECT count(*) FROM onceq.audit('q')}), 0, "$what: board and tables agree");
		$node->restart if $outcome eq 'f2';
	}
}
delivers($node, 'q', [ map { "$_:1" } @ids ], 'the others are delivered');
log_is_clean($node, expect => qr/ XX001 /);
done_testing();
