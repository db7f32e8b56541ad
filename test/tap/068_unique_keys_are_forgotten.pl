# The keys of finished jobs are forgotten, but not while their time lasts, nor of dead jobs; and none that somebody
# is about to use. Who forgets them holds up a producer of such a key only until its own transaction ends, which it
# does at once: in a transaction that may stay open it forgets nothing. What it does may fail at any time.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

# The worker leaves the keys to the test.
my $node = start_node('primary', 'onceq.worker_passive' => 'on');
my ($producer, $admin, $gate) = map { session($node) } 1 .. 3;
my $keys_query = q{SELECT string_agg(key, ' ' ORDER BY key) FROM onceq.unique_key};
query($node, q{
	SELECT onceq.create_queue('q');
	CREATE FUNCTION test.enqueue(k text, span interval DEFAULT NULL, delay interval DEFAULT '0') RETURNS bool LANGUAGE sql AS $$
		SELECT onceq.enqueue('q', to_jsonb(k), unique_key => k, unique_for => span, delay => delay) IS NOT NULL $$;
});

# A finished job of key "old", as the only one.
sub start_anew
{
	query($node, q{SELECT onceq.purge_queue('q')});
	query($node, 'CALL onceq.maintain()');
	query($node, q{SELECT test.enqueue('old')});
	query($node, q{SELECT onceq.ack(token) FROM onceq.claim('q')});
	return;
}

sub someone_waits
{
	my ($kind, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = '$kind' AND NOT granted"), $what);
}

# ---- what is forgotten

start_anew();
query($node, q{SELECT test.enqueue('dead')});
query($node, q{SELECT onceq.reject(token, id) FROM onceq.claim('q')});
query($node, q{SELECT test.enqueue('runs')});
query($node, q{SELECT id FROM onceq.claim('q', lease => '1 h')});
query($node, q{SELECT test.enqueue('many' || i) FROM generate_series(1, 20000) i});
query($node, q{SELECT test.enqueue('window', span => '1 day')});
query($node, q{SELECT onceq.purge_queue('q')});
query($node, q{SELECT test.enqueue('waits', delay => '1 h')});
my $before = query($node, 'SELECT count(*) FROM onceq.unique_key');
$node->poll_query_until('postgres', 'CALL onceq.maintain(); SELECT count(*) < 10 FROM onceq.unique_key', "CALL\nt")
  or die 'keys stay';
cmp_ok($before, '>', 20000, 'there were many keys');
is(query($node, $keys_query), 'dead runs waits window', 'left are those of unfinished and dead jobs, and those whose time lasts');
$node->safe_psql('postgres', $_) for q{SELECT onceq.drop_queue('q')}, q{SELECT onceq.create_queue('q')};
$node->poll_query_until('postgres', 'CALL onceq.maintain(); SELECT count(*) = 0 FROM onceq.unique_key', "CALL\nt") or die 'keys of a dropped queue stay';

# ---- a key that somebody is about to use

start_anew();
$gate->query_safe('SELECT pg_advisory_lock(28529)');
$producer->query_safe(q{SET onceq.fault = 'pause at unique: after lock'});
start_query($producer, q{SELECT test.enqueue('old')});
someone_waits('advisory', 'a producer has the key');
query($node, 'CALL onceq.maintain()');
is(query($node, $keys_query), 'old', 'it is kept');
$gate->query_safe('SELECT pg_advisory_unlock(28529)');
is((end_query($producer))[0], 't', 'and used');
$producer->query_safe('RESET onceq.fault');

for my $end ('COMMIT', 'ROLLBACK')
{
	start_anew();
	$producer->query_safe(q{BEGIN; SELECT test.enqueue('old')});
	query($node, 'CALL onceq.maintain()');
	is(query($node, $keys_query), 'old', 'a key whose row was changed is kept');
	$producer->query_safe($end);
	query($node, 'CALL onceq.maintain()');
	is(query($node, $keys_query), $end eq 'COMMIT' ? 'old' : '', "and after $end is what it is");
}

# ---- who forgets, and who waits for it

start_anew();
$admin->query_safe('BEGIN; CALL onceq.maintain()');
is(query($node, q{SELECT test.enqueue('old')}), 't', 'nobody waits for a transaction that may stay open');
$admin->query_safe('ROLLBACK');

for my $end ('done', 'cancelled')
{
	start_anew();
	my $pid = pid_of($admin);
	$gate->query_safe('SELECT pg_advisory_lock(28529)');
	$admin->query_safe(q{SET onceq.fault = 'pause at keys: after sweep'});
	start_query($admin, 'CALL onceq.maintain()');
	someone_waits('advisory', 'keys are removed');
	start_query($producer, q{SELECT test.enqueue('old')});
	someone_waits('transactionid', 'a producer of one waits');
	query($node, "SELECT pg_cancel_backend($pid)") if $end eq 'cancelled';
	$gate->query_safe('SELECT pg_advisory_unlock(28529)') if $end eq 'done';
	is((end_query($producer))[0], 't', "$end: the producer goes on");
	is((end_query($admin))[1], $end eq 'done' ? '' : '57014', "$end: so does who forgets");
	$gate->query_safe('SELECT pg_advisory_unlock(28529)') if $end eq 'cancelled';
	$admin->query_safe('RESET onceq.fault');
	is(query($node, $keys_query), 'old', "$end: the key is there");
	is(query($node, q{SELECT test.enqueue('old')}), 'f', "$end: and taken");
}
close_session($_) for $producer, $admin, $gate;
audit_is_empty($node, 'q', 'at the end');
log_is_clean($node);
done_testing();
