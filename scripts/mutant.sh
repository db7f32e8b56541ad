#!/bin/bash
# Tests the tests: builds onceq with a deliberate bug in it and expects a test to fail.
#
#   scripts/mutant.sh NAME          applies test/mutants/NAME.patch, runs the tests that it names until one fails
#   EVERY=1 scripts/mutant.sh NAME  expects each of them to fail
#   HISTORY=4 scripts/mutant.sh NAME  expects rules of the history run to be broken, in one of so many seeds: that
#                                   which the header names, and those that follow
#
# Works in a copy of the tree, build/mutants/1 or 2, where objects are kept: each mutant costs the files it
# touches. That a test fails proves nothing unless it passes without the bug; so it is run once without.
set -uo pipefail

origin=$(cd "$(dirname "$0")/.." && pwd)
name=$1
patch=$origin/test/mutants/$name.patch

# ---- A copy of the tree of our own

for number in 1 2 1; do # the last time it waits
	tree=$origin/build/mutants/$number
	mkdir -p "$tree"
	exec 8>"$tree.lock"
	flock $([ "${tries:-0}" = 2 ] || echo --nonblock) 8 && break
	tries=$((${tries:-0} + 1))
done

# Times of files are kept: what the patch did not touch is older than its object.
copy_tree() {
	find "$tree" -mindepth 1 -maxdepth 1 ! -name build ! -name clean -exec rm -rf {} +
	tar -C "$origin" --exclude=./.git --exclude=./build -cf - . | tar -C "$tree" -xf -
}

copy_tree
unset WERROR MAKEFLAGS MFLAGS MAKELEVEL LANGUAGE ${!LC_@}
for variable in ${!PG@}; do
	[[ $variable = PG_* ]] || unset "$variable"
done
export LANG=C.UTF-8
. "$tree/scripts/server.sh"
. "$tree/scripts/stages.sh"
kept=$origin/build/check/mutants/$name
copy_inputs

# A test that hangs fails, and soon.
export PGISOLATIONTIMEOUT=30 PG_TEST_TIMEOUT_DEFAULT=60
test_seconds_max=300

# ---- Builds. clean/ is what was built without a patch, of the sources whose sum stands in it

sum=$(cd "$tree" && find Makefile CMakeLists.txt onceq.control src sql test expected scripts \
	-path test/mutants -prune -o -type f -print | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c 1-16)
[ "$(cat "$tree/clean/sum" 2>/dev/null)" = "$sum" ] || rm -rf "$tree/clean/passed" "$tree/clean/built"
mkdir -p "$tree/clean"/{passed,built,build}
echo "$sum" >"$tree/clean/sum"

build_for_test() { # KIND NAME
	local target
	case $1 in
		unit) target=${2}_test ;;
		explorer) target=explorer ;;
		*)
			rm -rf "$work"/testing{,.bin,.conf}
			(stage testing)
			return
			;;
	esac
	cmake -S "$top" -B "$top/build/unit" >/dev/null && cmake --build "$top/build/unit" -j"$(nproc)" --target "$target"
}

# The objects are those of the clean tree, whatever a mutant left.
use_clean_build() {
	rm -rf "$tree/build"
	cp -a "$tree/clean/build" "$tree/build"
}

build_clean() { # KIND NAME
	local key=testing
	[[ $1 != unit && $1 != explorer ]] || key=$1-$2
	build_for_test "$@" || return
	[ ! -e "$tree/clean/built/$key" ] || return 0
	rm -rf "$tree/clean/build"
	cp -a "$tree/build" "$tree/clean/build"
	touch "$tree/clean/built/$key"
}

# ---- Tests

run_test() { # KIND NAME
	case $1 in
		unit) "$top/build/unit/$2_test" ;;
		explorer) "$top/build/unit/explorer" "$2" ;;
		sql) regress sql "$pgxs/src/test/regress/pg_regress" testing contrib_regression_onceq "$inputs" "$2" ;;
		isolation) stage_isolation "$2" ;;
		tap) stage_tap "$2" ;;
		chaos) chaos "chaos_$2" --seed "$2" --seconds 10 --calm 4 --drain 40 ;;
	esac
}

# Whether the test passes; the end of what it printed is in the log.
passes() { # KIND NAME
	local pid status
	rm -rf "$work/run/$1" "$work/run/$1_$2"
	set -m
	(
		trap - EXIT
		run_test "$@"
	) >"$work/test.log" 2>&1 </dev/null &
	pid=$!
	(
		trap - EXIT
		sleep $test_seconds_max
		echo "it takes longer than $test_seconds_max s" >>"$work/test.log"
		kill -TERM -- -$pid
	) >/dev/null 2>&1 &
	wait $pid
	status=$?
	kill -TERM -- -$! 2>/dev/null
	set +m
	tail -n 60 "$work/test.log" | sed 's/^/# /; s/\(not ok\|ok\) \([0-9]\)/\1: \2/'
	return $status
}

say() { # ok|not ok TEXT
	echo "$1 1 - $name: $2"
	[ "$1" = ok ]
	exit
}

passes_clean() { # KIND NAME
	[ ! -e "$tree/clean/passed/$1-$2" ] || return 0
	copy_tree
	use_clean_build
	build_clean "$@" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log" && return 1; }
	passes "$@" || return
	touch "$tree/clean/passed/$1-$2"
}

# Of a history run, as the header of a mutant has them.
broken_rules() { # KIND
	[ "$1" != chaos ] || sed -n 's/^not ok .*: \(R[0-9]*\) .*/\1/p; s/^not ok .*: the run itself.*/the run itself/p' \
		"$work/test.log" | paste -sd , | sed 's/,/, /g; s/^/: /'
}

apply_patch() {
	copy_tree
	use_clean_build
	patch --directory="$tree" --strip=1 --forward --no-backup-if-mismatch <"$patch"
}

[ -e "$patch" ] || say "not ok" "there is no such patch"
header() { sed -n "/^--- a/q; s/^$1 *//p" "$patch"; }
mapfile -t tests < <(header 'Caught by:')
if [ "${HISTORY:-}" ]; then
	seed=$(header 'History run: seed' | grep -o '^[0-9]*')
	mapfile -t tests < <(seq -f 'chaos %g' "${seed:-1}" $((${seed:-1} + HISTORY - 1)))
fi
[ ${#tests[@]} -gt 0 ] || say "not ok" "its header names no test"
caught=()
for test in "${tests[@]}"; do
	read -r kind test_name <<<"$test"
	passes_clean "$kind" "$test_name" || say "not ok" "$test fails without the bug"
	apply_patch || say "not ok" "it no longer applies: renew it"
	build_for_test "$kind" "$test_name" >"$work/build.log" 2>&1 || {
		tail -n 30 "$work/build.log"
		say "not ok" "it does not compile"
	}
	if passes "$kind" "$test_name"; then
		[ ! "${EVERY:-}" ] || say "not ok" "$test does not notice"
	else
		caught+=("$test$(broken_rules "$kind")")
		[ "${EVERY:-}" ] || break
	fi
done
[ ${#caught[@]} -gt 0 ] || say "not ok" "it survives"
say ok "caught by $(printf '%s, ' "${caught[@]}" | sed 's/, $//')"
