# A psql that cannot connect, because the server has just been killed, ends without reading its input. When that is
# before the input was written, which happens on a crowded machine, IPC::Run::run() would end the whole test; here it
# goes on, and psql's messages and exit code tell what happened, as they do when it is a moment slower.
package OnceqInput;

use strict;
use warnings;
no warnings 'redefine';
use IPC::Run;

my $write = \&IPC::Run::_write;

*IPC::Run::_write = sub {
	my ($pipe, $input) = @_;
	my $written = eval { $write->($pipe, $input) };
	return $written if defined $written;
	die $@ unless $IPC::Run::in_run && $!{EPIPE};
	return length $input;
};

1;
