# The token is all the state a client needs: behind a transaction pooler each statement may arrive on a
# connection of its own. Prepared statements, binary results, cursors, pipelines and triggers that run at
# commit do what the same statements do by themselves; a pipeline that fails undoes what was not synced (Invariants 1 to 3).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

my $node = start_node('primary');
query($node, q{SELECT onceq.create_queue('mail', backoff_base => '0', lease => '10 min')});

# ---- A connection for each statement.

my @ids = split /\n/, query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(10))});
my $token = query($node, q{SELECT min(token) FROM onceq.claim('mail', 6, worker => 'pooled')});
is(query($node, "SELECT onceq.extend($token, '5 min') < clock_timestamp() + '6 min'"), 't', 'extend');
is(query($node, "SELECT onceq.ack($token, $ids[0], '1')"), 1, 'ack one');
is(query($node, "SELECT onceq.ack($token, ARRAY[$ids[1], $ids[2]])"), 2, 'ack some');
is(query($node, "SELECT onceq.nack($token, $ids[3], retry_in => '1 h') > clock_timestamp()"), 't', 'nack');
query($node, "SELECT onceq.reject($token, $ids[4], 'no')");
my ($next, $count) = split /\|/, query($node, "SELECT min(token), count(*) FROM onceq.ack_and_claim($token, 'mail', 3)");
is($count, 3, 'ack and claim');
is(query($node, 'SELECT worker, jobs FROM onceq.leases'), 'pooled|3', 'as the same worker');
query($node, "SELECT onceq.release($next, $ids[6])");
is(query($node, "SELECT onceq.ack($next)"), 2, 'ack the rest');
is(drain($node, 'mail'), "$ids[6]:1 $ids[9]:1", 'what is left is delivered');
is(query($node, q{SELECT string_agg(state, ' ' ORDER BY id) FROM onceq.jobs('mail')}),
	'succeeded succeeded succeeded scheduled dead succeeded succeeded succeeded succeeded succeeded', 'each went its way');
query($node, q{SELECT onceq.purge_queue('mail')});

# ---- What runs at commit.

query($node, q{
	CREATE TABLE test.account (id int, token bigint);
	CREATE FUNCTION test.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.token IS NULL THEN PERFORM onceq.enqueue('mail', to_jsonb(NEW.id));
		ELSE PERFORM onceq.ack(NEW.token);
		END IF;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON test.account DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION test.at_commit();
});
query($node, 'BEGIN; INSERT INTO test.account SELECT i FROM generate_series(1, 5) i; COMMIT');
$token = query($node, q{SELECT min(token) FROM onceq.claim('mail', 10)});
is(query($node, q{SELECT count(*) FROM onceq.jobs('mail', 'running')}), 5, 'a deferred trigger can enqueue');
query($node, "BEGIN; INSERT INTO test.account VALUES (0, $token); COMMIT");
is(query($node, q{SELECT count(*) FROM onceq.leases}), 0, 'and ack');
is(sqlstate_of($node, "BEGIN; INSERT INTO test.account VALUES (0, $token); COMMIT"), 'OQ001', 'a lost lease fails the commit');

# ---- Cursors.

@ids = split /\n/, query($node, q{SELECT onceq.enqueue_many('mail', test.payloads(10))});
my $session = session($node);
$session->query_safe(q{BEGIN; DECLARE c CURSOR FOR SELECT token FROM onceq.claim('mail', 4)});
$token = $session->query_safe('FETCH c');
is($session->query_safe('SELECT jobs FROM onceq.leases'), 4, 'a cursor claims once, whatever is fetched');
$session->query_safe("SELECT onceq.ack($token); COMMIT");
$session->query_safe(q{BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT token FROM onceq.claim('mail', 4); COMMIT});
$token = $session->query_safe('FETCH h');
is($session->query_safe("SELECT onceq.ack($token)"), 4, 'a cursor WITH HOLD claims at commit');
close_session($session);
is(drain($node, 'mail'), "$ids[8]:1 $ids[9]:1", 'the others are left');

# ---- The extended protocol.

