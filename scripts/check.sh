#!/bin/bash
# Every test there is, behind `make check`; the last line is "N passed, N failed".
#
#   scripts/check.sh                        everything that ends the same way each time
#   scripts/check.sh sql tap                some stages, as they are listed below
#   scripts/check.sh long                   what takes hours: chaos-long mutants
#   TESTS="claim ack" scripts/check.sh sql  some tests of a stage, by file name without folder and suffix
#
# Builds come first, then two stages at a time run side by side; each TAP file is a stage of its own.
# What a stage says goes to build/check/STAGE.log, and to the screen if it fails.
set -uo pipefail
set -m # each stage gets a process group, so that all of it can be ended

cd "$(dirname "$0")/.." || exit
unset MAKEFLAGS MFLAGS MAKELEVEL LANGUAGE ${!LC_@}
for variable in ${!PG@}; do # nothing must lead a test to a server of the user's
	[[ $variable = PG_* || $variable = *TIMEOUT ]] || unset "$variable"
done
export LANG=C.UTF-8 WERROR=1 PGCTLTIMEOUT=${PGCTLTIMEOUT:-180}

scripts/install_dependencies.sh || exit
. scripts/server.sh
. scripts/stages.sh

kept=$top/build/check
[ $# -gt 0 ] || rm -rf "$kept"
mkdir -p "$work/log" "$work/count"
stages=(${*:-rules clang chaos chaos-standby isolation tap unit fuzz explorer sql pgtap chaos-checker})
[ "${stages[*]}" != long ] || stages=(chaos-long mutants)

# ---- One stage: run it, count its tests, say so ----

# Reads a log and prints "passed failed skipped"; knows TAP, ctest and the pg_regress of PostgreSQL 15.
count_tests() {
	awk '/^(not )?ok [0-9]/ && /# *TODO/ { next }
		/^ok [0-9]/ && /# *[Ss][Kk][Ii][Pp]/ || /Test .*\*\*\*(Skipped|Not Run \(Disabled)/ { skipped++; next }
		/^ok [0-9]/ || /^(test)? .* \.\.\. ok / || /^ *[0-9]+\/[0-9]+ Test .* Passed / { passed++ }
		/^not ok [0-9]/ || /^(test)? .* \.\.\. FAILED/ || /^ *[0-9]+\/[0-9]+ Test .*\*\*\*/ { failed++ }
		END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# run STAGE COMMAND…
run() {
	local stage=$1 log=$work/log/$1.log start=$SECONDS status passed failed skipped
	mkdir -p "$(dirname "$log")" "$(dirname "$work/count/$stage")"
	echo "0 1" >"$work/count/$stage" # should we be killed
	(
		set -e
		trap - EXIT
		"${@:2}"
	) >"$log" 2>&1 </dev/null
	status=$?
	read -r passed failed skipped < <(count_tests "$log")
	[ $status = 0 ] || [ "$failed" -gt 0 ] || failed=1 # it died without a count
	echo "$passed $failed" >"$work/count/$stage"
	mkdir -p "$(dirname "$kept/$stage")"
	cp "$log" "$kept/$stage.log"
	printf '%-32s %-6s %4d s' "$stage" "$([ "$failed" = 0 ] && echo ok || echo FAILED)" $((SECONDS - start))
	[ "$passed$failed" = 00 ] || printf '%8d passed' "$passed"
	[ "$failed" = 0 ] || printf '%5d failed' "$failed"
	[ "$skipped" = 0 ] || printf '%5d skipped' "$skipped"
	echo
	[ "$failed" = 0 ]
}

# queue STAGE COMMAND…: the same in the background, at most two at a time.
queue() {
	while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
		wait -n
	done
	run "$@" &
}

end_stages() {
	trap - INT TERM HUP
	local group
	for group in $(jobs -p); do
		kill -TERM -- "-$group" 2>/dev/null
	done
	wait
	exit 130
}
trap end_stages INT TERM HUP

# ---- Builds, as far as the stages need them; then the stages ----

copy_inputs
declare -A built
for stage in "${stages[@]}"; do
	for need in $(build_for "$stage"); do
		[ ! "${built[$need]:-}" ] || continue
		run "build-$need" "build_$need" &
		wait $! && built[$need]=yes || built[$need]=no
	done
done

for stage in "${stages[@]}"; do
	missing='' obstacle=$(obstacle_to "$stage") tests=$(tests_of "$stage")
	for need in $(build_for "$stage"); do
		[ "${built[$need]}" = yes ] || missing=$need
	done
	if [ "$missing" ]; then
		printf '%-32s not run: build-%s failed\n' "$stage" "$missing"
	elif [ "$obstacle" ]; then
		printf '%-32s not run: %s\n' "$stage" "$obstacle"
	elif [ -z "$tests" ]; then
		printf '%-32s none\n' "$stage"
	elif [ "$stage" = tap ]; then
		for test in $tests; do
			queue "tap/$test" stage_tap "$test"
		done
	else
		queue "$stage" "stage_$stage" $tests
	fi
done
wait

# ---- What failed, and the sum ----

passed=0 failed=0
while read -r file; do
	read -r stage_passed stage_failed <"$file"
	passed=$((passed + stage_passed)) failed=$((failed + stage_failed))
	[ "$stage_failed" = 0 ] && continue
	stage=${file#"$work/count/"}
	printf '\n==== %s: the end of build/check/%s.log ====\n' "$stage" "$stage"
	tail -n 200 "$work/log/$stage.log"
done < <(find "$work/count" -type f | sort)

# ---- What was covered

covered() {
	sed -n 's/^# \(.* jobs with checked fate in .*\);.*/\1:/p; s/^# covered: //p' "$work/log/$1.log" | tail -n 2
}

echo
for stage in chaos chaos-standby chaos-long; do
	[ ! -e "$work/log/$stage.log" ] || echo "$stage: $(covered "$stage" | paste -sd ' ')"
done
[ ! -e "$work/log/isolation.log" ] ||
	echo "isolation: $(cat "$top"/test/isolation/specs/*.spec | grep -c '^permutation') permutations"
for stage in mutants mutants-chaos; do
	[ ! -e "$work/log/$stage.log" ] || echo "$stage: $(grep -c '^ok' "$work/log/$stage.log") caught"
done

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
