# Whatever step of a session meets "kill", nothing is lost and nothing has its effect twice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use OnceqFaults;

test_every_step('kill');
