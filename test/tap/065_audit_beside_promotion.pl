# A delayed job that is due, but which nobody has made ready yet, is no difference between board and
# tables: promotion is under way, or was interrupted and will be repeated. (Invariant 5: the audit is
# empty; invariant 12.) Here it fails again and again, by a fault point, while the queue is audited.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqNode;
use Test::More;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = start_node('audit', 'onceq.fault' => "'error at due: before promote'", 'onceq.worker_naptime' => "'50ms'");
query($node, q{SELECT onceq.create_queue('q')});
query($node, q{SELECT onceq.enqueue('q', to_jsonb(i), delay => '100 ms') FROM generate_series(1, 20) i});
my $logged = qr/promoting due jobs of queue 1 failed: fault at "due: before promote"/;
$node->wait_for_log($logged);

is(query($node, q{SELECT scheduled || ' ' || ready FROM onceq.queue_stats}), '20 0', 'jobs are due, and still scheduled');
audit_is_empty($node, 'q', 'promotion has failed');
is(query($node, q{SELECT scheduled || ' ' || ready FROM onceq.queue_stats}), '20 0', 'the audit has left them alone');

$node->adjust_conf('postgresql.conf', 'onceq.fault', "''");
$node->reload;
delivers($node, 'q', [ map { "$_:1" } 1 .. 20 ], 'all are delivered once promotion works');
log_is_clean($node, expect => qr/fault at "due: before promote"|CONTEXT:/);
done_testing();
