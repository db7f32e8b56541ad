#!/bin/bash
# onceq against a hand-written SKIP LOCKED queue in a throw-away server, behind `make bench`. Prints a
# report, which is kept in build/bench/report.md, and every single run in build/bench/runs.txt.
#
#   make bench              everything, in less than five minutes
#   QUICK=1 make bench      the figures that matter most, in less than one
#
#   PAIRS=3        how often each comparison is repeated; what is compared alternates: A B A B A B
#   DURATION=0.7   seconds of one run
#   PATIENCE=0     seconds to wait before each repetition for others to leave the processors alone
#
# The load comes from the same machine. What others take of it is reported with each figure.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_dependencies.sh
. scripts/server.sh
pairs=${PAIRS:-3}
quick=${QUICK:-}
duration=${DURATION:-$([ "$quick" ] && echo 0.4 || echo 0.7)}
patience=${PATIENCE:-0}
out=$top/build/bench
mkdir -p "$out"
: >"$out/runs.txt"

# ---- One run, and a comparison: runs that alternate ----

# run section=… name=value…: as the driver takes them
run() {
	local section=$1
	"$out/driver" "${@:2}" | sed "s/^/$section /" | tee -a "$out/runs.txt" >&2
}

# Percent of the processors' time used within half a second.
busy() {
	{ head -n 1 /proc/stat && sleep 0.5 && head -n 1 /proc/stat; } | awk '
		{ used = $2 + $3 + $4 + $7 + $8 + $9; all = used + $5 + $6 }
		NR == 1 { used_before = used; all_before = all }
		END { printf "%d", 100 * (used - used_before) / (all - all_before) }'
}

wait_for_quiet() {
	local end=$((SECONDS + patience))
	while [ $SECONDS -lt $end ] && [ "$(busy)" -gt 20 ]; do :; done
}

# compare "SYSTEM…" name=value…
compare() {
	local pair system
	for ((pair = 1; pair <= pairs; pair++)); do
		wait_for_quiet
		for system in $1; do
			run "${@:2}" "system=$system" "seconds=$duration"
		done
	done
}

compare_with_snapshot() {
	local pair system snapshot
	for ((pair = 1; pair <= pairs; pair++)); do
		wait_for_quiet
		for system in onceq skip_locked; do
			for snapshot in 0 1; do
				run "$@" "system=$system" "snapshot=$snapshot"
			done
		done
	done
}

# Enough jobs for a run, in both queues.
backlog_for() {
	case $1 in
		1) echo 30000 ;;
		10) echo 150000 ;;
		*) echo 400000 ;;
	esac
}

# Both queues anew, so that no section measures what another has left.
begin() {
	echo "-- $1" >&2
	psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<-'SQL'
		SET client_min_messages = warning;
		SELECT onceq.drop_queue('bench', if_exists => true);
		SELECT onceq.create_queue('bench');
		TRUNCATE bench.job, bench.lean_job;
	SQL
}

# ---- The sections of the report ----

measure_floor() {
	local clients scenario
	for scenario in select commit; do
		for clients in 1 4 16; do
			run section=floor "scenario=$scenario" "clients=$clients" seconds=0.5
		done
	done
}

# measure SECTION SCENARIO BATCHES CLIENTS [SYSTEMS]
measure() {
	local batch clients
	for batch in $3; do
		begin "$1 x $batch"
		for clients in $4; do
			compare "${5:-onceq skip_locked}" "section=$1" "scenario=$2" "batch=$batch" "clients=$clients" \
				"backlog=$([ "$2" = enqueue ] && echo 0 || backlog_for "$batch")"
		done
	done
}

measure_snapshot() {
	begin "snapshot x 100"
	compare_with_snapshot section=snapshot scenario=claim_ack batch=100 clients=4 \
		"backlog=$(backlog_for 100)" "seconds=$duration"
	[ ! "$quick" ] || return 0
	begin "snapshot, job by job"
	compare_with_snapshot section=snapshot scenario=cycle batch=1 clients=4 seconds=3
}

measure_all() {
	measure_floor
	if [ "$quick" ]; then
		measure claim claim_ack "1 100" 4
		measure enqueue enqueue "1 1000" 4
	else
		measure claim claim_ack "1 10 100 1000" "1 4 16"
		measure lean claim_ack "1 100" 4 "onceq skip_locked_lean"
		measure ack_and_claim ack_and_claim "1 100" 4
		measure enqueue enqueue 1 "1 16"
		measure enqueue enqueue "100 1000" "1 4"
	fi
	measure_snapshot
}

# ---- Where it was measured ----

describe() {
	local settings="shared_buffers fsync synchronous_commit wal_level full_page_writes wal_compression
		max_wal_size checkpoint_timeout autovacuum max_connections"
	echo "processors: $(nproc) x $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)"
	echo "memory: $(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)"
	echo "system: $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r), data on $(stat -f -c %T "$server")"
	echo "PostgreSQL: $(psql -XAtc 'SHOW server_version')"
	echo "onceq: $(psql -XAtc "SELECT extversion FROM pg_extension WHERE extname = 'onceq'")" \
		"$(git rev-parse --short HEAD 2>/dev/null)$(git diff --quiet HEAD -- src sql 2>/dev/null || echo ', changed')"
	echo "settings: $(for name in $settings; do
		printf '%s=%s ' "$name" "$(psql -XAtc "SHOW $name")"
	done)"
	echo "load: one process, unix socket, prepared statements, a transaction per statement"
	echo "runs: $pairs x $duration s each, $(date -u +%F)"
}

stage release >"$work/build.log" 2>&1 || { cat "$work/build.log" && exit 1; }
g++ -std=c++20 -O2 -Wall -Wextra -I"$("$PG_CONFIG" --includedir)" -o "$out/driver" bench/driver.cpp \
	-L"$("$PG_CONFIG" --libdir)" -lpq -pthread
server_start release fsync=on synchronous_commit=on shared_buffers=2GB max_wal_size=16GB checkpoint_timeout=30min
psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION onceq' -f bench/skip_locked.sql
describe >"$out/machine.txt"
measure_all
python3 bench/report.py "$out/machine.txt" "$out/runs.txt" | tee "$out/report.md"
