#!/bin/bash
# Delayed jobs and sessions that wait, in a throw-away server: how late jobs come to a consumer that waits for
# them, how many a second become ready when all fall due at once, what they cost a claim of others, and what waiting
# sessions cost while nothing happens. Prints a table.
#
#   bench/delays.sh
#
#   JOBS=200       jobs whose lateness is measured, one after the other
#   MANY=200000    jobs that fall due at once
#   WAITERS=300    sessions that wait for five queues each
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
jobs=${JOBS:-200} many=${MANY:-200000} waiters=${WAITERS:-300}

stage release >&2
server_start release max_connections=$((waiters + 20)) max_wal_size=4GB
psql -qX -c "CREATE EXTENSION onceq" -c "CREATE TABLE late (ms float8)" \
	-c "SELECT onceq.create_queue(q) FROM unnest('{d,many,none,v,w,x,y,z}'::text[]) q" >/dev/null

echo "| what | figure |"
echo "|---|--:|"

# ---- how late

psql -qX -c "DO \$\$ DECLARE due timestamptz; lease bigint; BEGIN
	FOR i IN 1 .. $jobs LOOP
		due := clock_timestamp() + '30 ms'::interval * (1 + random());
		PERFORM onceq.enqueue('d', '1', run_at => due);
		COMMIT;
		SELECT token INTO lease FROM onceq.claim('d', wait => '10 s');
		INSERT INTO late SELECT extract(epoch FROM clock_timestamp() - due) * 1000;
		PERFORM onceq.ack(lease);
		COMMIT;
	END LOOP; END \$\$"
psql -qAtX -c "SELECT format('| lateness of %s jobs at a waiting consumer, ms: median, 99 %%, max | %s |', count(*),
	concat_ws(' / ', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 1),
		round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 1), round(max(ms)::numeric, 1))) FROM late"

# ---- all at once

claim_us() {
	psql -qAtX -c "DO \$\$ BEGIN PERFORM onceq.enqueue_many('$1', array_fill('1'::jsonb, ARRAY[10000])); END \$\$" \
		-c "DO \$\$ DECLARE begun timestamptz := clock_timestamp(); BEGIN FOR i IN 1 .. 5000 LOOP PERFORM id FROM onceq.claim('$1'); END LOOP;
			INSERT INTO late VALUES (extract(epoch FROM clock_timestamp() - begun) * 1000000 / 5000); END \$\$" \
		-c "SELECT round(ms::numeric, 1) FROM late"
}
psql -qX -c "TRUNCATE late"
echo "| claim of one job, µs, beside no delayed jobs | $(claim_us none) |"
psql -qX -c "TRUNCATE late" -c "DO \$\$ DECLARE due timestamptz := clock_timestamp() + '1 h'; BEGIN FOR i IN 1 .. $many / 10000 LOOP
	PERFORM onceq.enqueue_many('many', array_fill('1'::jsonb, ARRAY[10000]), run_at => due); COMMIT; END LOOP; END \$\$"
echo "| … beside $many of them | $(claim_us many) |"
psql -qAtX -c "SELECT onceq.create_queue('at.once')" >/dev/null
psql -qX -c "CREATE TABLE due AS SELECT clock_timestamp() + '15 s' AS at" -c "DO \$\$ BEGIN FOR i IN 1 .. $many / 10000 LOOP
	PERFORM onceq.enqueue_many('at.once', array_fill('1'::jsonb, ARRAY[10000]), run_at => (SELECT at FROM due)); COMMIT; END LOOP; END \$\$"
psql -qAtX -c "DO \$\$ DECLARE n bigint; BEGIN LOOP SELECT ready INTO n FROM onceq.queue_stats WHERE queue = 'at.once'; EXIT WHEN n = $many / 10000 * 10000; COMMIT; PERFORM pg_sleep(0.01); END LOOP; END \$\$" \
	-c "SELECT format('| jobs made ready a second, of $many due at once | %s |', round($many / extract(epoch FROM clock_timestamp() - at))) FROM due"

# ---- sessions that wait

for ((i = 0; i < waiters; i++)); do
	psql -qAtX -c "SELECT FROM onceq.claim_any('{v,w,x,y,z}', wait => '60 s')" >/dev/null &
done
waiting="SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query ~ 'claim_any' AND pid <> pg_backend_pid()"
until [ "$(psql -qAtX -c "$waiting")" = "$waiters" ]; do sleep 0.2; done
pids=$(psql -qAtX -c "SELECT pid FROM pg_stat_activity WHERE query ~ 'claim_any' AND pid <> pg_backend_pid()")
ticks() { for pid in $pids; do cut -d' ' -f14,15 "/proc/$pid/stat" 2>/dev/null; done | awk '{ t += $1 + $2 } END { print t + 0 }'; }
before=$(ticks)
sleep 10
echo "| processor time of $waiters sessions that wait for five queues each, ms a second | $(($(ticks) - before)) |" # a tick is 10 ms
psql -qX -c "SELECT onceq.enqueue_many('x', array_fill('1'::jsonb, ARRAY[$waiters])), clock_timestamp()" >/dev/null
wait
