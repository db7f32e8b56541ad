# Conservation: while writers and readers use a table of events that is archived in batches, and backends, the
# archiving process, the worker and the postmaster are killed at random points, every row that was committed
# is in the table or in its archive: none is lost, none is there twice. Runs until a million rows are archived.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqArchive;

my ($first, $chunks, $chunk) = (900_000, 80, 1250);
my $seed = $ENV{ONCEQ_SEED} // time;
srand($seed);
note("ONCEQ_SEED=$seed");

my $node = archive_node('conservation', autovacuum => 'off', 'onceq.archive_batches_per_second' => 100);
query($node, q{CREATE TABLE audit_events (id bigint PRIMARY KEY, at timestamptz NOT NULL, body text)});
query($node, q{CREATE INDEX ON audit_events (at)});
query($node, q{CREATE TABLE committed (chunk int PRIMARY KEY)});

sub insert_chunk
{
	my ($number, $count, $start) = @_;
	return "BEGIN; INSERT INTO audit_events SELECT $start + i, now() - interval '2 days' + i * interval '1 ms', repeat('x', 50) FROM generate_series(1, $count) i;"
	  . " INSERT INTO committed VALUES ($number); COMMIT";
}
query($node, insert_chunk(0, $first, 0));
query($node, q{INSERT INTO audit_events SELECT -i, now() + interval '1 day', 'young' FROM generate_series(1, 100) i});
query($node, q{SELECT onceq.set_archive_policy('audit_events', 'at', '1 day', 'audit_archive', batch => 1000)});

# Reads while a batch may be under way see each row once.
sub look
{
	my ($what) = @_;
	my ($twice, $young) = split /\|/, query($node, q{
		SELECT (SELECT count(*) FROM audit_events JOIN audit_archive USING (id)), (SELECT count(*) FROM audit_events WHERE id < 0)});
	return $twice == 0 && $young == 100 ? 0 : diag("$what: $twice twice, $young young");
}

# Stopped first, so that it cannot end by itself just then.
sub dies_of_kill
{
	my ($pid) = @_;
	kill('STOP', $pid) == 1 or return 0;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $state;
	do
	{
		my $stat = eval { slurp_file("/proc/$pid/stat") } // ') Z';
		($state) = $stat =~ /\) (\w)/;
	} until $state =~ /[TZX]/ || time > $deadline;
	return $state eq 'T' && kill('KILL', $pid) == 1;
}

my ($kills, $odd) = (0, 0);
for my $number (1 .. $chunks)
{
	my $writer = session($node);
	my $statement = insert_chunk($number, $chunk, $first + ($number - 1) * $chunk);
	my $what = $number % 8 == 0 ? (qw(backend archiver worker postmaster session))[ $number / 8 % 5 ] : 'nobody';
	if ($what eq 'nobody')
	{
		$writer->query_safe($statement);
		$writer->query_safe("BEGIN; SELECT count(*) FROM (SELECT FROM audit_events WHERE at < now() - interval '1 day' LIMIT 20 FOR UPDATE) s; COMMIT");
		$odd += look($number) if $number % 4 == 0;
		close_session($writer);
		next;
	}
	start_query($writer, $statement) if $what ne 'session';
	start_query($writer, q{CALL onceq.archive('audit_events')}) if $what eq 'session';
	select undef, undef, undef, rand(0.05);
	if ($what eq 'postmaster')
	{
		kill_postmaster($node);
	}
	else
	{
		my $type = { archiver => 'onceq archiver', worker => 'onceq worker' }->{$what} // 'client backend';
		my $find = "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND pid <> pg_backend_pid() LIMIT 1";
		my $pid = query($node, $find);
		my $offset = -s $node->logfile;
		if ($pid && dies_of_kill($pid))
		{
			$kills++;
			wait_until_restarted($node, $offset);
		}
	}
	close_session($writer);
}
is($odd, 0, 'readers see each row once');
cmp_ok($kills, '>=', 4, "processes were killed ($kills)");

# The archive has all that is old, when it has come to rest.
ok($node->poll_query_until('postgres', q{SELECT count(*) = 100 FROM audit_events}), 'everything old is archived in the end');
my $committed = query($node, "SELECT sum(CASE chunk WHEN 0 THEN $first ELSE $chunk END) FROM committed");
cmp_ok($committed, '>=', 985_000, "rows were written ($committed)");
is(query($node, q{SELECT count(*), count(DISTINCT id) FROM audit_archive}), "$committed|$committed", 'source + archive = inserted: none lost, none twice');
is(query($node, "SELECT count(*) FROM audit_archive WHERE CASE WHEN id <= $first THEN 0 ELSE (id - $first - 1) / $chunk + 1 END NOT IN (SELECT chunk FROM committed)"),
	0, 'none that was not committed');
is(query($node, q{SELECT count(*) FROM audit_archive WHERE id < 0}), 0, 'none that is young');
log_is_clean($node, kills => $kills);
done_testing();