my $python = '/usr/bin/python3';
SKIP:
{
	skip 'needs python3 with psycopg 3', 1 if system("$python -c 'import psycopg, sys; sys.exit(not psycopg.pq.version() >= 140000)' 2>/dev/null") != 0;
	my $script = <<'PYTHON';
import logging
import sys
import psycopg

logging.disable() # of a pipeline that ends with an error

def show(name, value):
    print(f"{name}|{value}")

def connect():
    return psycopg.connect(sys.argv[1], autocommit=True)

def one(connection, *query):
    return connection.execute(*query).fetchone()[0]

with connect() as c:
    # Prepared, text and binary.
    for binary in (False, True):
        cursor = c.cursor(binary=binary)
        for i in range(20):
            id = cursor.execute("SELECT onceq.enqueue('mail', %s::jsonb)", (f'"{i}"',), prepare=True).fetchone()[0]
            job = cursor.execute("SELECT id, token, attempt, payload FROM onceq.claim('mail', %s)", (1,), prepare=True).fetchone()
            acked = cursor.execute("SELECT onceq.ack(%s)", (job[1],), prepare=True).fetchone()[0]
            assert (job[0], job[2], job[3], acked) == (id, 1, str(i), 1), (job, id, acked)
    show("prepared", c.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement ~ 'onceq'").fetchone()[0])

    # A pipeline is one transaction up to each sync.
    with c.pipeline():
        produced = [c.execute("SELECT onceq.enqueue('mail', '0')") for _ in range(50)]
    show("enqueued", len({p.fetchone()[0] for p in produced}))
    with c.pipeline():
        claims = [c.execute("SELECT min(token), count(*) FROM onceq.claim('mail', 5)") for _ in range(10)]
    claims = [x.fetchone() for x in claims]
    show("claimed", sum(count for token, count in claims))
    show("tokens", len({token for token, count in claims}))
    with c.pipeline():
        acks = [c.execute("SELECT onceq.ack(%s)", (token,)) for token, count in claims]
    show("acked", sum(x.fetchone()[0] for x in acks))

    # All in one pipeline: what is enqueued can be claimed after the sync only.
    with c.pipeline() as p:
        c.execute("SELECT onceq.enqueue('mail', '1')")
        early = c.execute("SELECT count(*) FROM onceq.claim('mail')")
        p.sync()
        late = c.execute("SELECT min(token) FROM onceq.claim('mail')")
        p.sync()
        show("early", early.fetchone()[0])
        token = late.fetchone()[0]
        c.execute("SELECT onceq.ack(%s)", (token,))

    # A pipeline that fails undoes what came since the last sync.
    one(c, "SELECT onceq.enqueue('mail', '2')")
    try:
        with c.pipeline() as p:
            kept = c.execute("SELECT onceq.enqueue('mail', '3', priority => 9, delay => '1 h')")
            p.sync()
            lost = c.execute("SELECT onceq.enqueue('mail', '4')")
            claim = c.execute("SELECT token FROM onceq.claim('mail')")
            c.execute("SELECT onceq.ack(1)")
            c.execute("SELECT onceq.enqueue('mail', '5')")
            p.sync()
    except psycopg.Error as error:
        show("failed", error.sqlstate)
    show("left", one(c, "SELECT string_agg(payload::text || s, ' ' ORDER BY payload::text) FROM unnest('{ready,scheduled,running}'::text[]) s, onceq.jobs('mail', s)"))

    # A transaction of several statements, and its token used by another connection.
    with connect() as d:
        with c.transaction():
            one(c, "SELECT onceq.enqueue('mail', '6', priority => 9)")
            show("uncommitted", one(d, "SELECT count(*) FROM onceq.jobs('mail') WHERE priority = 9 AND state = 'ready'"))
        token = one(d, "SELECT token FROM onceq.claim('mail')")
        show("other", one(c, "SELECT onceq.ack(%s)", (token,)))
PYTHON
	my ($output, $error);
	IPC::Run::run([ $python, '-', $node->connstr('postgres') ], '<', \$script, '>', \$output, '2>', \$error);
	is($error, '', 'the client went well');
	my %got = map { split /\|/, $_, 2 } split /\n/, $output;
	my %expected = (
		prepared => 3, enqueued => 50, claimed => 50, tokens => 10, acked => 50, early => 0,
		failed => 'OQ001', uncommitted => 0, other => 1);
	is($got{$_}, $expected{$_}, "protocol: $_") for sort keys %expected;
	like($got{left}, qr/^2(ready|running) 3scheduled$/, 'protocol: a failed pipeline keeps what was synced, and nothing else');
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM test.drain('mail') WHERE payload = '2' AND attempt = 2}),
		'protocol: its claim counts, because the job was returned');
}

audit_is_empty($node, 'mail', 'in the end');
log_is_clean($node);
done_testing();
