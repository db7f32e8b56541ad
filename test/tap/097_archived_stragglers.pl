# With archive_to, too, an old segment goes although jobs of it are unfinished: those that ended before are copied to
# the archive from what remains of it, the others when they have ended and their retention is over. Each job is there
# once, with how it ended, whatever fails or is killed on the way (Invariants 1 and 5).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqFaults qw(points_for);
use OnceqNode;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

# The worker leaves segments and the archive to this test.
my $node = start_node('primary', 'onceq.worker_passive' => 'on', 'onceq.suspicion_window' => 0);
my ($total, $kills, %late) = (0, 0);
query($node, q{SELECT onceq.create_queue('mail', retention => '0', lease => '10 min', backoff_base => '0', archive_to => 'public.old_jobs')});
query($node, q{CREATE PROCEDURE test.work() LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. 1000 LOOP CALL onceq.maintain(); COMMIT; CALL onceq.archive(); COMMIT; END LOOP; END $$});

# As if it were old: "created_at" is followed by a seal, "sealed_at" by a relocation.
sub make_old
{
	my ($column) = @_;
	return query($node, "UPDATE onceq.segment SET $column = $column - interval '2 days' WHERE number >= 0 AND $column IS NOT NULL");
}

# A sealed segment that is old: of its jobs one has succeeded, one is dead, two are ready, one waits.
sub make_segment
{
	query($node, q{SELECT onceq.enqueue('mail', to_jsonb(i), priority => CASE WHEN i < 3 THEN 9 ELSE 0 END) FROM generate_series(1, 4) i});
	my $late = query($node, q{SELECT onceq.enqueue('mail', '5', delay => '1 h')});
	query($node, q{SELECT CASE WHEN payload = '1' THEN onceq.ack(token, id, '"done"') END, CASE WHEN payload = '2' THEN onceq.reject(token, id, 'no') END FROM onceq.claim('mail', 2)});
	$total += 5;
	$late{$late} = 1;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $number = $late >> 20;
	do
	{
		make_old($_) for qw(created_at sealed_at);
		query($node, 'CALL onceq.maintain()');
	} until query($node, "SELECT count(*) FROM onceq.segment WHERE number = $number AND sealed_at IS NULL") == 0 || time > $deadline;
	make_old('sealed_at');
	return;
}

# Ends what was left over: one by an ack, one as dead, one by a cancellation.
sub end_stragglers
{
	query($node, q{SELECT CASE WHEN payload = '3' THEN onceq.ack(token, id, '"at last"') END, CASE WHEN payload = '4' THEN onceq.reject(token, id, 'late') END FROM onceq.claim('mail', 100)});
	# One that is being moved cannot be cancelled before that is over.
	$node->poll_query_until('postgres', "SELECT onceq.cancel('mail', $_) IS NOT NULL") or die "job $_ is not cancelled" for keys %late;
	%late = ();
	return;
}

sub archive_again
{
	query($node, q{UPDATE onceq.job_archive SET next_run = NULL; CALL onceq.maintain(); CALL onceq.archive()});
	return;
}

sub archived
{
	return query($node, q{SELECT coalesce(string_agg(concat_ws(' ', payload, state, attempts, result, error), ', ' ORDER BY id, payload), '') FROM old_jobs});
}

# ---- what is copied when

