#!/bin/bash
# Installs what `make check` needs on Debian with its PostgreSQL 15, and the packages named; does and says
# nothing if all is there. Other servers (PG_CONFIG) are the business of whoever brings them.
#
# Debian's package of the server would create and start a cluster, 15/main. It is told not to: onceq
# is tested in servers of its own, and the system's clusters are left alone.
set -euo pipefail

packages=(
	make g++ clang libclang-rt-14-dev clang-format-14 cmake libgtest-dev
	postgresql-15 postgresql-server-dev-15
	postgresql-15-pgtap libtap-parser-sourcehandler-pgtap-perl libipc-run-perl
	postgresql-15-cron python3 python3-psycopg
	"$@"
)

if [ "${PG_CONFIG:-pg_config}" != pg_config ] || command -v pg_config >/dev/null; then
	bin=$("${PG_CONFIG:-pg_config}" --bindir)
	[[ $bin = /usr/bin || $bin = /usr/lib/postgresql/15/bin ]] || exit 0 # /usr/bin: only libpq's
fi
command -v apt-get >/dev/null || exit 0

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
	as_root=(sudo)
	command -v sudo >/dev/null || { echo "as root: apt-get install ${missing[*]}" >&2 && exit 1; }
fi
install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >/dev/null
}

echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
if [[ " ${missing[*]} " = *" postgresql-15 "* ]]; then
	settings=/etc/postgresql-common/createcluster.conf
	install postgresql-common
	before=$(mktemp)
	cat $settings >"$before"
	trap '"${as_root[@]}" cp "$before" $settings; rm "$before"' EXIT
	"${as_root[@]}" pg_conftool $settings set create_main_cluster off
	echo "no cluster is created: create_main_cluster is off in $settings meanwhile"
fi
install "${missing[@]}"
