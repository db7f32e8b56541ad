#!/bin/bash
# The tests in servers that are watched, behind `make check-valgrind`, `make check-asan` and `make coverage`.
#
#   scripts/watched.sh valgrind     every SQL test in a server below valgrind; what it says of onceq's own code fails
#   scripts/watched.sh sanitizers   SQL and isolation tests with AddressSanitizer and UndefinedBehaviorSanitizer in onceq
#   scripts/watched.sh coverage     which lines and branches of src/ the tests reach
#
# STAGES="sql isolation tap" and TESTS=… as in scripts/check.sh. The first two want the server of
# scripts/source_server.sh: valgrind for its memory contexts, and the sanitizers because Debian's does not start
# with them (gettext is called before they are ready).
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export WATCH=$1 reports
reports=$(mktemp -d /tmp/onceq-reports.XXXXXX)
chmod 777 "$reports"
trap 'rm -rf "$reports"' EXIT

# Keeps the reports; fails if onceq's code is in one, be it as a caller.
judge() {
	local kept=build/$WATCH-reports found
	rm -rf "$kept"
	grep -rh -A 20 'runtime error:' build/check/*/log/postmaster.log >"$reports/undefined" # it heeds no log_path
	find "$reports" -type f -empty -delete # each process has one, whatever it has to say
	found=$(grep -lrE 'runtime error:|onceq::|\bonceq_|onceq\.so' "$reports" | wc -l)
	cp -r "$reports" "$kept"
	echo "$WATCH: errors in $(ls "$reports" | wc -l) processes, with onceq's code in $found of them: $kept"
	[ "$found" = 0 ]
}

status=0
case $WATCH in
	valgrind | sanitizers)
		PG_CONFIG=${PG_CONFIG:-$(scripts/source_server.sh)} || exit
		# Starts and steps are slow here.
		export PG_CONFIG PGCTLTIMEOUT=600 PGISOLATIONTIMEOUT=600 PG_TEST_TIMEOUT_DEFAULT=600
		scripts/check.sh ${STAGES:-$([ "$WATCH" = valgrind ] && echo sql || echo sql isolation)} || status=1
		judge || status=1
		;;
	coverage)
		scripts/install_dependencies.sh gcovr
		export GCOV_PREFIX=$reports
		mkdir -p "$reports$PWD"/build/{unit,release,testing}-coverage # unit tests and servers have different users
		chmod -R 777 "$reports"
		scripts/check.sh ${STAGES:-unit sql isolation pgtap} || status=1
		scripts/coverage.py "$reports" || status=1
		;;
esac
exit $status
