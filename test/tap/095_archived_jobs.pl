# Before a segment is dropped its jobs are copied, with how they ended, to the table that archive_to names:
# each job once, whatever is killed; with the rights of the role that has set the option. Until all are copied
# the segment stays; jobs can be looked at until it is dropped; leases and new jobs do not wait for that.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqFaults qw(points_for);
use OnceqNode;
use OnceqArchive;

my $node = archive_node('jobs');
my $create = q{SELECT onceq.create_queue('mail', segment_age => '1 s', retention => '0', max_attempts => 2, backoff_base => '0', archive_to => 'public.old_jobs')};

# The worker seals, drains and drops; it looks after segments twice a minute, unless it is called.
sub wait_for_copy
{
	my ($condition, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $true = '';
	while ($true ne 't' && time < $deadline)
	{
		$node->psql('postgres', 'CALL onceq.maintain()');
		(undef, $true) = $node->psql('postgres', "SELECT $condition");
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($true, 't', $what) || diag(query($node, 'SELECT * FROM onceq.job_archives; TABLE onceq.segment'));
}

# ---- what is copied

query($node, $create);
query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(2500), (SELECT array_agg(jsonb_build_object('h', i)) FROM generate_series(1, 2500) i))});
my ($first) = split /\n/, query($node, q{SELECT onceq.ack(token, id, '{"done": true}') FROM onceq.claim('mail', 10, worker => 'w1'); SELECT min(id) FROM onceq.jobs('mail')}) =~ s/^(?:1\n)+(?=\d+$)//r;
query($node, q{SELECT onceq.reject(token, id, 'wrong') FROM onceq.claim('mail', 5, worker => 'w2')});
query($node, q{SELECT onceq.nack(token, id, 'once more') FROM onceq.claim('mail', 5)});
query($node, q{SELECT onceq.ack(token) FROM (SELECT DISTINCT token FROM onceq.claim('mail', 980)) c});
is(query($node, q{SELECT state FROM onceq.job('mail', } . ($first + 3) . ')'), 'succeeded', 'finished jobs are seen until the segment goes');
query($node, q{SELECT onceq.purge_queue('mail')});
wait_for_copy(q{(SELECT count(*) = 2500 FROM public.old_jobs) AND NOT EXISTS (SELECT FROM onceq.segment WHERE drained_at IS NOT NULL)}, 'jobs are copied, then the segment is dropped');
is(query($node, q{SELECT string_agg(concat_ws(' ', state, n, attempts), ', ' ORDER BY state, attempts) FROM (SELECT state, attempts, count(*) n FROM old_jobs GROUP BY 1, 2) s}),
	'cancelled 1505 0, dead 5 1, succeeded 985 1, succeeded 5 2', 'with their states and attempts');
is(query($node, q{SELECT count(*), count(DISTINCT id), sum(payload::int), sum((headers->>'h')::int) FROM old_jobs WHERE queue = 'mail'}), '2500|2500|3126250|3126250', 'payloads and headers');
is(query($node, q{SELECT count(result) || ' ' || min(result::text), count(error), string_agg(DISTINCT error, ' ' ORDER BY error), string_agg(DISTINCT worker, ' ' ORDER BY worker) FROM old_jobs}), '10 {"done": true}|10|once more wrong|w1 w2', 'results, errors and workers');
is(query($node, q{SELECT bool_and(finished_at >= enqueued_at) FROM old_jobs}), 't', 'and times');
is(query($node, q{SELECT queue, archive_to, owner, total_jobs, failures FROM onceq.job_archives}), 'mail|public.old_jobs|postgres|2500|0', 'the view tells');

# ---- rights

query($node, q{CREATE ROLE ada LOGIN IN ROLE onceq_admin; CREATE ROLE eve LOGIN; CREATE SCHEMA ada AUTHORIZATION ada; GRANT USAGE ON SCHEMA ada TO eve; GRANT USAGE ON SCHEMA test TO PUBLIC});
my @ada = (extra_params => [ '-U', 'ada' ]);
is(sqlstate_of($node, q{SELECT onceq.alter_queue('mail', archive_to => 'old')}), '22023', 'a table without a schema');
is(sqlstate_of($node, q{SELECT onceq.alter_queue('mail', archive_to => 'a."b')}), '42602', 'what is no name');
is(sqlstate_of($node, q{SELECT onceq.alter_queue('mail', archive_to => 'ada.trap')}, undef, extra_params => [ '-U', 'eve' ]), '42501', 'only administrators set it');
query($node, q{CREATE TABLE ada.jobs (LIKE old_jobs); ALTER TABLE ada.jobs OWNER TO ada; CREATE TABLE test.seen (who text)});
query($node, q{GRANT INSERT ON test.seen TO ada; CREATE FUNCTION ada.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.seen VALUES (current_user); RETURN NEW; END $$});
query($node, q{CREATE CONSTRAINT TRIGGER tell AFTER INSERT ON ada.jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ada.tell()});
is(sqlstate_of($node, q{SELECT onceq.alter_queue('mail', archive_to => 'ada.jobs')}, undef, @ada), '', 'an administrator');
query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(20)); SELECT onceq.purge_queue('mail')});
wait_for_copy(q{(SELECT count(*) = 20 FROM ada.jobs)}, 'jobs are copied as who has set it');
is(query($node, q{SELECT DISTINCT who FROM test.seen}), 'ada', 'triggers, deferred ones too, run as he');
query($node, q{REVOKE onceq_admin FROM ada});
query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(20)); SELECT onceq.purge_queue('mail')});
wait_for_copy(q{(SELECT failures > 0 AND last_error LIKE 'permission denied%' FROM onceq.job_archives)}, 'who loses the privilege does not go on');
is(query($node, q{SELECT count(*) FROM ada.jobs}), 20, 'nothing more is copied');
cmp_ok(query($node, q{SELECT count(*) FROM onceq.segment WHERE drained_at IS NOT NULL}), '>', 0, 'and nothing is dropped');
query($node, q{SELECT onceq.alter_queue('mail', archive_to => 'public.old_jobs')});
wait_for_copy(q{(SELECT count(*) = 2520 FROM old_jobs)}, 'another sets it anew');

