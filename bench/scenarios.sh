# More of bench/run.sh, which sources this file: what a rate does not tell.
# shellcheck shell=bash

# Systems whose clients can wait.
waiting_systems() {
	local peer
	printf '%s\n' onceq skip_locked
	for peer in $peers; do
		[[ $peer = pgq || $peer = pgmq || $peer = bullmq_everysec ]] || echo "$peer"
	done
}

# each_once SYSTEMS SECTION name=value…: then each once more, without what is left of before; the details of the first
# repetition are kept for the plots.
each_once() {
	local system repetition detail
	for ((repetition = 1; repetition <= pairs; repetition++)); do
		begin_all "$2"
		wait_for_quiet
		for system in $1; do
			detail=
			[ $repetition -gt 1 ] || detail=detail=$out/detail/$2.$system
			run "section=$2" "system=$system" "${@:3}" $detail
		done
	done
}

begin_all() {
	local peer
	begin "$1"
	for peer in $peers; do
		[ $peer = bullmq_everysec ] || "begin_$peer" # it shares the server of bullmq
	done
}

# One job at a time with one durable commit each: what the machine can do, and who comes close.
measure_one() {
	local sides="system=onceq scenario=ack_and_claim clients=16 / system=onceq scenario=commit clients=16"
	wants one || return 0
	begin_all one
	! wants_peer bullmq || sides+=" / system=bullmq scenario=claim_ack clients=50"
	compare "$sides" section=one batch=1 "seconds=$duration" backlog=40000
}

# How long after it was sent a job reaches a client that waits for it.
measure_latency() {
	wants latency || return 0
	each_once "$(waiting_systems)" latency scenario=receive clients=1 rate=100 "seconds=$(longer 3 20)"
}

# What clients cost while nothing happens.
measure_waiters() {
	wants waiters || return 0
	pairs=1 each_once "$(waiting_systems | grep -xE 'onceq|skip_locked|rabbitmq')" waiters scenario=receive \
		clients=300 "seconds=$(longer 4 20)"
}

# Rates while a snapshot is held from the first moment on.
measure_held() {
	local system
	wants held || return 0
	for system in onceq skip_locked $(! wants_peer pgmq || echo pgmq); do
		begin_all held
		wait_for_quiet
		run section=held "system=$system" scenario=cycle clients=4 snapshot=1 "seconds=$(longer 15 180)" \
			"detail=$out/detail/held.$system"
	done
}

# Megabytes of a queue.
disk_of() {
	local size="SELECT sum(pg_total_relation_size(c.oid)) FROM onceq.queue q JOIN pg_class c
		ON c.relnamespace = 'onceq_data'::regnamespace AND c.relkind = 'r' AND c.relname ~ ('^[jor]' || q.id || '_')
		WHERE q.name = 'bench' AND q.dropped_at IS NULL"
	[[ $1 = onceq* ]] || size="SELECT pg_total_relation_size('bench.job')"
	psql -XAtqc "SELECT round(($size) / 1e6)"
}

# A day in quick motion: as many jobs in each of 24 steps, each enqueued and done. onceq_kept keeps what is done.
measure_disk() {
	local system step now first most
	local -r jobs=$(longer 100000 1000000)
	wants disk || return 0
	for system in onceq onceq_kept skip_locked; do
		begin "disk, $system"
		[ $system != onceq ] ||
			psql -XAtqc "SELECT onceq.alter_queue('bench', retention => '0', segment_age => '1 s')" >/dev/null
		most=0 first=
		for ((step = 1; step <= 24; step++)); do
			load "${system%_kept}" "system=${system%_kept}" scenario=claim_ack batch=1000 clients=4 seconds=60 \
				"backlog=$jobs" >/dev/null
			now=$(disk_of $system)
			first=${first:-$now}
			most=$((now > most ? now : most))
		done
		echo "section=disk system=$system jobs=$((24 * jobs)) first_mb=$first last_mb=$now most_mb=$most" |
			tee -a "$out/runs.txt" >&2
	done
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# The server is killed with a backlog that is on disk and checkpointed, and started again.
measure_rebuild() {
	local backlog system begun answers claims claim
	wants rebuild || return 0
	backlog=$(longer 200000 2000000)
	for system in onceq skip_locked; do
		begin "rebuild, $system"
		load $system system=$system scenario=select seconds=0.01 "backlog=$backlog" >/dev/null
		psql -Xqc CHECKPOINT
		server_stop immediate
		claim="SELECT count(*) FROM onceq.claim('bench')"
		[ $system = onceq ] || claim="SELECT count(*) FROM (SELECT FROM bench.job WHERE lease_until IS NULL
			ORDER BY priority DESC, run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) job"
		begun=$(milliseconds)
		as_server "$work/release.bin/pg_ctl" -s -W -D "$server/data" -l "$server/log" start
		until psql -XAtqc "SELECT" >/dev/null 2>&1; do sleep 0.01; done
		answers=$(($(milliseconds) - begun))
		until [ "$(psql -XAtqc "$claim" 2>/dev/null)" = 1 ]; do sleep 0.01; done
		claims=$(($(milliseconds) - begun))
		echo "section=rebuild system=$system backlog=$backlog answers_ms=$answers claims_ms=$claims" |
			tee -a "$out/runs.txt" >&2
	done
}

# longer SHORT LONG: the second with LONG=1
longer() { [ "$long" ] && echo "$2" || echo "$1"; }

measure_scenarios() {
	measure consumers "$both" 1 "1 4 16 64 256" backlog=100000
	measure_one
	measure_latency
	measure_waiters
	measure_held
	measure_disk
	measure_rebuild
}
