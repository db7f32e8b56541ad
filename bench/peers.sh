# Other queues beside onceq, for bench/run.sh, which sources this file. Nothing is installed into the system:
# Debian's packages are unpacked below $work, and what they would start is not started; npm's go below
# build/bench. Servers are ours, with folders of their own, on sockets and the loopback, and end with the script.
# shellcheck shell=bash

known_peers="pgq bullmq bullmq_everysec rabbitmq graphile_worker pg_boss"
[ ! "${PGMQ_SQL:-}" ] || known_peers+=" pgmq"
peers=${PEERS-$known_peers}
root=$work/peers # of the unpacked packages
multiarch=$(gcc -print-multiarch)

# What cannot be measured is said in the report, too.
skip_peer() {
	echo "-- $1: skipped, $2" >&2
	echo "$1 is left out: $2" >>"$out/skipped.txt"
}

is_peer() { [[ " $known_peers " = *" $1 "* ]]; }
wants_peer() { [[ " $peers " = *" $1 "* ]]; }

# fetch_packages FOLDER PACKAGE…: with those they need and the system lacks
fetch_packages() {
	timeout 600 apt-get install -y -qq --download-only --reinstall --no-install-recommends -o Debug::NoLocking=1 \
		-o Dir::Cache::archives="$1" "${@:2}" >"$1/log" 2>&1
}

