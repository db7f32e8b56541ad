#!/bin/bash
# How long onceq.job() takes to find a finished job, and in how many pages, as more and more jobs have finished:
# each acked singly, so that it has a row of its own. In a throw-away server.
#
#   bench/look_up.sh                 up to 5,000,000 finished jobs
#   JOBS=200000 bench/look_up.sh     up to that many
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/server.sh
jobs=${JOBS:-5000000}
batch=50000
stage release
server_start release fsync=off shared_buffers=2GB max_wal_size=16GB

sql() { psql -qXAt -v ON_ERROR_STOP=1 -d postgres "$@"; }

sql <<'SQL'
CREATE EXTENSION onceq;
SELECT onceq.create_queue('finished');
CREATE PROCEDURE finish(jobs int) LANGUAGE plpgsql AS $$
DECLARE
	acked bigint;
BEGIN
	FOR batch IN 1 .. jobs / 10000 LOOP
		PERFORM onceq.enqueue_many('finished', array_fill('1'::jsonb, ARRAY[10000]));
		COMMIT;
	END LOOP;
	LOOP
		SELECT count(onceq.ack(token, id)) INTO acked FROM onceq.claim('finished', 1000);
		COMMIT;
		EXIT WHEN acked = 0;
	END LOOP;
END $$;
SQL

cat >"$work/one.sql" <<'SQL'
\set id random(1, :jobs)
SELECT state FROM onceq.job('finished', :id);
SQL

# The mean number of pages of 200 look-ups, in a session that has looked once.
pages() {
	sql -c "SELECT onceq.job('finished', 1) IS NULL" -c "$(sql -c "SELECT string_agg('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
		SELECT onceq.job(''finished'', ' || 1 + n * ($1 / 200) || ');', ' ') FROM generate_series(0, 199) n")" |
		awk '/"Plan":/ { plan = 1 } plan && /"Shared (Hit|Read) Blocks"/ { gsub(/,/, ""); sum += $NF; if (/Read/) { n++; plan = 0 } }
			END { printf "%.0f", sum / n }'
}

printf '%10s  %10s  %10s  %10s\n' finished 'ms, mean' 'ms, p99' pages
for size in $((jobs / 50)) $((jobs / 10)) "$jobs"; do
	while [ "$(sql -c "SELECT succeeded < $size FROM onceq.queue_stats")" = t ]; do
		sql -c "CALL finish($batch)"
	done
	pgbench -n -M prepared -c 1 -T 3 -D "jobs=$size" -f "$work/one.sql" -l --log-prefix="$work/run/log" postgres >/dev/null 2>&1
	cat "$work/run"/log* | sort -n -k3 | awk -v size="$size" -v pages="$(pages "$size")" '
		{ time[NR] = $3; sum += $3 }
		END { printf "%10d  %10.3f  %10.3f  %10d\n", size, sum / NR / 1000, time[int(NR * 0.99)] / 1000, pages }'
	rm -f "$work/run"/log*
done
