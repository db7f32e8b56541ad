# The stages of scripts/check.sh, which sources this file. A stage prints its tests as TAP, pg_regress
# or ctest do; it fails by its exit code. build/check/STAGE/ keeps what is worth looking at afterwards.
# shellcheck shell=bash

pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
inputs=$work/inputs # a copy of what tests read: the checkout may be out of reach for user postgres

core=$top/build/unit${WATCH:+-$WATCH}

copy_inputs() {
	local folder
	mkdir "$inputs"
	for folder in sql expected test bench doc examples README.md; do
		[ ! -e "$top/$folder" ] || cp -r "$top/$folder" "$inputs/"
	done
	chmod -R a+rX "$inputs"
}

# ---- Builds ----

build_for() {
	case $1 in
		rules | sql | pgtap) echo release ;;
		isolation | chaos | chaos-standby | chaos-long | sqlsmith) echo testing ;;
		tap) echo testing release ;; # some want a server without pause points
		unit | explorer) echo core ;;
		fuzz) echo fuzzers ;;
	esac
}

build_release() { stage release; }

build_testing() { stage testing; }

build_core() {
	mkdir -p "$top/build"
	local sanitizer=address
	[ "${WATCH:-}" != coverage ] || sanitizer=coverage
	flock "$core.lock" cmake -S "$top" -B "$core" -D ONCEQ_SANITIZER=$sanitizer
	flock "$core.lock" cmake --build "$core" -j"$(nproc)"
}

build_fuzzers() {
	[ -z "$(obstacle_to fuzz)" ] || return 0
	mkdir -p "$top/build"
	flock "$top/build/fuzz.lock" cmake -S "$top" -B "$top/build/fuzz" -D CMAKE_CXX_COMPILER=clang++
	flock "$top/build/fuzz.lock" cmake --build "$top/build/fuzz" --target fuzzers -j"$(nproc)"
}

# ---- Why a stage cannot run here; on Debian 12 nothing is in the way of any ----

obstacle_to() {
	case $1 in
		sqlsmith) command -v sqlsmith >/dev/null || echo "no sqlsmith" ;;
		clang) command -v clang++ >/dev/null || echo "no clang++" ;;
		fuzz) [ -e "$(clang++ -print-file-name="libclang_rt.fuzzer-$(uname -m).a" 2>/dev/null)" ] || echo "no libFuzzer" ;;
		pgtap) [ -e "$("$PG_CONFIG" --sharedir)/extension/pgtap.control" ] || echo "no pgTAP" ;;
		tap) [ -d "$pgxs/src/test/perl/PostgreSQL" ] || echo "no PostgreSQL::Test" ;;
	esac
}

# ---- Which tests a stage has: those asked for by $TESTS, or all ----

tests_of() {
	case $1 in
		sql) names sql .sql ;;
		pgtap) names test/pgtap .sql ;;
		isolation) names test/isolation/specs .spec ;;
		tap) names test/tap .pl ;;
		unit) names test/unit _test.cpp ;;
		explorer) names test/explorer .cpp ;;
		fuzz) names test/fuzz _fuzz.cpp ;;
		mutants) names test/mutants .patch ;;
		mutants-chaos) echo "${TESTS:-$(grep -L '^History run: not' "$top"/test/mutants/*.patch | xargs basename -s .patch)}" ;;
		*) echo "$1" ;;
	esac
}

