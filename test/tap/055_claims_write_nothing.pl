# A claim writes no WAL, takes no transaction id and no lock on a row, and neither does one that finds
# nothing, nor release and extend: a thousand of them leave the server's counters where they were. An ack
# writes little. (With checksums or wal_log_hints the first read of a row may write a hint.)
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(stop_worker);

# Nobody else writes: no autovacuum, no checkpoint, and, later, no worker.
my $node = start_node('primary', autovacuum => 'off', checkpoint_timeout => "'1h'", bgwriter_delay => "'10s'", wal_level => 'minimal',
	'onceq.lease_journal_after' => "'1h'");
query($node, q{SELECT onceq.create_queue('mail', lease => '1 h'), onceq.create_queue('empty')});
query($node, q{CALL test.fill('mail', 20000)});
query($node, q{SELECT onceq.enqueue('mail', '1', delay => '1 h', priority => 3)});
# Reading a page of a catalog may prune it, which is logged.
query($node, 'VACUUM');
query($node, q{SELECT onceq.release(token) FROM onceq.claim('mail')}) for 1 .. 2;
query($node, 'CHECKPOINT');

my $worker = stop_worker($node, 'postgres');

# WAL and transaction ids that the statements take, all in one session.
sub measure
{
	my ($what, $statements) = @_;
	my $probe = 'SELECT pg_current_wal_insert_lsn() - pg_lsn \'0/0\', txid_snapshot_xmax(txid_current_snapshot())';
	my ($result, $stdout, $stderr) = $node->psql('postgres', "$probe;\n\\o /dev/null\n$statements\n\\o\n$probe;");
	is($stderr, '', "$what: no error");
	my ($before, $after) = map { [ split /\|/ ] } split /\n/, $stdout;
	return ($after->[0] - $before->[0], $after->[1] - $before->[1]);
}

my ($wal, $xids) = measure('claim', join "\n", (q{SELECT * FROM onceq.claim('mail');}) x 1000);
is($wal, 0, 'a thousand claims write no WAL');
is($xids, 0, 'and take no transaction id');
($wal, $xids) = measure('claims in a transaction', 'BEGIN;' . join("\n", (q{SELECT * FROM onceq.claim('mail', 10);}) x 100) . 'SELECT pg_current_xact_id_if_assigned() IS NULL; COMMIT;');
is("$wal $xids", '0 0', 'nor do a hundred of ten in a transaction');
($wal, $xids) = measure('empty claim', join "\n", (q{SELECT * FROM onceq.claim('empty');}) x 1000);
is("$wal $xids", '0 0', 'nor do claims that find nothing');
($wal, $xids) = measure('release', join "\n", (q{SELECT onceq.extend(token), onceq.release(token) FROM onceq.claim('mail', 20) LIMIT 1;}) x 500);
is("$wal $xids", '0 0', 'nor do extend and release');
($wal, $xids) = measure('read only', 'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; SELECT * FROM onceq.claim(\'mail\', 1000); COMMIT;');
is("$wal $xids", '0 0', 'nor does one of a serializable transaction');
is(query($node, q{SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock'}), 0, 'which takes no predicate lock');
($wal, $xids) = measure('look', q{SELECT count(*) FROM onceq.jobs('mail', count => 10000); SELECT * FROM onceq.job('mail', 1); SELECT * FROM onceq.queue_stats; SELECT count(*) FROM onceq.leases;});
is($xids, 0, 'nor does looking');

# An ack of a thousand jobs is one row.
my $token = query($node, q{SELECT min(token) FROM onceq.claim('mail', 1000)});
($wal, $xids) = measure('ack', "SELECT onceq.ack($token);");
is($xids, 1, 'an ack takes one transaction id');
cmp_ok($wal, '<', 10000, 'an ack of a thousand jobs writes some bytes a job at most');
is(query($node, q{SELECT count(*) FROM onceq_data.o1_0000}), 1, 'it is one row');

# No row of a job was touched by all of that.
is(query($node, q{SELECT count(*) FROM onceq_data.j1_0000 WHERE xmax <> 0}), 0, 'no job is locked, updated or deleted');
is(query($node, q{SELECT n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'j1_0000'}), 0, 'ever');
kill('CONT', $worker);
log_is_clean($node);
done_testing();
