# Who asks for room while the worker is still connecting gets it in the worker's first round, also from a passive
# worker, which does nothing unasked: nobody would ask once more.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', 'onceq.worker_passive' => 'on', 'onceq.segment_wait' => "'1min'");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM onceq.workers WHERE database = 'postgres' AND state = 'running'}) or die 'no worker';
query($node, q{SELECT onceq.create_queue('q')});
my ($gate, $producer) = (session($node), session($node));

sub gate_sees
{
	my ($condition, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $seen;
	do
	{
		$gate->query_safe('SELECT pg_stat_clear_snapshot()'); # it is in a transaction
		$seen = $gate->query_safe("SELECT $condition") eq 't';
	} until $seen || time > $deadline;
	return ok($seen, $what);
}

# Nobody can connect, the next worker neither.
$gate->query_safe('BEGIN; LOCK TABLE pg_catalog.pg_db_role_setting');
$gate->query_safe(q{SELECT pg_terminate_backend(pid) FROM onceq.workers WHERE database = 'postgres'});
gate_sees(q{count(*) = 1 FROM pg_locks WHERE relation = 'pg_db_role_setting'::regclass AND NOT granted}, 'the worker is connecting');
# More than there is room for.
my $pid = pid_of($producer);
start_query($producer, q{SELECT count(*) FROM generate_series(1, 40) i, onceq.enqueue_many('q', test.payloads(3000 + 0 * i))});
gate_sees(qq{wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid}, 'somebody waits for room');
$gate->query_safe('COMMIT');
is(join('|', end_query($producer)), '120000|', 'and gets it');
close_session($_) for $gate, $producer;
log_is_clean($node);
done_testing();
