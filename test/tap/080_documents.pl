# What README.md and doc/guide/ show is what happens: each of their sql and python blocks is run, in order,
# by one psql for each document in a database of its own. A text block after it is what psql printed; in it
# "…" stands for anything within a line. Without one the block must raise no error.
use strict;
use warnings;
use IPC::Run;
use OnceqNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $end = 'end of block';
my $psycopg = system('/usr/bin/python3 -c "import psycopg" 2>/dev/null') == 0;

# The blocks of a document: {language, text, expected, line}.
sub blocks_of
{
	my ($file) = @_;
	my (@blocks, $block);
	my $number = 0;
	for my $line (split /\n/, slurp_file($file))
	{
		$number++;
		if (!$block && $line =~ /^```(\w*)/)
		{
			$block = { language => $1, text => '', line => $number };
		}
		elsif ($block && $line =~ /^```$/)
		{
			push @blocks, $block;
			undef $block;
		}
		elsif ($block)
		{
			$block->{text} .= "$line\n";
		}
	}
	die "$file: a block does not end" if $block;
	my @run;
	for my $each (@blocks)
	{
		push @run, $each if $each->{language} =~ /^(?:sql|python)$/;
		$run[-1]{expected} = $each->{text} if $each->{language} eq 'text' && @run;
	}
	return @run;
}

# What psql is given: the block, and a line that says that it is over.
sub statements_of
{
	my ($block, $folder) = @_;
	my $text = $block->{text};
	if ($block->{language} eq 'python')
	{
		my $program = "$folder/line_$block->{line}.py";
		append_to_file($program, $text);
		$text = "\\! /usr/bin/python3 $program 2>&1\n";
	}
	return "$text\\echo $end\n";
}

# A regular expression for the output shown.
sub pattern_of
{
	my ($expected) = @_;
	my @lines = map { s/\s+$//r } split /\n/, $expected;
	my $pattern = join '\n', map { join '.*', map { quotemeta } split /…/, $_, -1 } @lines;
	return qr/\A$pattern\s*\z/;
}

sub test_document
{
	my ($node, $file, $name, $number) = @_;
	my @blocks = grep { $_->{language} ne 'python' || $psycopg } blocks_of($file);
	my $database = "document_$number";
	my $folder = PostgreSQL::Test::Utils::tempdir();
	query($node, "CREATE DATABASE $database");
	query($node, 'CREATE EXTENSION onceq', $database) unless grep { $_->{text} =~ /^CREATE EXTENSION/m } @blocks;
	my $input = join '', map { statements_of($_, $folder) } @blocks;
	my $output;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $database, PYTHONUNBUFFERED => 1);
	IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=0' ], '<', \$input, '>', \$output, '2>&1');
	my @outputs = split /^$end\n/m, $output;
	for my $block (@blocks)
	{
		my $got = shift(@outputs) // 'nothing: psql ended before';
		$got =~ s/[ \t]+$//mg;
		my $what = "$name: the $block->{language} block of line $block->{line}";
		my $pattern = defined $block->{expected} ? pattern_of($block->{expected}) : qr/\A(?!.*^(?:ERROR|FATAL|Traceback))/ms;
		ok($got =~ $pattern, $what) or diag("got:\n$got\nexpected:\n" . ($block->{expected} // 'no error'));
	}
	return;
}

local $ENV{TEMP_CONFIG} = $ENV{ONCEQ_RELEASE_CONF};
my $node = start_node('documents');
my @documents = ('README.md', map { s/^\Q$ENV{ONCEQ_SOURCE}\E\///r } sort glob "$ENV{ONCEQ_SOURCE}/doc/guide/*.md");
my $number = 0;
test_document($node, "$ENV{ONCEQ_SOURCE}/$_", $_, ++$number) for @documents;
cmp_ok(scalar(@documents), '>', 1, 'there are documents');
log_is_clean($node);
done_testing();