names() {
	local file
	if [ "${TESTS:-}" ]; then
		echo "$TESTS"
		return
	fi
	for file in "$top/$1"/*"$2"; do
		[ ! -e "$file" ] || basename "$file" "$2"
	done
}

# ---- Without a server ----

stage_rules() {
	local rule number=0 failed=0
	exec 9<"$top/build/release.lock"
	flock --shared 9
	for rule in "$top"/scripts/check_*.{sh,py}; do
		number=$((number + 1))
		if "$rule"; then
			echo "ok $number - $(basename "$rule")"
		else
			echo "not ok $number - $(basename "$rule")"
			failed=1
		fi
	done
	return $failed
}

stage_clang() { build clang; }

stage_unit() {
	flock --shared "$core.lock" ctest --test-dir "$core" --label-regex unit \
		--tests-regex "^($(IFS='|' && echo "$*"))_test" --no-tests=error --output-on-failure --parallel 2
}

stage_explorer() {
	flock --shared "$core.lock" ctest --test-dir "$core" --label-regex explorer \
		--no-tests=error --verbose
}

# $FUZZ: so many seconds for each, going on from what former runs reached; without it a few hundred inputs that
# are the same each time. An input that fails is kept.
stage_fuzz() {
	local fuzzer folder options number=0 status=0
	for fuzzer in "$@"; do
		number=$((number + 1))
		folder=$top/build/fuzz/corpus/$fuzzer options=(-max_total_time="${FUZZ:-}")
		[ "${FUZZ:-}" ] || folder=$work/fuzz/$fuzzer options=(-seed=1 -runs=500)
		mkdir -p "$folder"
		if flock --shared "$top/build/fuzz.lock" "$top/build/fuzz/${fuzzer}_fuzz" "${options[@]}" -max_len=2000 \
			-timeout=300 -print_final_stats=1 -artifact_prefix="$top/build/fuzz/$fuzzer-" "$folder" "$top/test/fuzz/seeds/$fuzzer"; then
			echo "ok $number - $fuzzer"
		else
			echo "not ok $number - $fuzzer: its input is build/fuzz/$fuzzer-*"
			status=1
		fi
	done
	return $status
}

# ---- With a server ----

# regress STAGE PROGRAM KIND DATABASE INPUT TEST…: sql and isolation are both pg_regress.
regress() {
	local output=$work/run/$1 status=0
	as_server mkdir "$output"
	as_server "$2" --temp-instance="$output/instance" --temp-config="$work/$3.conf" --bindir="$work/$3.bin" \
		--inputdir="$5" --outputdir="$output" --dbname="$4" --load-extension=onceq "${@:6}" || status=$?
	[ $status = 0 ] || tail -n 50 "$output/log/postmaster.log"
	[ $status = 0 ] || cat "$output/regression.diffs" || true
	keep "$1" "$output"/{results,regression.diffs,log}
	return $status
}

stage_sql() {
	regress sql "$pgxs/src/test/regress/pg_regress" release contrib_regression_onceq "$inputs" "$@"
}

stage_isolation() {
	regress isolation "$pgxs/src/test/isolation/pg_isolation_regress" testing \
		isolation_regression_onceq "$inputs/test/isolation" --temp-config="$inputs/test/isolation/onceq.conf" "$@"
}

# Every file gets a database of its own, so that it may commit.
stage_pgtap() {
	local test status=0
	server_start release
	for test in "$@"; do
		psql -qX -v ON_ERROR_STOP=1 -c "CREATE DATABASE \"$test\""
		psql -qX -v ON_ERROR_STOP=1 -d "$test" -c "CREATE EXTENSION pgtap" -c "CREATE EXTENSION onceq"
		pg_prove --verbose --dbname "$test" "$inputs/test/pgtap/$test.sql" || status=1
	done
	[ $status = 0 ] || tail -n 50 "$server/log"
	keep pgtap "$server/log"
	server_stop
	return $status
}

stage_tap() {
	local output=$work/run/tap_$1 status=0
	as_server mkdir "$output"
	as_server env PATH="$work/testing.bin:$PATH" PG_REGRESS="$pgxs/src/test/regress/pg_regress" \
		TESTDIR="$output" TESTDATADIR="$output/data" TESTLOGDIR="$output/log" \
		PG_TEST_PORT_DIR="$work/run/ports" PG_TEST_TIMEOUT_DEFAULT="${PG_TEST_TIMEOUT_DEFAULT:-180}" \
		TEMP_CONFIG="$work/testing.conf" ONCEQ_TESTING=1 ONCEQ_SOURCE="$inputs" \
		ONCEQ_RELEASE_CONF="$work/release.conf" ONCEQ_TESTING_CONF="$work/testing.conf" \
		prove --verbose -I "$pgxs/src/test/perl" -I "$inputs/test/tap" "$inputs/test/tap/$1.pl" || status=$?
	[ $status = 0 ] || tell_why "$output"/{log,tmp_check/log}
	keep "tap/$1" "$output"/{log,tmp_check/log} # PostgreSQL 16 and later, earlier
	return $status
}

# tell_why FOLDER…: from the logs of a TAP test that failed, the reason last: what its servers complained of, then the
# test's own words without those of initdb. Of each only so much that the end of the stage's log shows it all.
tell_why() {
	local log words
	while read -r log; do
		echo "---- ${log##*/}"
		grep -E ' (WARNING|ERROR|FATAL|PANIC): |TRAP:|terminated by signal' "$log" | tail -n 12 | cut -c 1-500 || true
	done < <(find "$@" -name '*.log' 2>/dev/null | sort)
	log=$(find "$@" -name 'regress_log_*' 2>/dev/null || true)
	words=$(sed '/^# Running: initdb/,/^# Running: .*--config-auth/d' "$log" | cut -c 1-500)
	echo "---- ${log##*/}: failures, then its end"
	grep -A 9 -E 'not ok |error running SQL|timed out' <<<"$words" | head -n 40 || true
	echo ----
	tail -n 40 <<<"$words"
}

