# Throw-away servers with onceq in them, for tests, demos and benchmarks. To be sourced by bash:
#
#   . scripts/server.sh
#   stage release                     build onceq and install it below $work, nowhere else
#   server_start release fsync=on     start a server on it; PGHOST, PGPORT, PGUSER are set
#   psql -c "SELECT onceq.…"
#   server_stop                       or leave it to the end of the script
#
# Kinds of build: release, testing (pause points, fault points, assertions), clang. When the script
# ends, every server started below $work is stopped, by its process id, and $work is removed.
# As root the servers run as user postgres, whose reach is the reason why $work is below /tmp.
# $WATCH (sanitizers, valgrind, coverage) has folders of its own, and servers that pg_regress starts are watched
# so; what the watchers have to say they write into $reports. See scripts/watched.sh.
# shellcheck shell=bash

PG_CONFIG=${PG_CONFIG:-pg_config}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[[ $top != *[[:space:]]* ]] || { echo "make cannot build below a folder with a blank in its name: $top" >&2 && exit 1; }
bin=$("$PG_CONFIG" --bindir) || exit
PATH=$bin:$PATH
work=$(mktemp -d /tmp/onceq.XXXXXX)
chmod 755 "$work"
mkdir -m 777 "$work/run"

# Runs a command as somebody who may run a server.
as_server() {
	local as=()
	[ "$(id -u)" != 0 ] || as=(setpriv --reuid=postgres --regid=postgres --init-groups)
	(cd "$work/run" && HOME=$work/run TMPDIR=$work/run exec "${as[@]}" "$@")
}

# build KIND [goal…]: every kind has a folder, and so objects, of its own; another server starts afresh.
build() {
	local kind=$1 folder=$top/build/$1${WATCH:+-$WATCH} flags=() server_is
	server_is=$("$PG_CONFIG" --version --includedir-server --pgxs)
	case $kind in
		testing) flags=(TESTING=1) ;;
		clang) flags=(CXX=clang++) ;;
	esac
	[ -z "${WATCH:-}" ] || flags+=(WATCH="$WATCH" WERROR=)
	[ "$(cat "$folder/server" 2>/dev/null)" = "$server_is" ] || rm -rf "$folder"
	mkdir -p "$folder"
	echo "$server_is" >"$folder/server"
	flock "$folder.lock" env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -j"$(nproc)" \
		-C "$folder" -f "$top/Makefile" PG_CONFIG="$PG_CONFIG" "${flags[@]}" "${@:2}"
}

# stage KIND: installs that build below $work/KIND. A server from $work/KIND.bin with the settings in
# $work/KIND.conf finds it there.
stage() {
	local stage=$work/$1 knows
	build "$1" || return
	knows=$("$bin/postgres" --describe-config | cut -f 1)
	ln -s "$bin" "$stage.bin"
	cp "$top/test/onceq.conf" "$stage.conf"
	if grep -qx extension_control_path <<<"$knows"; then # PostgreSQL 18 and later
		cat >>"$stage.conf" <<-END
			extension_control_path = '$stage$("$PG_CONFIG" --sharedir):\$system'
			dynamic_library_path = '$stage$("$PG_CONFIG" --pkglibdir):\$libdir'
		END
	elif grep -qx extension_destdir <<<"$knows"; then # Debian's packages of earlier versions
		cat >>"$stage.conf" <<-END
			extension_destdir = '$stage'
			dynamic_library_path = '$stage$("$PG_CONFIG" --pkglibdir):\$libdir'
		END
	else # built from source: PostgreSQL can be moved, so copy all of it
		local prefix=${bin%/bin}
		[ "$prefix" != /usr ] || { echo "$bin: this server needs onceq to be installed" && return 1; }
		mkdir -p "$stage$prefix"
		cp -r "$prefix/." "$stage$prefix"
		ln -sfn "$stage$bin" "$stage.bin"
	fi
	build "$1" install DESTDIR="$stage" >/dev/null || return
	chmod -R a+rX "$stage" "$stage.conf"
	watch_server "$stage.bin"
}

# Puts the watcher before the server in a folder of programs; initdb goes to the real one, beside the real initdb.
watch_server() {
	local programs=$1 real watcher
	case ${WATCH:-} in
		valgrind)
			watcher="valgrind --quiet --leak-check=no --error-limit=no --num-callers=40 --log-file=$reports/%p \
				--suppressions=$(readlink -f "$programs")/../share/valgrind.supp" ;;
		sanitizers)
			watcher="env LD_PRELOAD=$(gcc -print-file-name=libasan.so) UBSAN_OPTIONS=print_stacktrace=1 \
				ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1:log_path=$reports/asan" ;;
		*) return 0 ;;
	esac
	real=$(readlink -f "$programs")
	rm "$programs"
	mkdir "$programs"
	ln -s "$real"/* "$programs/"
	rm "$programs/postgres"
	printf '#!/bin/sh\nexec %s "%s/postgres" "$@"\n' "$watcher" "$real" >"$programs/postgres"
	chmod a+rx "$programs" "$programs/postgres"
}

# server_start KIND [setting=value…]: values that are no plain words need quotes, as in postgresql.conf.
server_start() {
	local kind=$1
	server=$(as_server mktemp -d "$work/run/server.XXXXXX")
	as_server "$work/$kind.bin/initdb" -N -A trust -U postgres --locale=C.UTF-8 -E UTF8 -D "$server/data" >/dev/null
	{
		cat "$work/$kind.conf"
		printf "listen_addresses = ''\nunix_socket_directories = '%s'\n" "$server"
		[ $# = 1 ] || printf '%s\n' "${@:2}"
	} | as_server tee -a "$server/data/postgresql.conf" >/dev/null
	as_server "$work/$kind.bin/pg_ctl" -s -w -D "$server/data" -l "$server/log" start ||
		{ cat "$server/log" && return 1; }
	export PGHOST=$server PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

server_stop() {
	as_server "$bin/pg_ctl" -s -w -m "${1:-fast}" -D "$server/data" stop
}

# Stops every server below $work: ours, pg_regress's and those of tests that were killed.
cleanup() {
	local file pid
	while read -r file; do
		pid=$(head -n 1 "$file" 2>/dev/null) || continue # it is ending by itself
		[ "$(readlink "/proc/$pid/cwd")" = "${file%/*}" ] || continue
		kill -QUIT "$pid"
		timeout 10 tail -s 0.1 --pid="$pid" -f /dev/null || kill -KILL "$pid"
	done < <(find "$work/run" -name postmaster.pid 2>/dev/null)
	if [ "${KEEP:-}" ]; then
		echo "kept: $work"
	else
		rm -rf "$work"
	fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