# unpack PACKAGE…: they are fetched once, and kept below build/bench.
unpack() {
	local archives=$out/packages/$1 file
	mkdir -p "$archives/partial" "$root"
	if [ ! -e "$archives/complete" ]; then
		fetch_packages "$archives" "$@" ||
			{ apt-get update -qq >>"$archives/log" 2>&1 && fetch_packages "$archives" "$@"; } || return
		touch "$archives/complete"
	fi
	for file in "$archives"/*.deb; do
		dpkg-deb -x "$file" "$root" || return
	done
	chmod -R a+rX "$root"
}

# ---- PgQ: before the server starts, its files go where the server looks for onceq's ----

install_pgq() {
	local folder
	[ -e "$(pg_config --sharedir)/extension/pgq.control" ] && return
	grep -q extension_destdir "$work/release.conf" || return
	unpack postgresql-15-pgq3 || return
	for folder in "$("$PG_CONFIG" --sharedir)/extension" "$("$PG_CONFIG" --pkglibdir)"; do
		cp "$root$folder"/pgq* "$work/release$folder/" || return
	done
}

begin_pgq() { psql -Xq -f bench/peers/pgq.sql >/dev/null; }

# ---- pgmq, from its SQL file alone: PGMQ_SQL ----

install_pgmq() { [ -r "${PGMQ_SQL:-}" ]; }

begin_pgmq() {
	psql -Xq -v ON_ERROR_STOP=1 >/dev/null -c 'SET client_min_messages = warning' \
		-c 'DROP SCHEMA IF EXISTS pgmq CASCADE' -c 'CREATE SCHEMA pgmq' -f "$PGMQ_SQL" -c "SELECT pgmq.create('bench')"
}

# ---- Servers that are not PostgreSQL's ----

peer_servers=() # process ids

# start_peer FOLDER COMMAND…: leaves its process id in $started
start_peer() {
	local pid_file=$work/run/$1.pid
	as_server mkdir "$work/run/$1"
	as_server bash -c 'echo $$ >"$0" && exec "$@"' "$pid_file" "${@:2}" >"$work/run/$1.log" 2>&1 </dev/null &
	until [ -s "$pid_file" ] || ! kill -0 $!; do sleep 0.05; done
	started=$(<"$pid_file")
	peer_servers+=("$started")
}

stop_peers() {
	local pid
	for pid in "${peer_servers[@]}"; do
		kill "$pid" 2>/dev/null || continue
		timeout 20 tail -s 0.1 --pid="$pid" -f /dev/null || kill -KILL "$pid"
	done
}

# until_ready PID COMMAND…: at most a minute
until_ready() {
	local tries
	for ((tries = 0; tries < 600; tries++)); do
		"${@:2}" >/dev/null 2>&1 && return
		kill -0 "$1" 2>/dev/null || return
		sleep 0.1
	done
	return 1
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# ---- Clients for node ----

install_node() {
	command -v npm >/dev/null || return
	mkdir -p "$out/node"
	cp bench/peers/*.mjs bench/peers/package.json "$out/node/"
	(cd "$out/node" && npm install --no-audit --no-fund --loglevel=error >"$out/npm.log" 2>&1)
}

# ---- BullMQ: on a Redis of ours, where appendfsync is what begin_… says ----

redis_cli() { LD_LIBRARY_PATH=$root/usr/lib/$multiarch "$root/usr/bin/redis-cli" -e -s "$BENCH_REDIS" "$@"; }

install_bullmq() {
	[ -z "${redis:-}" ] || return 0
	install_node && unpack redis-server redis-tools || return
	export BENCH_REDIS=$work/run/redis/socket
	start_peer redis env LD_LIBRARY_PATH="$root/usr/lib/$multiarch" "$root/usr/bin/redis-server" --port 0 \
		--unixsocket "$BENCH_REDIS" --unixsocketperm 777 --dir "$work/run/redis" --appendonly yes --appendfsync always \
		--save '' --maxmemory-policy noeviction
	redis=$started
	until_ready "$redis" redis_cli ping
}
install_bullmq_everysec() { install_bullmq; }

begin_bullmq() { redis_cli FLUSHALL >/dev/null && redis_cli CONFIG SET appendfsync always >/dev/null; }
begin_bullmq_everysec() { redis_cli FLUSHALL >/dev/null && redis_cli CONFIG SET appendfsync everysec >/dev/null; }

# ---- RabbitMQ, with a port mapper of its own ----

install_rabbitmq() {
	local folder=$work/run/rabbitmq ports
	unpack rabbitmq-server librabbitmq-dev || return
	sed -i "s|/usr/lib/erlang|$root/usr/lib/erlang|" "$root/usr/lib/erlang/bin/erl"
	g++ -std=c++20 -O2 -Wall -Wextra -I"$root/usr/include" -o "$out/rabbitmq" bench/peers/rabbitmq.cpp \
		-L"$root/usr/lib/$multiarch" -Wl,-rpath,"$root/usr/lib/$multiarch" -lrabbitmq -pthread || return
	ports=("$(free_port)" "$(free_port)" "$(free_port)")
	start_peer epmd "$root/usr/lib/erlang/bin/epmd" -port "${ports[1]}" -address 127.0.0.1
	export BENCH_RABBITMQ=${ports[0]}
	start_peer rabbitmq env -u RABBITMQ_HOME PATH="$root/usr/lib/erlang/bin:$PATH" RUNNING_UNDER_SYSTEMD=1 \
		ERL_EPMD_PORT="${ports[1]}" ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME=bench@localhost \
		RABBITMQ_DIST_PORT="${ports[2]}" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="${ports[0]}" \
		RABBITMQ_MNESIA_BASE="$folder" RABBITMQ_LOG_BASE="$folder" RABBITMQ_CONF_ENV_FILE=/dev/null \
		RABBITMQ_CONFIG_FILE="$folder/none" RABBITMQ_ENABLED_PLUGINS_FILE="$folder/plugins" \
		"$root"/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server
	rabbitmq=$started
	until_ready "$rabbitmq" "$out/rabbitmq" system=rabbitmq scenario=enqueue seconds=0.01 server="$rabbitmq"
}

begin_rabbitmq() { :; }

# ---- Queues in PostgreSQL, whose clients are written for node. They create what they need, anew for each row ----

install_graphile_worker() { install_node; }
install_pg_boss() { install_node; }
begin_graphile_worker() { psql -Xqc 'SET client_min_messages = warning' -c 'DROP SCHEMA IF EXISTS graphile_worker CASCADE'; }
begin_pg_boss() { psql -Xqc 'SET client_min_messages = warning' -c 'DROP SCHEMA IF EXISTS pgboss CASCADE'; }

# load SYSTEM name=value…: by the driver that can; a peer that hangs has failed
load() {
	local system=$1
	shift
	case $system in
		bullmq*) timeout 300 node "$out/node/load.mjs" "$@" "server=$redis" ;;
		graphile_worker | pg_boss) timeout 300 node "$out/node/load.mjs" "$@" "server=$(head -n 1 "$server/data/postmaster.pid")" ;;
		rabbitmq) timeout 300 "$out/rabbitmq" "$@" "server=$rabbitmq" ;;
		*) "$out/driver" "$@" ;;
	esac
}

# ---- All of them ----

# Leaves in $peers those that can be measured.
install_peers() {
	local peer left=()
	: >"$out/skipped.txt"
	for peer in $peers; do
		if ! is_peer "$peer"; then
			skip_peer "$peer" "no such peer"
		elif "install_$peer" >&2; then
			left+=("$peer")
		else
			skip_peer "$peer" "it cannot be installed, or does not start"
		fi
	done
	peers=${left[*]}
}

describe_peers() {
	local peer file name
	for peer in $peers; do
		case $peer in
			pgq) name=postgresql-15-pgq3 ;;
			bullmq) name=redis-server ;;
			rabbitmq) name=rabbitmq-server ;;
			*) continue ;;
		esac
		for file in "$out/packages/$name"*/"${name}"_*.deb; do
			[ ! -e "$file" ] || echo "$name: $(dpkg-deb -f "$file" Version)"
		done
	done
	! command -v node >/dev/null || echo "node: $(node --version)"
	for name in bullmq graphile-worker pg-boss; do
		! wants_peer "${name//-/_}" || echo "$name: $(node -p "require('$out/node/node_modules/$name/package.json').version")"
	done
	! wants_peer bullmq || echo "Redis: appendonly yes, appendfsync always or, where it says so, everysec; unix socket"
	! wants_peer rabbitmq || echo "RabbitMQ: a quorum queue on one node, loopback"
}

