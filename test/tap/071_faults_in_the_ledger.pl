# Whatever fails while an event is marked or old ones are forgotten: what committed is marked once with its
# effect, what did not is not marked; and all that is old is forgotten in the end, dropped consumers too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqFaults;
use OnceqNode;
use Test::More;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('ledger_faults', 'onceq.worker_naptime' => 50, restart_after_crash => 'on');
query($node, 'CREATE TABLE test.effect (event text)');

# Survives the end of its session, and of the server.
sub try_with
{
	my ($fault, $sql) = @_;
	my $offset = -s $node->logfile;
	my ($result, $stdout, $stderr) = $node->psql('postgres', "SET onceq.fault = '$fault';\n$sql", on_error_stop => 1);
	wait_until_restarted($node, $offset) if $fault =~ /^kill/;
	return $stderr =~ /fault at|connection to server was lost|server closed the connection/;
}

for my $fault (map { my $action = $_; map { "$action at $_" } points_for('ledger') } qw(error fatal kill))
{
	query($node, q{SELECT onceq.create_consumer('c')});
	query($node, q{TRUNCATE test.effect; SELECT onceq.once('c', 'old')});
	ok(try_with($fault, q{BEGIN; INSERT INTO test.effect SELECT 'one' WHERE onceq.once('c', 'one');
			INSERT INTO test.effect SELECT e FROM unnest(ARRAY['many', 'old'], onceq.once_many('c', ARRAY['many', 'old'])) u (e, is_new) WHERE is_new;
			COMMIT}), "$fault: met");
	is(query($node, q{SELECT (SELECT count(*) FROM test.effect), string_agg(event_id, ' ') FROM onceq.processed_events}),
		'0|old', 'nothing is left of it');
	is(query($node, q{SELECT onceq.once('c', 'one'), onceq.once_many('c', ARRAY['many', 'old'])}), 't|{t,f}', 'it is processed next time');
	query($node, q{SELECT onceq.drop_consumer('c')});
}

# In the worker, for whom the fault is set, while there is something to forget.
for my $fault (map { my $action = $_; map { "$action at $_" } points_for('forget') } qw(error fatal kill))
{
	query($node, qq{ALTER ROLE onceq_worker SET onceq.fault = '$fault'});
	query($node, q{
		SELECT onceq.create_consumer('c', retention => '1 h'), onceq.create_consumer('dropped');
		SELECT onceq.once_many('c', ARRAY(SELECT i::text FROM generate_series(1, 2500) i));
		SELECT onceq.once_many('dropped', ARRAY(SELECT i::text FROM generate_series(1, 2500) i))});
	my $offset = -s $node->logfile;
	# The worker that has no fault is ended before it can forget anything.
	$node->psql('postgres', q{
		BEGIN;
		UPDATE onceq.processed_event SET processed_at = now() - interval '2 h' WHERE event_id <> '7';
		SELECT onceq.drop_consumer('dropped');
		COMMIT;
		SELECT pg_terminate_backend(pid) FROM onceq.workers WHERE database = 'postgres'});
	$node->wait_for_log($fault =~ /^kill/ ? qr/terminated by signal 9/ : qr/fault at/, $offset);
	pass("$fault: met");
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($node->psql('postgres', 'ALTER ROLE onceq_worker RESET onceq.fault') == 0)
	{
		die 'the server does not come back' if time > $deadline;
	}
	$node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM onceq.workers WHERE database = 'postgres'});
	ok($node->poll_query_until('postgres', q{
		SELECT (SELECT string_agg(event_id, ' ') FROM onceq.processed_event) = '7'
			AND NOT EXISTS (SELECT FROM onceq.consumer WHERE dropped_at IS NOT NULL)}), 'in the end what is old is forgotten');
	query($node, q{SELECT onceq.drop_consumer('c')});
}
done_testing();
