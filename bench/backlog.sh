#!/bin/bash
# What a backlog costs, in a throw-away server: the time of a claim beside that of a nearly empty queue, the memory of
# the states, and how long it takes until jobs are claimed after a crash. Prints a table.
#
#   bench/backlog.sh                    a backlog of 10,000,000 jobs, a few minutes and 3 GB of disk
#   JOBS=200000 bench/backlog.sh        one of that size
#   PAIRS=5                             how often claims are timed, in turns
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
jobs=${JOBS:-10000000} pairs=${PAIRS:-5}
claims=10000

stage release >&2
server_start release fsync=off shared_buffers=2GB max_wal_size=16GB
psql -qX >/dev/null <<'SQL'
CREATE EXTENSION onceq;
CREATE TABLE timed (queue text, us float8);
SELECT onceq.create_queue(q, lease => '1 h') FROM unnest('{empty,full}'::text[]) q;
CREATE PROCEDURE fill(queue text, jobs int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. jobs / 10000 LOOP
		PERFORM onceq.enqueue_many(queue, array_fill('1'::jsonb, ARRAY[10000]));
		COMMIT;
	END LOOP;
END $$;
-- One job each, timed singly; then all are acked.
CREATE PROCEDURE time_claims(of text, claims int) LANGUAGE plpgsql AS $$
DECLARE
	begun timestamptz;
	token bigint;
	tokens bigint[];
	us float8[];
BEGIN
	FOR i IN 1 .. claims LOOP
		begun := clock_timestamp();
		SELECT c.token INTO token FROM onceq.claim(of) c;
		us[i] := extract(epoch FROM clock_timestamp() - begun) * 1000000;
		tokens[i] := token;
	END LOOP;
	PERFORM onceq.ack(t) FROM unnest(tokens) t;
	INSERT INTO timed SELECT of, u FROM unnest(us) u;
END $$;
SQL

used() { psql -qAtX -c "SELECT used FROM onceq.memory WHERE setting = 'onceq.state_memory'"; }

before=$(used)
psql -qX -c "CALL fill('full', $jobs)"
memory=$(($(used) - before))
for ((pair = 0; pair < pairs; pair++)); do
	psql -qX -c "CALL fill('empty', $claims)" -c "CALL time_claims('empty', $claims)" -c "CALL time_claims('full', $claims)"
done

percentile() {
	psql -qAtX -c "SELECT round(percentile_disc($1) WITHIN GROUP (ORDER BY us)::numeric, 1) FROM timed WHERE queue = '$2'"
}

echo "| what | nearly empty | $jobs jobs |"
echo "|---|--:|--:|"
echo "| a claim of one job, µs: median | $(percentile 0.5 empty) | $(percentile 0.5 full) |"
echo "| 99 % | $(percentile 0.99 empty) | $(percentile 0.99 full) |"
echo "| memory of the states, kB | | $memory |"

# Checkpointed, so that PostgreSQL's own recovery has little to do.
seconds_to_claim() {
	local begun
	psql -qX -c CHECKPOINT
	server_stop immediate
	begun=$(date +%s%N)
	as_server "$work/release.bin/pg_ctl" -s -W -D "$server/data" -l "$server/log" start
	until [ "$(psql -XAtqc "SELECT count(*) FROM onceq.claim('$1')" 2>/dev/null)" = 1 ]; do sleep 0.01; done
	echo $((($(date +%s%N) - begun) / 1000000)) | awk '{ printf "%.2f", $1 / 1000 }'
}

psql -qX -c "CALL fill('empty', 10000)"
echo "| from the start of the server after a crash to a claim, s | $(seconds_to_claim empty) | $(seconds_to_claim full) |"
