# Whatever step of a session meets "error", nothing is lost and nothing has its effect twice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqFaults;
use Test::More;

plan skip_all => 'needs a testing build' unless $ENV{ONCEQ_TESTING};

my $node = fault_node('faults_error');
for my $point (points_for(qw(enqueue unique claim turns ack fail cancel redrive pre-commit seize audit abort commit)))
{
	next if 'error' ne 'kill' && $point =~ /^(?:abort|commit):/;
	next if $point eq 'turns: in doubt'; # the worker's
	run_faulty_session($node, "error at $point");
	nothing_lost($node, $point);
}
done_testing();
