# Where onceq cannot keep its promise it refuses, with a documented SQLSTATE and a hint, and changes nothing
# (Invariant 10): not preloaded (55000), PREPARE TRANSACTION (0A000), parallel operations (0A000), read-only
# transactions (25006), claim outside FROM (0A000). Transactions that have nothing to do with queues are left alone.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary', max_prepared_transactions => 5);
query($node, q{SELECT onceq.create_queue('mail', backoff_base => '0'); SELECT onceq.create_queue('other')});

sub token
{
	query($node, q{SELECT onceq.enqueue('mail', '1')});
	return query($node, q{SELECT token FROM onceq.claim('mail')});
}

# Error, hint: what psql says, in one text.
sub complaint
{
	my ($server, $sql) = @_;
	my ($result, $stdout, $stderr) = $server->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	return $stderr;
}

my %verbs = (
	'enqueue' => sub { q{SELECT onceq.enqueue('other', '1')} },
	'enqueue_many' => sub { q{SELECT onceq.enqueue_many('other', '{1}')} },
	'ack' => sub { 'SELECT onceq.ack(' . token() . ')' },
	'ack_and_claim' => sub { 'SELECT * FROM onceq.ack_and_claim(' . token() . q{, 'other')} },
	'nack' => sub { query($node, q{SELECT onceq.enqueue('mail', '1')}); q{SELECT onceq.nack(token, id, retry_in => '1 h') FROM onceq.claim('mail')} },
	'reject' => sub { query($node, q{SELECT onceq.enqueue('mail', '1')}); q{SELECT onceq.reject(token, id) FROM onceq.claim('mail')} },
	'claim' => sub { query($node, q{SELECT onceq.enqueue('mail', '1')}); q{SELECT * FROM onceq.claim('mail')} },
	'purge_queue' => sub { query($node, q{SELECT onceq.enqueue('mail', '1')}); q{SELECT onceq.purge_queue('mail')} },
	'create_queue' => sub { q{SELECT onceq.create_queue('prepared'), onceq.enqueue('prepared', '1')} },
	'drop_queue' => sub { q{SELECT onceq.drop_queue('other')} },
);

# ---- PREPARE TRANSACTION

for my $verb (sort keys %verbs)
{
	my $statement = $verbs{$verb}->();
	my $complaint = complaint($node, "BEGIN; $statement; PREPARE TRANSACTION 'p'");
	like($complaint, qr/ERROR:\s+0A000:.*PREPARE/, "PREPARE after $verb is refused");
	like($complaint, qr/HINT:/, "$verb: with a hint");
	is(query($node, q{SELECT count(*) FROM pg_prepared_xacts}), 0, "$verb: nothing was prepared");
}
is(sqlstate_of($node, q{BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'p'}), '', 'other transactions can be prepared');
query($node, q{COMMIT PREPARED 'p'});
is(query($node, q{SELECT count(*) FROM onceq.jobs('other')}), 0, 'nothing was enqueued');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM onceq.jobs('mail', 'succeeded')}), 'nothing was acked');
is(sqlstate_of($node, q{SELECT onceq.enqueue('prepared', '1')}), '42704', 'no queue was created');
audit_is_empty($node, $_, 'after PREPARE') for qw(mail other);

# ---- Parallel operations

my $force = $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';
my %calls = (
	enqueue => q{onceq.enqueue('other', '1')},
	ack => 'onceq.ack(' . token() . ')',
	claim => q{(SELECT count(*) FROM onceq.claim('mail'))},
	extend => 'onceq.extend(' . token() . ')',
	job => q{(SELECT count(*) FROM onceq.job('mail', 1))},
);
for my $call (sort keys %calls)
{
	query($node, "CREATE FUNCTION parallel_$call() RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS \$\$ BEGIN RETURN $calls{$call}; END \$\$");
	is(sqlstate_of($node, "SET $force = on; SELECT parallel_$call()"), '0A000', "$call in a parallel operation is refused");
	is(sqlstate_of($node, "SET $force = on; SELECT $calls{$call}"), '', "$call: but the planner never brings it there");
}

# ---- Read-only transactions

for my $verb (sort keys %verbs)
{
	my $statement = $verbs{$verb}->();
	my $expected = $verb eq 'claim' ? '' : '25006';
	is(sqlstate_of($node, "BEGIN READ ONLY; $statement; COMMIT"), $expected, "read-only: $verb");
}
my ($kept, $freed) = (token(), token());
is(sqlstate_of($node, "BEGIN READ ONLY; SELECT onceq.extend($kept); SELECT onceq.release($freed); COMMIT"), '', 'read-only: extend and release write nothing');
is(sqlstate_of($node, "BEGIN READ ONLY; SELECT count(*) FROM onceq.jobs('mail'), onceq.queues, onceq.queue_stats, onceq.leases, onceq.workers; COMMIT"),
	'', 'read-only: one can look');

# ---- Claims outside FROM

for my $call (
	q{SELECT onceq.claim('mail')},
	q{SELECT (onceq.claim('mail')).*},
	q{SELECT (onceq.claim('mail')).id FROM generate_series(1, 2)},
	q{SELECT array(SELECT (onceq.claim('mail')).id)},
	q{SELECT onceq.ack_and_claim(NULL, 'mail')})
{
	like(complaint($node, $call), qr/ERROR:\s+0A000:.*\n.*HINT:.*FROM/, "refused: $call");
}

# ---- Not preloaded

local $ENV{TEMP_CONFIG} = "$ENV{TESTDIR}/not_preloaded.conf";
my $settings = slurp_file($ENV{ONCEQ_TESTING_CONF});
$settings =~ s/^shared_preload_libraries.*$//m;
PostgreSQL::Test::Utils::append_to_file($ENV{TEMP_CONFIG}, $settings);
my $other = PostgreSQL::Test::Cluster->new('not_preloaded');
$other->init;
$other->start;
query($other, 'CREATE EXTENSION onceq');
for my $statement (
	q{SELECT onceq.create_queue('mail')},
	q{SELECT onceq.enqueue('mail', '1')},
	q{SELECT onceq.enqueue_many('mail', '{1}')},
	q{SELECT * FROM onceq.claim('mail')},
	q{SELECT onceq.ack(1)},
	q{SELECT onceq.extend(1)},
	q{SELECT onceq.release(1)},
	q{SELECT onceq.drop_queue('mail')},
	q{SELECT onceq.purge_queue('mail')},
	q{SELECT onceq.job('mail', 1)},
	q{SELECT * FROM onceq.workers},
	q{SELECT * FROM onceq.queue_stats},
	q{SELECT * FROM onceq.leases},
	q{SELECT * FROM onceq.audit('mail')},
	'CALL onceq.recover()',
	'CALL onceq.maintain()',
	'SELECT onceq.adopt()')
{
	like(complaint($other, $statement), qr/ERROR:\s+55000:.*not loaded.*\n.*HINT:.*shared_preload_libraries/, "not preloaded: $statement");
}
query($other, 'DROP EXTENSION onceq');
log_is_clean($_) for $node, $other;
done_testing();
