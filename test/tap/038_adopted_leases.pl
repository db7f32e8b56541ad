# A lease that was written down outlives the move of its database to another server: after
# onceq.adopt(keep_leases => true) its old token still ends its jobs, however long the new server's worker has
# been looking after its lease journal before. Without keep_leases the jobs are ready again.
use strict;
use warnings;
use OnceqNode;
use Test::More;

my $original = start_node('original');
query($original, q{SELECT onceq.create_queue('q', lease => '1 h')});
query($original, q{SELECT onceq.enqueue('q', '{}') FROM generate_series(1, 2)});
my ($id, $token) = split /\|/, query($original, q{SELECT id, token FROM onceq.claim('q')});
$original->poll_query_until('postgres', 'SELECT journalled FROM onceq.leases')
  or die 'the lease is not written down';
my $dump = $original->basedir . '/dump';
$original->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'the database is dumped');
$original->stop;

my $copy = start_node('copy', 'onceq.lease_journal_after' => '10ms', 'onceq.worker_naptime' => '10ms');
for my $database ('kept', 'forgotten')
{
	query($copy, "CREATE DATABASE $database");
	$copy->command_ok([ 'pg_restore', '-e', '-d', $database, $dump ], "the dump is restored as $database");
	is(sqlstate_of($copy, q{SELECT onceq.enqueue('q', '{}')}, $database), '55000', "$database: refused until adopted");
	# The worker's chores have had their turn.
	$copy->poll_query_until('postgres',
		"SELECT runs > 3 FROM onceq.worker_chores WHERE database = '$database' AND chore = 'keep the lease journal'")
	  or die 'no worker';
	is(query($copy, 'SELECT count(*) FROM onceq.lease_journal', $database), 1, "$database: the journal is as it was");
}

query($copy, 'SELECT onceq.adopt(keep_leases => true)', 'kept');
is(query($copy, "SELECT onceq.ack($token)", 'kept'), 1, 'kept: the old token ends the job');
is(query($copy, q{SELECT state FROM onceq.jobs('q') ORDER BY id}, 'kept'), "succeeded\nready", 'kept: the other job is ready');

query($copy, 'SELECT onceq.adopt()', 'forgotten');
is(sqlstate_of($copy, "SELECT onceq.ack($token)", 'forgotten'), 'OQ001', 'forgotten: the old token is worth nothing');
is(query($copy, q{SELECT state FROM onceq.jobs('q') ORDER BY id}, 'forgotten'), "ready\nready", 'forgotten: both jobs are ready');
audit_is_empty($copy, 'q', $_, $_) for 'kept', 'forgotten';
log_is_clean($copy);
done_testing();