# $SQLSMITH queries nobody would write. Whatever they answer, no server process may crash, and no error may be an
# internal one of ours.
stage_sqlsmith() {
	local wrong
	server_start testing log_error_verbosity=verbose track_functions=all
	psql -qX -v ON_ERROR_STOP=1 -f "$inputs/test/sqlsmith/setup.sql" >/dev/null
	sqlsmith --target="host=$PGHOST port=$PGPORT user=smith dbname=$PGDATABASE" --seed="${SEED:-1}" \
		--max-queries="${SQLSMITH:-2000}" --exclude-catalog --verbose 2>&1 | tail -n 30 || true
	psql -qXAt -c "SELECT calls, funcname FROM pg_stat_user_functions WHERE schemaname = 'onceq' ORDER BY 2"
	server_stop
	keep sqlsmith "$server/log"
	wrong=$(awk '/PANIC:|TRAP:|was terminated by signal/ { wrong++; print > "/dev/stderr" }
		/(ERROR|FATAL): / { internal = / XX000: / ? $0 : "" }
		/LOCATION: .*\.cpp:/ && internal { wrong++; print internal "\n" $0 > "/dev/stderr" }
		END { print wrong + 0 }' "$server/log")
	[ "$wrong" = 0 ] && echo "ok 1 - $(grep -c 'ERROR: ' "$server/log") errors, none of them internal"
}

stage_chaos-checker() {
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$inputs/test/chaos/checker_test.py"
}

# with_small_disks FOLDER COMMAND…: as user postgres, who sees two small file systems, FOLDER/data and FOLDER/wal;
# they go with the command.
with_small_disks() {
	export -f as_server
	export work
	unshare --mount bash -c '
		user=$(as_server id -u)
		for disk in data wal; do
			mount -t tmpfs -o "size=${DISK_SIZE:-512m},mode=700,uid=$user" tmpfs "$1/$disk" || exit
		done
		as_server "${@:2}" --disks "$1"' - "$@"
}

# chaos STAGE OPTION…: $CHAOS may have more options of test/chaos/run.py, which win.
chaos() {
	local output=$work/run/$1 status=0 program
	as_server mkdir -p "$output"/disks/{data,wal}
	program=(env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$inputs/test/chaos/run.py" --bin "$work/testing.bin"
		--conf "$work/testing.conf" --folder "$output" "${@:2}" ${CHAOS:-})
	if unshare --mount mount -t tmpfs tmpfs "$output/disks/data" 2>/dev/null; then
		with_small_disks "$output/disks" "${program[@]}" || status=$?
	else
		as_server "${program[@]}" || status=$?
	fi
	[ $status = 0 ] || keep "$1" "$output"/seed-*
	return $status
}

# Deliberate bugs, each of which a test has to notice.
stage_mutants() {
	local mutant status=0
	for mutant in "$@"; do
		"$top/scripts/mutant.sh" "$mutant" || status=1
	done
	return $status
}

# The same, which the history run has to notice, in one of $HISTORY seeds.
stage_mutants-chaos() { HISTORY=${HISTORY:-4} stage_mutants "$@"; }

stage_chaos() { chaos chaos --seeds 12 --seconds 10 --calm 4; }

stage_chaos-standby() { chaos chaos-standby --seeds 2 --standby by-turns --seconds 10; }

stage_chaos-long() { DISK_SIZE=4g chaos chaos-long --seeds 40 --long --seconds 150 --calm 20; }

# keep STAGE FILE…: for a look after the run, when $work is gone.
keep() {
	rm -rf "${kept:?}/$1"
	mkdir -p "$kept/$1"
	cp -r "${@:2}" "$kept/$1/" 2>/dev/null || true
}
