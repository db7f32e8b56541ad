#!/bin/bash
# The ledger of processed events in a throw-away server: what a mark costs beside the bare INSERT it is made of, and
# whether rate and size stay what they are while as many events are forgotten as are marked. Prints a report,
# which is kept in build/bench/ledger.md.
#
#   bench/ledger.sh                    half a million events, a minute or two
#   ROWS=10000000 bench/ledger.sh      ten million; half an hour at most
#
#   DURATION=2         seconds of one run
#   PAIRS=3            how often each comparison is repeated
#   CYCLES=24          in each a twentieth of the events is forgotten, and as many are marked
#   PATIENCE=1200      seconds after which no further cycle begins
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_dependencies.sh
. scripts/server.sh
rows=${ROWS:-500000} duration=${DURATION:-2} pairs=${PAIRS:-3} cycles=${CYCLES:-24} patience=${PATIENCE:-1200}
out=$PWD/build/bench
mkdir -p "$out"
stage release
server_start release fsync=on shared_buffers=2GB max_wal_size=16GB checkpoint_timeout=30min \
	autovacuum_naptime=1s onceq.worker_naptime=100ms statement_timeout=0 maintenance_work_mem=512MB
step=$((rows / 20))

sql() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }
micros() { echo "${EPOCHREALTIME/./}"; }
per_second() { awk -v n="$1" -v us="$2" 'BEGIN { printf "%d", n * 1e6 / us }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%s", v[int((NR + 1) / 2)] }'; }

# ---- rates, by pgbench with four clients

declare -A script=(
	[onceq]="SELECT onceq.once('bench', gen_random_uuid()::text);"
	[by hand]="INSERT INTO by_hand VALUES (clock_timestamp(), 1, gen_random_uuid()::text) ON CONFLICT DO NOTHING;"
	[duplicate]="SELECT onceq.once('bench', md5((1 + $rows * 19 / 20 + (random() * $step)::int)::text));"
	[batch]="SELECT onceq.once_many('bench', ARRAY(SELECT gen_random_uuid()::text FROM generate_series(1, 1000)));"
	[batch by hand]="INSERT INTO by_hand SELECT clock_timestamp(), 1, gen_random_uuid()::text FROM generate_series(1, 1000) ON CONFLICT DO NOTHING;"
)
rate() { # NAME
	echo "${script[$1]}" >"$work/script"
	"$bin/pgbench" -n -M prepared -c 4 -j 2 -T "$duration" -f "$work/script" | sed -n 's/^tps = \([0-9]*\).*/\1/p'
}

declare -A rates
compare() { # SIZE NAME…
	local name pair
	for ((pair = 0; pair < pairs; pair++)); do
		for name in "${@:2}"; do
			rates[$1/$name]+="$(rate "$name") "
		done
	done
}
rate_of() { tr ' ' '\n' <<<"${rates[$1]% }" | median; }
ratio() { # SIZE/NAME SIZE/NAME: of neighbours
	paste -d ' ' <(tr ' ' '\n' <<<"${rates[$1]% }") <(tr ' ' '\n' <<<"${rates[$2]% }") |
		awk '{ printf "%.2f\n", $1 / $2 }' | median
}

# ---- empty, then full: events of the last thirty days, in the order of time

sql >/dev/null <<-SQL
	CREATE EXTENSION onceq;
	SELECT onceq.create_consumer('bench', retention => '60 days');
	CREATE TABLE by_hand (at timestamptz NOT NULL, consumer_id int, event_id text COLLATE "C", PRIMARY KEY (consumer_id, event_id));
SQL
compare empty onceq "by hand" batch "batch by hand"

began=$(micros)
sql -c "TRUNCATE onceq.processed_event, by_hand"
for ((from = 1; from <= rows; from += step)); do
	sql -c "INSERT INTO onceq.processed_event (processed_at, consumer_id, event_id)
		SELECT now() - interval '30 days' * (1 - i::float8 / $rows), 1, md5(i::text)
		FROM generate_series($from, $from + $step - 1) i"
done
fill=$(per_second "$rows" $(($(micros) - began)))
sql -c "ALTER TABLE by_hand DROP CONSTRAINT by_hand_pkey" \
	-c "INSERT INTO by_hand SELECT processed_at, consumer_id, event_id FROM onceq.processed_event" \
	-c "ALTER TABLE by_hand ADD PRIMARY KEY (consumer_id, event_id)"
sql -c "VACUUM ANALYZE onceq.processed_event" -c "VACUUM ANALYZE by_hand" -c CHECKPOINT
size() { sql -c "SELECT pg_relation_size('onceq.processed_event'), pg_indexes_size('onceq.processed_event')"; }
compare full onceq "by hand" duplicate batch "batch by hand"
IFS='|' read -r heap indexes < <(size)
echo "filled: $heap bytes of table, $indexes of indexes" >&2

