# Leases that cannot be taken away, because a disk is full for example, are tried again about once a second, no
# more: each attempt that fails is a line in the log, and wakes the worker. They are taken away as soon as may be.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use OnceqNode;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $leases = 5;
my $node = start_node('primary', 'onceq.worker_naptime' => "'50ms'");
query($node, q{SELECT onceq.create_queue('q', lease => '10 min', backoff_base => '0')});
query($node, q{SELECT onceq.enqueue('q', '{}') FROM generate_series(1, 5)});

sub set_fault
{
	my ($fault) = @_;
	query($node, "ALTER SYSTEM SET onceq.fault = '$fault'");
	query($node, 'SELECT pg_reload_conf()');
	return;
}

sub failures
{
	my $log = slurp_file($node->logfile);
	return scalar(() = $log =~ /onceq worker .* taking a lease away failed/g);
}

my $begin = time;
set_fault('error at expire: after insert');
query($node, q{BEGIN; SELECT * FROM onceq.claim('q'); ROLLBACK}) for 1 .. $leases;
my $deadline = $begin + $PostgreSQL::Test::Utils::timeout_default;
select(undef, undef, undef, 0.1) until failures() > 3 * $leases || time > $deadline;
my $failures = failures();
cmp_ok($failures, '>', 3 * $leases, 'the worker tries again');
cmp_ok($failures, '<=', $leases * (time - $begin + 2), 'but not without a pause');
set_fault('');
delivers($node, 'q', [ map { "$_:2" } 1 .. $leases ], 'without the fault the attempts are counted, and the jobs delivered');
audit_is_empty($node, 'q', 'in the end');
log_is_clean($node, expect => qr/taking a lease away failed|chore "expire leases"/);
done_testing();
