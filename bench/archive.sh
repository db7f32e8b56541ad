#!/bin/bash
# What archiving costs those who use the table, and that it loses nothing: a table of events is archived while
# four clients write and read it; then again while processes of the server are killed at random times. Ends with
# 1 unless every row is in the table or in the archive, once. In a throw-away server.
#
#   bench/archive.sh                a million old rows
#   ROWS=100000 bench/archive.sh    so many
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/server.sh
rows=${ROWS:-1000000}
stage release
server_start release fsync=off shared_buffers=1GB max_wal_size=8GB restart_after_crash=on \
	onceq.archive_batches_per_second=0 onceq.archive_interval=1s onceq.worker_naptime=100ms

sql() { psql -qXAt -v ON_ERROR_STOP=1 -d postgres "$@"; }
insist() { until sql "$@" 2>/dev/null; do sleep 0.1; done; }

sql <<SQL
CREATE EXTENSION onceq;
CREATE TABLE audit_events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, body text);
CREATE INDEX ON audit_events (at);
CREATE TABLE written (rows bigint);
CREATE PROCEDURE fill(rows int) LANGUAGE sql AS \$\$
	INSERT INTO audit_events (at, body) SELECT now() - interval '2 days' + i * interval '1 ms', repeat('x', 100) FROM generate_series(1, rows) i;
	INSERT INTO written VALUES (rows);
\$\$;
SQL

# What a client does: an event, and a look at some of the youngest and the oldest.
cat >"$work/use.sql" <<'SQL'
BEGIN;
INSERT INTO audit_events (at, body) VALUES (now(), repeat('y', 100));
INSERT INTO written VALUES (1);
COMMIT;
SELECT count(*) FROM (SELECT FROM audit_events ORDER BY at DESC LIMIT 20) s;
SELECT count(*) FROM (SELECT FROM audit_events ORDER BY at LIMIT 20) s;
SQL

# use NAME COMMAND…: transactions of the clients while the command runs.
use() {
	pgbench -n -M prepared -c 4 -T 100000 -f "$work/use.sql" -l --log-prefix="$work/run/$1" postgres >/dev/null 2>&1 &
	local clients=$! start=$EPOCHREALTIME
	"${@:2}"
	local end=$EPOCHREALTIME
	kill "$clients" && wait "$clients" || true
	cat "$work/run/$1".* | sort -n -k3 | awk -v name="$1" -v seconds="$(echo "$end - $start" | bc)" '
		{ time[NR] = $3 }
		END { printf "%-16s  %8.1f s  %10d tps  p50 %8.3f ms  p99 %8.3f ms\n", name, seconds, NR / seconds,
			time[int(NR * 0.5)] / 1000, time[int(NR * 0.99)] / 1000 }'
}

set_policy() { sql -c "SELECT onceq.set_archive_policy('audit_events', 'at', '1 day', 'audit_archive')" >/dev/null; }

wait_until_archived() {
	until [ "$(insist -c "SELECT count(*) FROM (SELECT FROM audit_events WHERE at < now() - interval '1 day' LIMIT 1) s")" = 0 ]; do
		sleep 0.2
	done
}

conserved() {
	local found
	found=$(sql -c "SELECT count(*) || ' rows, ' || count(*) - (SELECT sum(rows) FROM written) || ' too many, ' || count(*) - count(DISTINCT id)
		|| ' twice' FROM (SELECT id FROM audit_events UNION ALL SELECT id FROM audit_archive) s")
	echo "$found"
	[[ $found = *" rows, 0 too many, 0 twice" ]]
}

use 'nothing' sleep 5
sql -c "CALL fill($rows)"
archive() { set_policy && wait_until_archived; }
use 'archiving' archive
conserved

sql -c "CALL fill($rows)"
kills=0
for _ in {1..10}; do
	sleep "0.$((RANDOM % 10))"
	pid=$(insist -c "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('onceq archiver', 'onceq worker') ORDER BY random() LIMIT 1")
	[ -z "$pid" ] || ! kill -9 "$pid" 2>/dev/null || kills=$((kills + 1))
done
wait_until_archived
echo "$kills kills"
conserved