# ---- as many forgotten as marked, until all of it has changed once or time is up

forgotten=() widest_heap=$heap widest_indexes=$indexes first_rate='' last_rate='' longest=0
end=$((SECONDS + patience))
for ((cycle = 1; cycle <= cycles && SECONDS < end; cycle++)); do
	oldest=$(sql -c "SELECT processed_at FROM onceq.processed_event WHERE consumer_id = 1
		ORDER BY processed_at OFFSET $step LIMIT 1")
	# Marks go on meanwhile, and the longest of them is noted.
	echo "${script[onceq]}" >"$work/script"
	"$bin/pgbench" -n -M prepared -c 1 -T "$duration" -l --log-prefix="$work/log" -f "$work/script" >/dev/null &
	began=$(micros)
	# A reload wakes the worker.
	sql -c "SELECT onceq.alter_consumer('bench', greatest(now() - timestamptz '$oldest', '1 h'))" -c "SELECT pg_reload_conf()" >/dev/null
	while [ "$(sql -c "SELECT EXISTS (SELECT FROM onceq.processed_event WHERE consumer_id = 1
			AND processed_at < timestamptz '$oldest' AND processed_at < now() - interval '1 h')")" = t ]; do
		sleep 0.05
	done
	forgotten+=("$(per_second "$step" $(($(micros) - began)))")
	wait $!
	longest=$(cat "$work"/log.* | awk -v max="$longest" '$3 > max { max = $3 } END { print max }')
	rm "$work"/log.*
	began=$(micros)
	sql -c "DO \$\$ BEGIN FOR i IN 1 .. $step / 1000 LOOP
		PERFORM onceq.once_many('bench', ARRAY(SELECT gen_random_uuid()::text FROM generate_series(1, 1000)));
		COMMIT; END LOOP; END \$\$"
	last_rate=$(per_second "$step" $(($(micros) - began)))
	first_rate=${first_rate:-$last_rate}
	IFS='|' read -r heap_now indexes_now < <(size)
	[ "$heap_now" -le "$widest_heap" ] || widest_heap=$heap_now
	[ "$indexes_now" -le "$widest_indexes" ] || widest_indexes=$indexes_now
	echo "cycle $cycle: $heap_now, $indexes_now; marks/s $last_rate; forgotten/s ${forgotten[-1]}" >&2
done
compare turned onceq "by hand" batch "batch by hand"

# ---- the report

vacuums=$(sql -c "SELECT autovacuum_count FROM pg_stat_all_tables WHERE relid = 'onceq.processed_event'::regclass")
megabytes() { awk -v a="$1" 'BEGIN { printf "%d", a / 1048576 }'; }
times() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
{
	echo "$rows events, 4 clients, durable commits; medians of $pairs runs of $duration s; filled at $fill rows/s."
	echo
	echo "| marks a second | empty | full | after $((cycle - 1)) cycles | full / empty | beside the bare INSERT, full |"
	echo "|---|--:|--:|--:|--:|--:|"
	echo "| one a transaction | $(rate_of empty/onceq) | $(rate_of full/onceq) | $(rate_of turned/onceq) | $(times "$(rate_of full/onceq)" "$(rate_of empty/onceq)") | $(ratio full/onceq "full/by hand") |"
	echo "| 1,000 a transaction | $(rate_of empty/batch)000 | $(rate_of full/batch)000 | $(rate_of turned/batch)000 | $(times "$(rate_of full/batch)" "$(rate_of empty/batch)") | $(ratio full/batch "full/batch by hand") |"
	echo "| a duplicate, one a transaction | | $(rate_of full/duplicate) | | | |"
	echo
	echo "| in $((cycle - 1)) cycles of $step forgotten and $step marked | | |"
	echo "|---|--:|--:|"
	echo "| table, MB: full, most since | $(megabytes "$heap") | $(megabytes "$widest_heap") = $(times "$widest_heap" "$heap") times |"
	echo "| both indexes, MB: full, most since | $(megabytes "$indexes") | $(megabytes "$widest_indexes") = $(times "$widest_indexes" "$indexes") times |"
	echo "| marked in batches, events/s: first, last cycle | $first_rate | $last_rate |"
	echo "| forgotten beside marks, events/s, median | | $(printf '%s\n' "${forgotten[@]}" | median) |"
	echo "| longest single mark meanwhile, ms | | $(times "$longest" 1000) |"
	echo "| runs of autovacuum | | $vacuums |"
} | tee "$out/ledger.md"