make_segment();
query($node, 'CALL onceq.maintain()');
is(query($node, 'SELECT count(*) FILTER (WHERE number = 0), count(*) FILTER (WHERE number = -2), (SELECT count(*) FROM onceq_data.j1_stay) FROM onceq.segment'), '0|1|3', 'a segment leaves stragglers, and remains');
is(query($node, q{SELECT string_agg(concat_ws(' ', payload, state), ', ' ORDER BY id) FROM onceq.jobs('mail')}), '3 ready, 4 ready, 5 scheduled', 'they are looked at as ever');
is(query($node, q{SELECT string_agg(concat_ws(' ', payload, state), ', ' ORDER BY id) FROM onceq.jobs('mail', 'dead')}), '', 'what remains is for the archive only');
query($node, 'CALL onceq.archive()');
is(archived(), '1 succeeded 1 "done", 2 dead 1 no', 'what had ended is archived from the remains');
query($node, 'CALL onceq.maintain()');
is(query($node, 'SELECT count(*) FROM onceq.segment WHERE number < 0'), 0, 'then they go');
is(query($node, q{SELECT count(*) FROM pg_class WHERE relname LIKE '%\_old%' AND relnamespace = 'onceq_data'::regnamespace}), 0, 'with their tables');
kill_postmaster($node);
audit_is_empty($node, 'mail', 'after a crash');
query($node, q{SELECT onceq.alter_queue('mail', retention => '1 day')});
end_stragglers();
archive_again();
is(query($node, 'SELECT count(*) FROM old_jobs'), 2, 'stragglers that ended are kept for the retention');
query($node, q{SELECT onceq.alter_queue('mail', retention => '0')});
archive_again();
is(archived(), '1 succeeded 1 "done", 2 dead 1 no, 3 succeeded 1 "at last", 4 dead 1 late, 5 cancelled 0', 'then archived');
is(query($node, 'SELECT (SELECT count(*) FROM onceq_data.j1_stay), (SELECT count(*) FROM onceq_data.o1_stay), (SELECT count(*) FROM onceq_data.r1_stay)'), '0|0|0', 'and deleted');
is(query($node, 'SELECT failures, total_jobs FROM onceq.job_archives'), '0|5', 'the view tells');

# ---- faults

sub meets
{
	my ($action, $point, $sql) = @_;
	my $offset = -s $node->logfile;
	my (undef, undef, $stderr) = $node->psql('postgres', "SET onceq.fault = '$action at $point'; $sql", on_error_stop => 0);
	return slurp_file($node->logfile, $offset) =~ /fault at "$point"/ if $action ne 'kill' || $stderr !~ /connection to server was lost/;
	wait_until_restarted($node, $offset);
	$kills++;
	return 1;
}

for my $point (points_for('relocate', 'archive jobs', 'archive stragglers'))
{
	next if $point eq 'relocate: after delete'; # the archive deletes
	for my $action (qw(error fatal kill))
	{
		make_segment();
		my $met = meets($action, $point, 'CALL onceq.maintain(); CALL onceq.archive()');
		archive_again();
		end_stragglers();
		$met += meets($action, $point, 'CALL onceq.archive()') if $point =~ /stragglers/;
		cmp_ok($met, '>', 0, "$action at $point: met");
	}
}

# ---- random kills, while jobs end

for my $round (1 .. 6)
{
	make_segment() for 1 .. 3;
	my $worker = session($node);
	my $pid = pid_of($worker);
	start_query($worker, 'CALL test.work()');
	select undef, undef, undef, rand(0.3);
	end_stragglers() if $round % 3;
	select undef, undef, undef, rand(0.2);
	if ($round % 2) { kill_backend($node, $pid); $kills++; }
	else { kill_postmaster($node); }
	close_session($worker);
}
# What was claimed and not ended when the server was killed.
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
my $left;
do
{
	end_stragglers();
	query($node, q{SELECT onceq.purge_queue('mail')});
	archive_again();
	make_old('created_at');
	$left = query($node, q{SELECT (SELECT count(*) FROM onceq_data.j1_stay) + (SELECT count(*) FROM onceq.segment WHERE drained_at IS NOT NULL)});
} until ($left == 0 && query($node, 'SELECT count(*) FROM old_jobs') == $total) || time > $deadline;
is(query($node, 'SELECT count(*), count(DISTINCT id) FROM old_jobs'), "$total|$total", 'every job is in the archive, once');
is(query($node, q{SELECT count(*) FROM old_jobs WHERE (payload, state) IN (('1', 'succeeded'), ('2', 'dead'), ('5', 'cancelled')) OR payload IN ('3', '4')}), $total, 'as it has ended');
is($left, 0, 'nothing is left of old segments');
audit_is_empty($node, 'mail', 'at the end');

# ---- a queue that is dropped

make_segment();
query($node, 'CALL onceq.maintain()');
is(query($node, 'SELECT count(*) FROM onceq.segment WHERE number < 0'), 1, 'there are remains');
query($node, q{SELECT onceq.drop_queue('mail')});
ok($node->poll_query_until('postgres', q{CALL onceq.maintain(); SELECT count(*) = 0 FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace}, "CALL\nt"), 'a dropped queue leaves nothing');
is(query($node, 'SELECT count(*) FROM onceq.segment'), 0, 'nor in the catalog');
log_is_clean($node, kills => $kills, expect => qr/fault at| XX000 (?:STATEMENT|CONTEXT|HINT)/);
done_testing();
