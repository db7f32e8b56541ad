# Archiving has a process of its own: there only while a policy is due, and whatever becomes of it — slow,
# stuck, terminated, failing fatally, killed — the worker of the database goes on expiring leases, promoting
# jobs and making room. Statements that need the database, or drop the extension, are not kept waiting by it.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;
use OnceqArchive;
use OnceqWorker qw(worker_pid wait_for_worker);

my $node = archive_node('process');
my $worker = wait_for_worker($node, 'postgres');
query($node, q{SELECT onceq.create_queue('mail', backoff_base => '0')});
is(archiver_pid($node), 0, 'no process without a policy');

# A job is claimed, lost by the end of its lease, and delivered again; a delayed one falls due.
sub worker_works
{
	my ($what) = @_;
	query($node, q{SELECT onceq.enqueue('mail', '1'), onceq.enqueue('mail', '2', delay => '50 ms')});
	query($node, q{SELECT * FROM onceq.claim('mail', 1, lease => '100 ms')});
	my ($count, $deadline) = (0, time + $PostgreSQL::Test::Utils::timeout_default);
	$count += split / /, drain($node, 'mail') while $count < 2 && time < $deadline;
	is($count, 2, "$what: leases expire and delayed jobs fall due");
	is(worker_pid($node, 'postgres'), $worker, "$what: the worker is the same");
	return;
}

# It waits in a trigger, for an advisory lock.
create_events($node, 'events');
query($node, q{CREATE FUNCTION test.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$});
query($node, q{ALTER FUNCTION test.wait() SET lock_timeout = 0; CREATE TRIGGER wait BEFORE DELETE ON events FOR EACH STATEMENT EXECUTE FUNCTION test.wait()});
my $holder = session($node);
$holder->query_safe('SELECT pg_advisory_lock(42)');
add_events($node, 'events', 100);
query($node, q{SELECT onceq.set_archive_policy('events', 'at', '1 day', 'events_archive')});

sub stuck_archiver
{
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'onceq archiver' AND wait_event_type = 'Lock'})
	  or die 'it is not stuck';
	return archiver_pid($node);
}

my $archiver = stuck_archiver();
pass('the process comes when a policy is due');
is(query($node, q{SELECT usename || ' ' || application_name FROM pg_stat_activity WHERE backend_type = 'onceq archiver'}), 'onceq_worker onceq archiver', 'it is one of ours');
worker_works('stuck');
query($node, "SELECT pg_terminate_backend($archiver)");
isnt(stuck_archiver(), $archiver, 'the next one comes when it is terminated');
worker_works('terminated');
query($node, 'SELECT pg_cancel_backend(' . stuck_archiver() . ')');
policy_is($node, 'events', 'failures > 0', 'a batch that is cancelled is a failure');
worker_works('cancelled');
is(counts($node, 'events', 'events_archive'), '110|0', 'nothing is lost, nothing is half done');

SKIP:
{
	skip 'needs a testing build', 5 unless $ENV{ONCEQ_TESTING};
	for my $action (qw(error fatal))
	{
		query($node, "ALTER SYSTEM SET onceq.fault = '$action at archive: after batch'");
		query($node, q{SELECT pg_advisory_unlock(42) WHERE false; SELECT pg_reload_conf()});
		$holder->query_safe('SELECT pg_advisory_unlock_all()');
		my $offset = -s $node->logfile;
		query($node, q{SELECT onceq.set_archive_policy('events', 'at', '1 day', 'events_archive')});
		ok($node->wait_for_log(qr/fault at "archive: after batch"/, $offset), "$action");
		worker_works($action);
	}
	is(counts($node, 'events', 'events_archive'), '110|0', 'nothing is half done');
	query($node, 'ALTER SYSTEM RESET onceq.fault');
	query($node, 'SELECT pg_reload_conf()');
}
$holder->query_safe('SELECT pg_advisory_unlock_all()');
query($node, q{SELECT onceq.set_archive_policy('events', 'at', '1 day', 'events_archive')});
policy_is($node, 'events', 'total_rows = 100 AND failures = 0', 'in the end all is archived');
is(counts($node, 'events', 'events_archive'), '10|100', '… once');

# Killed, it takes all sessions along, as every process of PostgreSQL does; then all are back.
$holder = (close_session($holder), session($node))[-1];
$holder->query_safe('SELECT pg_advisory_lock(42)');
add_events($node, 'events', 100);
kill_backend($node, stuck_archiver());
close_session($holder);
$worker = wait_for_worker($node, 'postgres', $worker);
policy_is($node, 'events', 'total_rows = 200', 'after a kill it goes on');
is(counts($node, 'events', 'events_archive'), '20|200', 'nothing twice');
worker_works('killed');

# In the way of nobody.
query($node, 'CREATE DATABASE shop');
my $setup = q{
	CREATE EXTENSION onceq;
	CREATE TABLE events (at timestamptz);
	INSERT INTO events VALUES ('2000-01-01');
	CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
	CREATE TRIGGER wait BEFORE DELETE ON events FOR EACH STATEMENT EXECUTE FUNCTION wait();
	SELECT onceq.set_archive_policy('events', 'at', '1 day')};
query($node, $setup, 'shop');

sub archives_shop
{
	return $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'onceq archiver' AND datname = 'shop' AND wait_event = 'PgSleep'});
}
archives_shop() or die 'it does not archive';
query($node, 'CREATE DATABASE copy TEMPLATE shop');
pass('a database can be copied while it archives');
archives_shop() or die 'it does not come back';
query($node, 'ALTER DATABASE shop RENAME TO store');
query($node, 'ALTER DATABASE store RENAME TO shop');
pass('renamed');
query($node, 'DROP DATABASE copy');
archives_shop() or die 'it does not come back';
query($node, 'DROP DATABASE shop');
pass('and dropped');
query($node, q{DROP TABLE events; DROP EXTENSION onceq CASCADE});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('onceq archiver', 'onceq worker')}), 'without the extension there is none');

log_is_clean($node, kills => 1, expect => qr/fault at "archive|CONTEXT:  onceq archiver/);
done_testing();
