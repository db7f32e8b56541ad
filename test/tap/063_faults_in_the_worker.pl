# Whatever step of the worker fails, nothing is lost, and it recovers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqFaults;
use Test::More;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = fault_node('faults_worker');
for my $point (points_for(qw(expire due keys turns spread journal fail pre-commit)))
{
	next if $point eq 'turns: after begin'; # a claim's
	for my $action (qw(error fatal kill))
	{
		run_faulty_worker($node, "$action at $point");
		nothing_lost($node, "$action at $point");
	}
}
done_testing();
