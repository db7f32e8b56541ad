# Other queues beside onceq, for bench/run.sh, which sources this file. Nothing is installed into the system:
# Debian's packages are unpacked below $work, and what they would start is not started; npm's go below
# build/bench. Servers are ours, with folders of their own, on sockets and the loopback, and end with the script.
# shellcheck shell=bash

known_peers="pgq"
peers=${PEERS:-$known_peers}
root=$work/peers # of the unpacked packages

# What cannot be measured is said in the report, too.
skip_peer() {
	echo "-- $1: skipped, $2" >&2
	echo "$1 is left out: $2" >>"$out/skipped.txt"
}

wants_peer() { [[ " $peers " = *" $1 "* ]]; }

# unpack PACKAGE…: with those it needs and the system lacks. Packages are kept below build/bench.
unpack() {
	local archives=$out/packages/$1 file
	mkdir -p "$archives/partial" "$root"
	apt-get install -y -qq --download-only --reinstall --no-install-recommends -o Debug::NoLocking=1 \
		-o Dir::Cache::archives="$archives" "$@" >"$archives/log" 2>&1 || return
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

# ---- All of them ----

# Leaves in $peers those that can be measured.
install_peers() {
	local peer left=()
	: >"$out/skipped.txt"
	for peer in $peers; do
		if [[ " $known_peers " != *" $peer "* ]]; then
			skip_peer "$peer" "no such peer"
		elif "install_$peer"; then
			left+=("$peer")
		else
			skip_peer "$peer" "it cannot be installed"
		fi
	done
	peers=${left[*]}
}

# beside PEER SCENARIO BATCHES CLIENTS CLIENTS_OF_PEER [name=value…]: one row a batch; onceq and the peer alternate
beside() {
	local batch backlog=0
	wants_peer "$1" || return 0
	for batch in $3; do
		[ "$2" = enqueue ] || backlog=$(backlog_for "$batch")
		begin "$1, $2 x $batch"
		"begin_$1"
		compare "system=onceq clients=$4 / system=$1 clients=$5" "section=peers/$1/$2/$batch/$5" "scenario=$2" \
			"batch=$batch" "seconds=$duration" "backlog=$backlog" "${@:6}"
	done
}

measure_peers() {
	beside pgq enqueue "1 10 100 1000" 4 4
	beside pgq claim_ack "1 10 100 1000" 1 1
}