# beside PEER SCENARIO BATCHES CLIENTS CLIENTS_OF_PEER [name=value…]: one row a batch; onceq and the peer alternate
beside() {
	local batch backlog word
	wants_peer "$1" || return 0
	for batch in $3; do
		backlog=0
		[ "$2" != claim_ack ] || backlog=$(backlog_for "$batch")
		for word in "${@:6}"; do
			[[ $word != backlog=* ]] || backlog=${word#*=}
		done
		begin "$1, $2 x $batch"
		"begin_$1"
		compare "system=onceq clients=$4 / system=$1 clients=$5" "section=peers/$1/$2/$batch/$backlog" "scenario=$2" \
			"batch=$batch" "seconds=$duration" "backlog=$backlog" "${@:6}"
	done
}

measure_peers() {
	local peer batches="1 100"
	[ ! "$long" ] || batches="1 10 100 1000"
	for peer in bullmq bullmq_everysec rabbitmq graphile_worker pg_boss; do
		beside $peer enqueue 1 16 16
		beside $peer enqueue "${batches#1 }" 4 4
		beside $peer cycle 1 16 16
	done
	beside bullmq claim_ack 1 16 50
	beside bullmq_everysec claim_ack 1 16 50
	beside rabbitmq claim_ack "$batches" 4 4
	beside graphile_worker claim_ack "$batches" 4 24
	beside pg_boss claim_ack "$batches" 4 4 backlog=10000 # its fetch sorts all there is
	for peer in pgq pgmq; do
		beside $peer enqueue "$batches" 4 4
	done
	beside pgmq claim_ack "$batches" 4 4
	beside pgmq cycle 1 4 4
	beside pgq claim_ack "${batches% 1000} 1000" 1 1
}
