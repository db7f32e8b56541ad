# A table that is partitioned by its age column is archived by whole partitions, which keep their rows: they
# are attached to the archive, or dropped, without a lock that keeps others waiting, and also where that was
# interrupted at any step by an error, a kill, or a transaction that will not end.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqFaults qw(points_for);
use OnceqNode;
use OnceqArchive;

my $node = archive_node('partitions');

# Ten months, of which the last three are younger than 100 days; ten rows each.
sub create_months
{
	my ($table, $type) = @_;
	$type //= 'timestamptz';
	query($node, qq{
		CREATE TABLE $table (id int, at $type NOT NULL, twice int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
		DO \$\$
		BEGIN
			FOR i IN 0 .. 9 LOOP
				EXECUTE format('CREATE TABLE ${table}_%s PARTITION OF $table FOR VALUES FROM (%L) TO (%L)', i, current_date - i * 30 - 30, current_date - i * 30);
				EXECUTE format('INSERT INTO $table SELECT %s * 10 + j, current_date - %s * 30 - j FROM generate_series(1, 10) j', i, i);
			END LOOP;
		END \$\$});
	return;
}

sub partitions
{
	my ($table) = @_;
	return query($node, "SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('$table')");
}

# ---- moved, and dropped

for my $type (qw(timestamptz timestamp date))
{
	create_months("m_$type", $type);
	query($node, "SELECT onceq.set_archive_policy('m_$type', 'at', '100 days', 'm_${type}_archive')");
	policy_is($node, "m_$type", "last_run IS NOT NULL AND failures = 0 AND (SELECT count(*) = 4 FROM pg_inherits WHERE inhparent = source)", "by $type: old partitions are moved");
	is(partitions("m_${type}_archive"), 6, '… to the archive');
	is(counts($node, "m_$type", "m_${type}_archive"), '40|60', '… with their rows');
	is(query($node, "SELECT count(*), sum(twice - id) FROM (SELECT * FROM m_$type UNION ALL SELECT * FROM m_${type}_archive) s"), '100|' . (10 * 10 * 45 + 10 * 55), '… as they were');
}
is(query($node, q{SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'm_date_archive%'}), 1, 'the archive has the key');
is(query($node, 'SELECT count(*) FROM onceq.archive_partition'), 0, 'nothing is on its way');
create_months('dropped');
query($node, q{SELECT onceq.set_archive_policy('dropped', 'at', '100 days')});
policy_is($node, 'dropped', "last_run IS NOT NULL AND failures = 0 AND (SELECT count(*) = 4 FROM pg_inherits WHERE inhparent = source)", 'without an archive they are dropped');
is(query($node, q{SELECT count(*) FROM pg_class WHERE relname ~ '^dropped_\d$'}), 4, '… and gone');

# With a default partition they cannot be detached concurrently, and its rows go one by one.
create_months('others');
query($node, q{CREATE TABLE others_default PARTITION OF others DEFAULT; INSERT INTO others SELECT i, current_date - 1000 - i FROM generate_series(1, 5) i});
query($node, q{SELECT onceq.set_archive_policy('others', 'at', '100 days', 'others_archive', not_before => localtime + interval '1 h', not_after => localtime + interval '2 h')});
query($node, q{CREATE TABLE others_rest PARTITION OF others_archive DEFAULT});
my $holder = session($node);
$holder->query_safe('BEGIN; SELECT count(*) FROM others');
query($node, q{CALL onceq.archive('others')});
policy_is($node, 'others', q{failures = 1 AND last_error LIKE '%lock timeout%'}, 'who uses the table is not kept from it: the run fails');
is(query($node, 'SELECT count(*) FROM others'), 105, '… and all is there');
$holder->query_safe('COMMIT');
query($node, q{CALL onceq.archive('others')});
is(partitions('others') . '|' . counts($node, 'others', 'others_archive'), '5|40|65', 'with a default partition, by CALL');

# An archive that is not in partitions gets the rows.
create_months('flat');
query($node, q{CREATE TABLE flat_archive (id int, at timestamptz, twice int)});
query($node, q{SELECT onceq.set_archive_policy('flat', 'at', '100 days', 'flat_archive')});
wait_for_run($node, 'flat');
is(partitions('flat') . '|' . query($node, q{SELECT count(*) FROM flat_archive WHERE twice = id * 2}), '10|' . query($node, q{SELECT 100 - count(*) FROM flat}), 'row by row into an archive without partitions');
is(query($node, q{SELECT count(*) FROM flat WHERE at < now() - interval '101 days'}), 0, '… all that are old');

# ---- readers and writers go on while it waits for an old transaction

create_months('busy');
$holder->query_safe('BEGIN; SELECT count(*) FROM busy');
query($node, q{SELECT onceq.set_archive_policy('busy', 'at', '100 days', 'busy_archive')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM onceq.archive_partition WHERE source = 'busy'::regclass}), 'a partition is on its way');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_inherits WHERE inhdetachpending}), 'it is being detached');
is(query($node, q{SET statement_timeout = '8s'; INSERT INTO busy VALUES (1000, now() - interval '1 day'); SELECT count(*) FROM busy}), '91', 'readers and writers are not kept waiting');
is($holder->query_safe('SELECT count(*) FROM busy'), 91, 'nor is who was there before');
policy_is($node, 'busy', 'failures > 0', 'it gives up after a while');
is(query($node, q{SELECT count(*) FROM pg_inherits WHERE inhdetachpending}), 1, 'the partition is half detached');
$holder->query_safe('COMMIT');
archive($node, 'busy');
is(partitions('busy') . '|' . counts($node, 'busy', 'busy_archive'), '4|41|60', 'when the transaction has ended it goes on');
close_session($holder);

# ---- faults

my $tables = 0;
for my $point (points_for('archive partition'))
{
	for my $action (qw(error kill))
	{
		my $table = 'f' . ++$tables;
		create_months($table);
		query($node, "SELECT onceq.set_archive_policy('$table', 'at', '100 days', '${table}_archive', not_before => localtime + interval '1 h', not_after => localtime + interval '2 h')");
		my $offset = -s $node->logfile;
		my (undef, undef, $stderr) = $node->psql('postgres', "SET onceq.fault = '$action at $point';\nCALL onceq.archive('$table')", on_error_stop => 0);
		like($stderr, qr/fault at|connection to server was lost|server closed the connection/, "$action at $point: met");
		wait_until_restarted($node, $offset) if $action eq 'kill';
		query($node, "CALL onceq.archive('$table')");
		is(partitions($table) . '|' . counts($node, $table, "${table}_archive"), '4|40|60', "$action at $point: goes on");
	}
}

# ---- kills, while the process works

for my $round (1 .. 6)
{
	my $table = "k$round";
	create_months($table);
	query($node, "SELECT onceq.set_archive_policy('$table', 'at', '100 days', '${table}_archive')");
	select undef, undef, undef, rand(0.6);
	$round % 2 ? kill_postmaster($node) : kill_backend($node, query($node, q{SELECT min(pid) FROM pg_stat_activity WHERE backend_type IN ('onceq archiver', 'walwriter')}));
}
for my $round (1 .. 6)
{
	ok($node->poll_query_until('postgres', "SELECT count(*) = 4 FROM pg_inherits WHERE inhparent = 'k$round'::regclass") && $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM onceq.archive_partition'), "round $round: done in the end");
	is(counts($node, "k$round", "k${round}_archive"), '40|60', "round $round: nothing is lost");
}
$node->stop;
done_testing();
