#!/bin/bash
# onceq at work, behind `make demo`: each package that dpkg knows on this machine becomes a job, four workers
# inspect the packages (examples/packages), and meanwhile a process of the server and two workers are killed.
# Fails unless each job has exactly one result in the end. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -r /var/lib/dpkg/status ] || { echo "this demo inspects the packages of a Debian system" >&2 && exit 1; }
micros() { echo "${EPOCHREALTIME/[.,]/}"; }
began=$(micros)
say() { printf '%5.1f s  %s\n' "$(($(micros) - began))e-6" "$*"; }
sql() { psql -XqAt -F ' ' -v ON_ERROR_STOP=1 "$@"; }
count() { sql -c "SELECT count(*) FROM $1"; }

# ---- A throw-away server, and what the example keeps in it

scripts/install_dependencies.sh
. scripts/server.sh
say "building onceq for $("$PG_CONFIG" --version)"
stage release >"$work/build.log" 2>&1 || { cat "$work/build.log" && exit 1; }
server_start release fsync=on
say "a server runs below $work"
sql -c "CREATE EXTENSION onceq"
sql -f examples/packages/schema.sql >/dev/null
say "storing the package records, each in one transaction with its job"
PGUSER=registrar /usr/bin/python3 examples/packages/produce.py
jobs=$(grep -c '^Package:' /var/lib/dpkg/status)

# ---- Four workers

workers=(ada bob cyd dan)
declare -A pid_of
end_workers() {
	local pid
	kill "-$1" "${pid_of[@]}" 2>/dev/null || true
	for pid in "${pid_of[@]}"; do
		timeout 20 tail -s 0.1 --pid="$pid" -f /dev/null || true
	done
}
trap 'end_workers KILL; cleanup' EXIT

work_began=$(micros)
for name in "${workers[@]}"; do
	PGUSER=inspector PGAPPNAME=$name /usr/bin/python3 examples/packages/worker.py "$name" >"$work/$name.log" 2>&1 &
	pid_of[$name]=$!
	disown
done
say "four workers begin: ${workers[*]}"

# ---- What they have done so far; something is killed at each fifth of it

kill_server_process() {
	local pid name
	read -r pid name <<<"$(sql -c "SELECT pid, application_name FROM pg_stat_activity
		WHERE usename = 'inspector' LIMIT 1")"
	say "kill -9 of the server process of $name: the server ends all others, too, and starts anew"
	kill -KILL "$pid"
}
kill_worker() {
	say "kill -9 of worker $1, who holds jobs: they come again when its lease is over"
	kill -KILL "${pid_of[$1]}" || { tail "$work/$1.log" && exit 1; }
	unset "pid_of[$1]"
}
accidents=(kill_server_process "kill_worker ada" "kill_worker bob")
look() {
	sql -c "SELECT i.count, ready, running, scheduled FROM onceq.queue_stats, (SELECT count(*) FROM inspection) i"
}

killed=0 shown=0 results=0
for ((deadline = SECONDS + 180; SECONDS < deadline && results < jobs; )); do
	sleep 0.05
	read -r results ready running scheduled < <(look 2>/dev/null) || continue # the server starts
	if ((killed < ${#accidents[@]} && results * 5 >= jobs * (killed + 1))); then
		${accidents[killed++]}
	elif ((results >= jobs || SECONDS > shown)); then
		say "$results of $jobs done; $ready ready, $running running, $scheduled scheduled"
		shown=$SECONDS
	fi
done
took=$(($(micros) - work_began))
end_workers TERM

# ---- Is it true?

wrong=0
check() {
	local verdict=ok
	[ "$2" = "$3" ] || { verdict="WRONG, must be $3" && wrong=1; }
	printf '  %-40s %6s  %s\n' "$1" "$2" "$verdict"
}
echo
check "package records" "$(count package)" "$jobs"
check "jobs" "$(count "onceq.jobs('inspections', count => 10000)")" "$jobs"
check "jobs succeeded" "$(count "onceq.jobs('inspections', 'succeeded', count => 10000)")" "$jobs"
check "results" "$(count inspection)" "$jobs"
check "jobs with exactly one result" "$(count "(SELECT FROM inspection GROUP BY job HAVING count(*) = 1) one")" "$jobs"
check "differences that onceq.audit() finds" "$(count "onceq.audit('inspections')")" 0

delivered=$(sed -n 's/^claimed//p' "$work"/{ada,bob,cyd,dan}.log | wc -w)
echo
echo "  $delivered deliveries; $((delivered - jobs)) of them were not the first of their job:"
sql <<-SQL
	SELECT format('  %6s  %s', count(*), 'attempt ' || attempt || ', because ' || error)
	FROM onceq.jobs('inspections', count => 10000) WHERE attempt > 1 GROUP BY attempt, error ORDER BY attempt;
	SELECT format('  %6s  same attempt, because the server crashed and forgot their lease', $delivered - sum(attempt))
	FROM inspection;
	SELECT format(E'\n  %s files, %s; %s missing, %s changed', sum(files), pg_size_pretty(sum(bytes)),
		sum(missing), sum(changed)) FROM inspection;
SQL
printf '  %.1f s from the first claim, %.0f jobs/s\n' "${took}e-6" "$((jobs * 1000000000 / took))e-3"
[ $wrong = 0 ] && exit
sql -c "SELECT id, state, attempt, error FROM onceq.jobs('inspections', count => 10000)
	WHERE state <> 'succeeded' LIMIT 5"
tail -n 5 "$work"/{ada,bob,cyd,dan}.log "$server/log"
exit 1
