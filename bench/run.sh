#!/bin/bash
# onceq against a hand-written SKIP LOCKED queue and other queues in throw-away servers, behind `make bench`.
# Prints a report, which is kept in build/bench/report.md, and every single run in build/bench/runs.txt.
#
#   make bench              everything, in about a quarter of an hour
#   QUICK=1 make bench      the figures that matter most, in less than one; without other queues
#
#   LONG=1 make bench       more runs, longer ones, more batches: for a machine that is left alone
#   PUBLISH=1 make bench    puts the report into doc/benchmarks.md, and the plots beside it
#
#   PAIRS=3        how often each comparison is repeated; what is compared alternates: A B A B A B
#   DURATION=0.6   seconds of one run
#   SECTIONS="…"   only these: claim backlog limit lean forms durable enqueue unique taken snapshot
#                  consumers one latency waiters held disk rebuild peers
#   PEERS="…"      only these other queues: pgq bullmq bullmq_everysec rabbitmq graphile_worker pg_boss, and pgmq
#                  if PGMQ_SQL=path says where its SQL file is
#   PATIENCE=0     seconds to wait before each repetition for others to leave the processors alone
#
# The load comes from the same machine. What others take of it is reported with each figure.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_dependencies.sh
. scripts/server.sh
. bench/peers.sh
. bench/scenarios.sh
trap 'stop_peers; cleanup' EXIT
quick=${QUICK:-}
long=${LONG:-}
pairs=${PAIRS:-$([ "$long" ] && echo 5 || echo 3)}
duration=${DURATION:-$([ "$long" ] && echo 2 || { [ "$quick" ] && echo 0.4 || echo 0.6; })}
patience=${PATIENCE:-0}
out=$PWD/build/bench
rm -rf "$out/detail" "$out/plots"
mkdir -p "$out/detail" "$out/plots"
: >"$out/runs.txt"

# ---- One run, and a comparison: runs that alternate ----

# run section=… name=value…: the rest is the driver's
run() {
	local word system=onceq
	for word; do
		[[ $word != system=* ]] || system=${word#*=}
	done
	if ! load "$system" "${@:2}" | sed "s|^|$1 |" | tee -a "$out/runs.txt" >&2; then
		is_peer "$system" || return
		skip_peer "$system" "a run failed, $1"
	fi
}

# Percent of the processors' time used within a second.
busy() {
	{ head -n 1 /proc/stat && sleep 1 && head -n 1 /proc/stat; } | awk '
		{ used = $2 + $3 + $4 + $7 + $8 + $9; all = used + $5 + $6 }
		NR == 1 { used_before = used; all_before = all }
		END { printf "%d", 100 * (used - used_before) / (all - all_before) }'
}

wait_for_quiet() {
	local end=$((SECONDS + patience))
	while [ $SECONDS -lt $end ] && [ "$(busy)" -gt 20 ]; do :; done
}

# compare "name=value… / name=value…" name=value…: what differs, and what does not
compare() {
	local pair side sides
	IFS=/ read -ra sides <<<"$1"
	for ((pair = 1; pair <= pairs; pair++)); do
		wait_for_quiet
		for side in "${sides[@]}"; do
			# shellcheck disable=SC2086 # words of their own
			run "${@:2}" $side
		done
	done
}

# ---- The sections of the report ----

both="system=onceq / system=skip_locked"
lean="system=onceq / system=skip_locked_lean"
limit="system=onceq scenario=claim_ack / system=skip_locked scenario=read_commit"
forms="system=onceq scenario=ack_and_claim / system=onceq scenario=claim_ack"
durable="system=onceq / system=onceq_durable"
unique="system=onceq_unique / system=onceq"
taken="system=onceq_taken / system=onceq"
snapshots="system=onceq snapshot=0 / system=onceq snapshot=1 / system=skip_locked snapshot=0 / system=skip_locked snapshot=1"

# Enough jobs for a run.
backlog_for() {
	case $1 in
		1) echo 20000 ;;
		10) echo 100000 ;;
		*) echo 400000 ;;
	esac
}