# ---- an archive in partitions, one that drops rows, none any more

query($node, q{CREATE TABLE monthly (LIKE old_jobs) PARTITION BY RANGE (finished_at)});
query($node, q{SELECT onceq.alter_queue('mail', archive_to => 'public.monthly'); SELECT onceq.enqueue_many('mail', test.payloads(20)); SELECT onceq.purge_queue('mail')});
wait_for_copy(q{(SELECT failures > 0 AND last_error LIKE 'no partition%' FROM onceq.job_archives)}, 'a partition that is missing is told');
query($node, q{CREATE TABLE this_month PARTITION OF monthly FOR VALUES FROM ('2000-01-01') TO ('2100-01-01')});
wait_for_copy(q{(SELECT count(*) = 20 FROM this_month)}, 'when it is there jobs go there');
query($node, q{CREATE FUNCTION test.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER swallow BEFORE INSERT ON this_month FOR EACH ROW EXECUTE FUNCTION test.swallow()});
query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(5)); SELECT onceq.purge_queue('mail')});
wait_for_copy(q{(SELECT failures > 0 AND last_error LIKE '%did not take all jobs' FROM onceq.job_archives)}, 'so is an archive that drops rows');
query($node, q{SELECT onceq.alter_queue('mail', archive_to => '')});
wait_for_copy(q{NOT EXISTS (SELECT FROM onceq.segment WHERE drained_at IS NOT NULL)}, 'without archive_to segments are dropped');
is(query($node, q{SELECT count(*) FROM onceq.job_archives}), 0, 'and the view is empty');

# ---- crashes and faults: each job once

query($node, q{SELECT onceq.alter_queue('mail', archive_to => 'public.crash')});
my ($total, $kills) = (0, 0);

sub finish_jobs
{
	my ($count) = @_;
	$total += query($node, "SELECT count(*) FROM onceq.enqueue_many('mail', test.payloads($count))");
	drain($node, 'mail');
	return;
}
for my $round (1 .. 6)
{
	finish_jobs(3000);
	query($node, q{CALL onceq.maintain()});
	my $killer = session($node);
	start_query($killer, q{CALL onceq.archive()});
	select undef, undef, undef, rand(0.3);
	if ($round % 2)
	{
		kill_backend($node, query($node, q{SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND query NOT LIKE '%max(pid)%'}));
		$kills++;
	}
	else
	{
		kill_postmaster($node);
	}
	close_session($killer);
}
SKIP:
{
	skip 'needs a testing build', 1 unless $ENV{ONCEQ_TESTING};
	for my $point (points_for('archive jobs'))
	{
		for my $action (qw(error fatal kill))
		{
			finish_jobs(50);
			my ($met, $deadline) = (0, time + $PostgreSQL::Test::Utils::timeout_default);
			query($node, "ALTER ROLE onceq_worker SET onceq.fault = '$action at $point'");
			my $offset = -s $node->logfile;
			while (!$met && time < $deadline)
			{
				$node->psql('postgres', 'CALL onceq.maintain()');
				$met = slurp_file($node->logfile, $offset) =~ /fault at "$point"|was terminated by signal 9/;
			}
			ok($met, "$action at $point: met");
			$node->poll_query_until('postgres', 'SELECT true');
			my ($failed, $since) = (1);
			($failed, $since) = $node->psql('postgres', 'ALTER ROLE onceq_worker RESET onceq.fault; SELECT clock_timestamp()')
			  while $failed && time < $deadline;
			# Those that began before have the fault still.
			$node->poll_query_until('postgres', qq{
				SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity
				WHERE backend_type IN ('onceq worker', 'onceq archiver') AND backend_start < '$since'});
			query($node, q{SELECT onceq.alter_queue('mail', archive_to => 'public.crash')});
		}
	}
}
wait_for_copy(qq{(SELECT count(*) >= $total FROM public.crash)}, 'all jobs are copied in the end');
is(query($node, q{SELECT count(*), count(DISTINCT id) FROM public.crash}), "$total|$total", 'each of them once');
audit_is_empty($node, 'mail', 'at the end');
$node->stop;
done_testing();
