# A dump carries queues, jobs of every state with their ids, payloads and attempts, options and grants, and the
# ledger of processed events, and restores into a new database, and into a new server. The copy, as one made with
# CREATE DATABASE … TEMPLATE, refuses all work on queues with 55000 until onceq.adopt(): what the original still
# does must not be done twice (Invariants 5 and 10). Then it numbers on, and delivers each unfinished job, once.
# The ledger goes on at once.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqWorker qw(wait_for_worker);

my $original = start_node('original', 'onceq.worker_naptime' => "'100ms'", wal_level => 'logical');
query($original, 'CREATE PUBLICATION everything FOR ALL TABLES'); # forbids a DELETE where no key tells which row it was
my @roles = qw(alice bob mallory);
query($original, "CREATE ROLE $_ LOGIN") for @roles;
query($original, q{
	SELECT onceq.create_queue('mail', lease => '7 min', max_attempts => 4, backoff_base => '3 h', backoff_factor => 1.5,
		backoff_max => '5 h', backoff_jitter => 0, retention => '3 days', segment_age => '1 s');
	SELECT onceq.create_queue('paused'), onceq.create_queue('empty'), onceq.create_queue('gone');
	SELECT onceq.grant_producer('mail', 'alice'), onceq.grant_consumer('mail', 'bob');
	SELECT onceq.pause_queue('paused');
	SELECT onceq.enqueue('paused', '"waits"'), onceq.enqueue('gone', '"never"');
	SELECT onceq.create_consumer('billing', retention => '90 days'), onceq.create_consumer('dropped');
	SELECT onceq.grant_marker('billing', 'bob');
	SELECT onceq.once_many('billing', ARRAY(SELECT 'ä' || i FROM generate_series(1, 100) i), 'topic'), onceq.once('dropped', '1');
});

# Two segments: the first one sealed, with jobs of every state.
query($original, q{
	SELECT onceq.enqueue_many('mail', ARRAY(SELECT jsonb_build_object('n', i, 'text', repeat('ä"\\', i)) FROM generate_series(1, 60) i),
		ARRAY(SELECT CASE WHEN i % 2 = 0 THEN jsonb_build_object('h', i) END FROM generate_series(1, 60) i));
	SELECT onceq.enqueue('mail', '"urgent"', priority => 7, max_attempts => 9);
	SELECT onceq.enqueue('mail', to_jsonb(repeat('large', 20000)));
	SELECT onceq.enqueue('mail', '"late"', delay => '2 h');
});
my ($held) = rows($original, q{SELECT token, id FROM onceq.claim('mail', 10, worker => 'original')});
my ($token, $first) = @$held;
query($original, "SELECT onceq.ack($token, id, '{\"done\": true}') FROM onceq.jobs('mail', 'running') ORDER BY id LIMIT 2");
query($original, "SELECT onceq.nack($token, id, 'failed once', '0') FROM (SELECT id FROM onceq.jobs('mail', 'running') ORDER BY id LIMIT 1) j");
query($original, "SELECT onceq.nack($token, id, 'failed') FROM (SELECT id FROM onceq.jobs('mail', 'running') ORDER BY id LIMIT 1) j");
query($original, "SELECT onceq.reject($token, id, 'rejected') FROM (SELECT id FROM onceq.jobs('mail', 'running') ORDER BY id LIMIT 1) j");
query($original, 'CALL onceq.maintain()');
$original->poll_query_until('postgres', q{SELECT count(*) = 2 FROM onceq.segment s JOIN onceq.queue q ON q.id = s.queue_id AND q.name = 'mail'})
  or die 'no second segment';
query($original, q{SELECT onceq.enqueue_many('mail', test.payloads(20))});
query($original, q{SELECT onceq.drop_queue('gone')});
my $marking = session($original); # till it is over, the dropped consumer is there
$marking->query_safe(q{BEGIN; SELECT onceq.once('dropped', '2')});
query($original, q{SELECT onceq.drop_consumer('dropped')});
$original->poll_query_until('postgres', q{SELECT journalled FROM onceq.leases}) or die 'the lease is not journalled';

# ---- What a copy must have. Of what runs at the original, the copy knows that it is unfinished.

my $jobs_query = q{
	SELECT count(*), md5(string_agg(concat_ws('|', j.queue, j.id, replace(j.state, 'running', 'ready'), j.priority,
		CASE WHEN j.state = 'running' THEN j.attempt - 1 ELSE j.attempt END, j.max_attempts, j.enqueued_at, j.error,
		j.result, md5(j.payload::text), j.headers), E'\n' ORDER BY j.queue, j.id))
	FROM onceq.queues q, LATERAL onceq.jobs(q.queue, count => 10000) j};
