# The SQL objects of the extension and the library in the server's memory are of one version, or every queue
# refuses with 55000 and a hint, in sessions that are open already too, and the worker leaves jobs alone
# (Invariant 10). As soon as they fit again, all that was there is there.
use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Utils;
use Test::More;
use OnceqNode;

# A copy of what is installed, which may be given other versions of the extension.
my $conf = slurp_file($ENV{ONCEQ_TESTING_CONF});
my ($stage) = $conf =~ /^(?:extension_destdir|dynamic_library_path) = '([^':]*?)(?:\/usr[^':]*)?[':]/m
  or plan skip_all => 'this server finds extensions in one place only';
my $copy = PostgreSQL::Test::Utils::tempdir . '/stage';
system_or_bail('cp', '-r', $stage, $copy);
my ($control) = map { chomp; $_ } `find $copy -name onceq.control`;
my $folder = dirname($control);
my ($version) = slurp_file($control) =~ /default_version = '(.*?)'/;

sub add_file
{
	my ($name, $text) = @_;
	return PostgreSQL::Test::Utils::append_to_file("$folder/$name", $text);
}
add_file("onceq--$version--9.9.9.sql", "CREATE FUNCTION onceq.new_function() RETURNS int LANGUAGE sql RETURN 1;\n");
add_file("onceq--9.9.9--$version.sql", "DROP FUNCTION onceq.new_function();\n");
add_file('onceq--0.0.1.sql', slurp_file("$folder/onceq--$version.sql"));
add_file("onceq--0.0.1--$version.sql", "SELECT 1;\n");

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init;
$conf =~ s/\Q$stage\E/$copy/g;
$node->append_conf('postgresql.conf', $conf);
$node->append_conf('postgresql.conf', "log_line_prefix = '%m [%p] %b %e '");
$node->start;
query($node, 'CREATE EXTENSION onceq');
add_helpers($node, 'postgres');
query($node, q{SELECT onceq.create_queue('q', backoff_base => '0')});

my @calls = (
	q{onceq.enqueue('q', '1')}, q{* FROM onceq.claim('q')}, q{onceq.job('q', 1)}, q{onceq.create_queue('other')},
	q{onceq.pause_queue('q')}, q{onceq.adopt()}, q{* FROM onceq.audit('q')});

# A new version of the extension; the library is the one that the server was started with.
query($node, q{SELECT onceq.enqueue('q', '"first"')});
my $open = session($node);
is($open->query_safe(q{SELECT count(*) FROM onceq.claim('q', lease => '5 s')}), 1, 'an open session uses the queue');
my ($token) = query($node, q{SELECT onceq.enqueue('q', '"second"')});
query($node, q{ALTER EXTENSION onceq UPDATE TO '9.9.9'});
is(sqlstate_of($node, "SELECT $_"), '55000', "new SQL, old library: $_ is refused") for @calls;
is(error_of($open, q{SELECT onceq.enqueue('q', '"third"')}), '55000', 'in a session that is open, too');
my (undef, undef, $message) = $node->psql('postgres', q{SELECT onceq.enqueue('q', '1')});
like($message, qr/is 9\.9\.9; the server has loaded \Q$version\E.*HINT:.*restart the server/s, 'and it is said why');

# The lease runs out; neither the worker nor anybody else does something to jobs of another version.
query($node, 'SELECT pg_sleep(5)');
my $rounds = query($node, 'SELECT coalesce(sum(runs), 0) FROM onceq.worker_chores');
ok($node->poll_query_until('postgres', "SELECT sum(runs) > $rounds + 20 FROM onceq.worker_chores"), 'the worker lives');
is(query($node, 'SELECT count(*) FROM onceq_data.o1_0000'), 0, 'and writes nothing');

# A change that is rolled back changes nothing.
is( query($node, "BEGIN; ALTER EXTENSION onceq UPDATE TO '$version'; SELECT onceq.enqueue('q', '1') > 0; ROLLBACK"), 't',
	'the transaction that updates sees the version it made');
is(sqlstate_of($node, q{SELECT onceq.enqueue('q', '1')}), '55000', 'its rollback is one');

query($node, "ALTER EXTENSION onceq UPDATE TO '$version'");
is($open->query_safe(q{SELECT onceq.enqueue('q', '"third"') > 0}), 't', 'versions fit again');
close_session($open);
delivers($node, 'q', [ '1:2', '2:1', '4:1' ], 'all jobs are there, and the lost attempt is counted');

# An old version of the extension, a new library: a server that was restarted before ALTER EXTENSION.
query($node, q{DROP EXTENSION onceq CASCADE});
query($node, q{CREATE EXTENSION onceq VERSION '0.0.1'});
is(sqlstate_of($node, "SELECT $_"), '55000', "old SQL, new library: $_ is refused") for @calls;
query($node, 'ALTER EXTENSION onceq UPDATE');
query($node, q{SELECT onceq.create_queue('q'), onceq.enqueue('q', '1')});
delivers($node, 'q', ['1:1'], 'after the update it works');
log_is_clean($node);
done_testing();