# All queues anew, so that nothing measures what another has left.
begin() {
	echo "-- $*" >&2
	psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<-'SQL'
		SET client_min_messages = warning;
		SELECT onceq.drop_queue('bench', if_exists => true);
		SELECT onceq.create_queue('bench');
		SELECT onceq.drop_queue('bench_durable', if_exists => true);
		SELECT onceq.create_queue('bench_durable', durable_leases => true);
		TRUNCATE bench.job, bench.lean_job;
	SQL
}

# measure SECTION SIDES BATCHES CLIENTS [name=value…]: claim and ack, unless a scenario is named
measure() {
	local batch clients
	wants "$1" || return 0
	for batch in $3; do
		begin "$1 x $batch"
		for clients in $4; do
			compare "$2" "section=$1" "batch=$batch" "clients=$clients" "seconds=$duration" \
				"backlog=$(backlog_for "$batch")" "${@:5}"
		done
	done
}

measure_floor() {
	local clients scenario
	wait_for_quiet
	for scenario in select commit; do
		for clients in 1 4 16; do
			run section=floor "scenario=$scenario" "clients=$clients" seconds=0.4
		done
	done
}

wants() { [[ " ${SECTIONS:-$1} " = *" $1 "* ]]; }

measure_backlog() { measure backlog "$both" 100 4 backlog=1000000 seconds=60; }

measure_quick() {
	measure claim "$both" "1 100" 4
	measure enqueue "$both" "1 1000" 4 scenario=enqueue backlog=0
	measure snapshot "$snapshots" 100 4
}

measure_all() {
	measure claim "$both" "1 10 100 1000" "1 4 16"
	measure_backlog
	measure limit "$limit" 1 "1 16 256" backlog=100000
	measure limit "$limit" "100 1000" "1 4"
	measure lean "$lean" "1 100" 4
	measure forms "$forms" "1 100" 4
	measure durable "$durable" "1 100" "1 4 16"
	measure enqueue "$both" 1 "1 16" scenario=enqueue backlog=0
	measure enqueue "$both" "100 1000" "1 4" scenario=enqueue backlog=0
	measure unique "$unique" 1 "1 4" scenario=enqueue backlog=0
	measure taken "$taken" 1 4 scenario=enqueue backlog=0
	measure snapshot "$snapshots" 100 4
	measure snapshot "$snapshots" 1 4 scenario=cycle backlog=0 seconds=3
	measure_scenarios
	! wants peers || measure_peers
}

# ---- Where it was measured ----

describe() {
	local settings="shared_buffers fsync synchronous_commit wal_level full_page_writes wal_compression
		max_wal_size checkpoint_timeout autovacuum max_connections"
	echo "processors: $(nproc) x $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)"
	echo "memory: $(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)"
	echo "system: $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), Linux $(uname -r)," \
		"data on $(df --output=fstype "$work" | tail -n 1)"
	echo "PostgreSQL: $(psql -XAtc 'SHOW server_version')"
	echo "onceq: $(psql -XAtc "SELECT extversion FROM pg_extension WHERE extname = 'onceq'")," \
		"$(git describe --always --dirty 2>/dev/null || echo 'not from a repository')"
	echo "settings:$(for name in $settings; do printf ' %s=%s' "$name" "$(psql -XAtc "SHOW $name")"; done)"
	echo "load: one process on the same machine, unix socket, prepared statements, a transaction each"
	describe_peers
	echo "runs: $pairs of $duration s for each figure, $(date -u +%F)"
}

stage release >"$work/build.log" 2>&1 || { cat "$work/build.log" && exit 1; }
if [ "$quick" ] || ! (wants peers || wants one || wants latency || wants waiters || wants held); then peers=; fi
install_peers
g++ -std=c++20 -O2 -Wall -Wextra -I"$("$PG_CONFIG" --includedir)" -o "$out/driver" bench/driver.cpp \
	-L"$("$PG_CONFIG" --libdir)" -lpq -pthread
server_start release fsync=on synchronous_commit=on shared_buffers=2GB max_wal_size=16GB checkpoint_timeout=30min \
	max_connections=400
psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION onceq' -f bench/skip_locked.sql
describe >"$out/machine.txt"
measure_floor
if [ "$quick" ]; then
	measure_quick
else
	measure_all
fi
python3 bench/plot.py "$out/detail" "$out/plots"
python3 bench/report.py "$out" | tee "$out/report.md"
[ ! "${PUBLISH:-}" ] || python3 bench/publish.py "$out" doc