my $due_query = q{SELECT id, due_at FROM onceq.jobs('mail', 'scheduled') ORDER BY id};
my $queues_query = q{SELECT queue, lease, max_attempts, backoff_base, backoff_factor, backoff_max, backoff_jitter, retention, segment_age, paused, created_at FROM onceq.queues ORDER BY queue};
my $grants_query = q{
	SELECT q.queue, r, p, has_table_privilege(r, q.privileges, p)
	FROM onceq.queues q, unnest(ARRAY['alice', 'bob', 'mallory']) r, unnest(ARRAY['INSERT', 'SELECT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
	ORDER BY 1, 2, 3};
my $events_query = q{SELECT e, retention, c.created_at FROM onceq.processed_events e JOIN onceq.consumers c USING (consumer) ORDER BY event_id};
my $dropped_query = q{SELECT count(*) FROM onceq.consumer WHERE dropped_at IS NOT NULL};
my %expected = map { ($_ => query($original, $_)) } $jobs_query, $due_query, $queues_query, $grants_query, $events_query;
like($expected{$jobs_query}, qr/^84\|/, 'there are jobs');
my @unfinished = split / /, query($original, q{
	SELECT string_agg(id || ':' || CASE WHEN state = 'running' THEN attempt ELSE attempt + 1 END, ' ' ORDER BY id)
	FROM onceq.jobs('mail', count => 1000) WHERE state IN ('ready', 'running')});
my $highest = query($original, q{SELECT max(id) FROM onceq.jobs('mail', count => 1000)});

sub is_refused
{
	my ($node, $database) = @_;
	for my $statement (
		q{SELECT onceq.enqueue('mail', '1')},
		q{SELECT onceq.enqueue_many('mail', '{1}')},
		q{SELECT * FROM onceq.claim('mail')},
		q{SELECT onceq.create_queue('new')},
		q{SELECT onceq.alter_queue('mail', max_attempts => 1)},
		q{SELECT onceq.resume_queue('paused')},
		q{SELECT onceq.purge_queue('mail')},
		q{SELECT onceq.drop_queue('mail')})
	{
		is(sqlstate_of($node, $statement, $database), '55000', "$database refuses $statement");
	}
	is(sqlstate_of($node, "SELECT onceq.ack($token)", $database), 'OQ001', "$database knows no lease");
	return;
}

# The ledger needs no adopt(): it remembers, for the same roles, and goes on.
sub remembers
{
	my ($node, $database) = @_;
	is(query($node, $events_query, $database), $expected{$events_query}, "$database: the same events");
	my $marks = q{SELECT onceq.once_many('billing', '{ä1,ä100,new}')};
	is(query($node, $marks, $database), '{f,f,t}', "$database: no event is processed twice");
	is(sqlstate_of($node, $marks, $database, extra_params => [ '-U', 'bob' ]), '', "$database: by those who may");
	is(sqlstate_of($node, $marks, $database, extra_params => [ '-U', 'mallory' ]), '42501', "$database: not by a stranger");
	query($node, q{SELECT onceq.create_consumer('later'); SELECT onceq.once('later', '1')}, $database);
	is(query($node, q{SELECT count(*) FROM onceq.processed_events WHERE consumer = 'later'}, $database), 1, "$database: new consumers remember, too");
	return;
}

sub is_a_good_copy
{
	my ($node, $database) = @_;
	ok(wait_for_worker($node, $database), "$database has a worker");
	is_refused($node, $database);
	remembers($node, $database);
	query($node, 'SELECT onceq.adopt()', $database);
	is(query($node, $jobs_query, $database), $expected{$jobs_query}, "$database: the same jobs");
	is(query($node, $due_query, $database), $expected{$due_query}, "$database: due as before");
	is(query($node, $queues_query, $database), $expected{$queues_query}, "$database: the same queues");
	is(query($node, $grants_query, $database), $expected{$grants_query}, "$database: the same privileges");
	my @new = split /\n/, query($node, q{SELECT onceq.enqueue('mail', '"new"') FROM generate_series(1, 2)}, $database);
	cmp_ok($new[0], '>', $highest, "$database: numbering goes on");
	audit_is_empty($node, $_, $database, $database) for qw(mail paused empty);
	delivers($node, 'mail', [ @unfinished, map { "$_:1" } @new ], "$database: each unfinished job is delivered, once", $database);
	is(drain($node, 'paused', $database), '', "$database: a paused queue is paused");
	query($node, q{SELECT onceq.resume_queue('paused')}, $database);
	like(drain($node, 'paused', $database), qr/^\d+:1$/, "$database: until it is resumed");
	is(sqlstate_of($node, q{SELECT * FROM onceq.claim('gone')}, $database), '42704', "$database: a dropped queue is gone");
	is(sqlstate_of($node, q{SELECT onceq.enqueue('mail', '1')}, $database, extra_params => [ '-U', 'alice' ]), '', "$database: a producer can produce");
	is(sqlstate_of($node, q{SELECT * FROM onceq.claim('mail')}, $database, extra_params => [ '-U', 'alice' ]), '42501', "$database: not consume");
	is(sqlstate_of($node, q{SELECT onceq.ack(token) FROM onceq.claim('mail')}, $database, extra_params => [ '-U', 'bob' ]), '', "$database: a consumer can");
	is(sqlstate_of($node, q{SELECT onceq.enqueue('mail', '1')}, $database, extra_params => [ '-U', 'mallory' ]), '42501', "$database: a stranger nothing");
	query($node, q{SELECT onceq.create_queue('later'); SELECT onceq.enqueue('later', '1')}, $database);
	is(drain($node, 'later', $database), '1:1', "$database: new queues work");
	$node->restart;
	audit_is_empty($node, 'mail', "$database, restarted", $database);
	return;
}

# Who restores may still be about to fill the tables, or to grant on them, statement by statement.
sub nothing_is_removed
{
	my ($node, $database) = @_;
	query($node, 'CALL onceq.maintain()', $database);
	is(query($node, $dropped_query, $database), 1, "$database: a dropped consumer waits for adopt()");
	return;
}

sub the_rest_is_removed
{
	my ($node, $database) = @_;
	query($node, 'CALL onceq.maintain()', $database);
	ok($node->poll_query_until($database, $dropped_query, 0), "$database: and is removed then");
	return;
}

# ---- Dumps.

my $folder = PostgreSQL::Test::Utils::tempdir();
$original->command_ok([ 'pg_dump', '-f', "$folder/plain.sql", 'postgres' ], 'dumped as text');
$original->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$folder/directory", 'postgres' ], 'dumped as a folder');
close_session($marking);

query($original, 'CREATE DATABASE copied TEMPLATE template0');
# The worker comes in between, wherever that is worst.
my ($extension, $rest) = slurp_file("$folder/plain.sql") =~ /\A(.*?^CREATE EXTENSION [^\n]*onceq.*?\n)(.*)\z/ms;
$rest =~ s/^(?=-- (?:Data for )?Name: )/CALL onceq.recover(); CALL onceq.maintain();\n/gm or die 'the dump has no steps';
append_to_file("$folder/slow.sql", $extension . $rest);
$original->command_ok([ 'psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', 'copied', '-f', "$folder/slow.sql" ], 'restored beside the original');
nothing_is_removed($original, 'copied');
is_a_good_copy($original, 'copied');
the_rest_is_removed($original, 'copied');

my $server = start_node('server', 'onceq.worker_naptime' => "'100ms'", wal_level => 'logical');
query($server, "CREATE ROLE $_ LOGIN") for @roles;
query($server, 'CREATE DATABASE moved TEMPLATE template0');
$server->command_ok([ 'pg_restore', '-e', '-j2', '-d', 'moved', "$folder/directory" ], 'restored in a new server');
nothing_is_removed($server, 'moved');
is_a_good_copy($server, 'moved');
the_rest_is_removed($server, 'moved');
log_is_clean($server);

# ---- A template.

# Its queues are shut until it is adopted; the original does not notice.
query($original, 'CREATE DATABASE cloned TEMPLATE postgres');
is(query($original, "SELECT onceq.extend($token) > clock_timestamp()"), 't', 'the lease at the original is held still');
is_a_good_copy($original, 'cloned');

# ---- The original.

is(query($original, "SELECT onceq.ack($token)"), 5, 'the jobs that run at the original are acked there');
my @left = grep { my ($id) = /^(\d+)/; query($original, "SELECT state = 'ready' FROM onceq.job('mail', $id)") eq 't' } @unfinished;
delivers($original, 'mail', \@left, 'and the others are delivered there, too');
audit_is_empty($original, 'mail', 'the original');
is(sqlstate_of($original, 'SELECT onceq.adopt()'), '', 'there is nothing to adopt');
log_is_clean($original);
done_testing();
