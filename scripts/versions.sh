#!/bin/bash
# The tests on other versions of PostgreSQL, behind `make check-versions`; the last line is
# "N passed, N failed".
#
#   VERSIONS="17 18 19"        which; of 15 the tests are `make check`; 16 is in no release of Debian
#   STAGES="sql isolation …"   stages of scripts/check.sh; TESTS=… as there
#
# Each version runs in a chroot with the release of Debian that has it, made by mmdebstrap below
# build/versions and kept for the next time; nothing of it starts by itself. As root, since chroot wants it.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
[ "$(id -u)" = 0 ] || { echo "as root: make check-versions" >&2 && exit 1; }
folder=${VERSIONS_FOLDER:-$PWD/build/versions}
stages=${STAGES:-clang sql isolation pgtap tap}
mkdir -p "$folder"

packages=(
	ca-certificates make g++ clang cmake libgtest-dev procps git
	libtap-parser-sourcehandler-pgtap-perl libipc-run-perl python3 python3-psycopg
)

# Where this machine has its packages from.
mirror=$(apt-get indextargets --format "\$(SITE)" | grep -v security | head -n 1)

# make_chroot VERSION FOLDER: PostgreSQL 19 is in experimental, whose other packages are left alone.
make_chroot() {
	local version=$1 root=$2 suite extra=("postgresql-$1-pgtap") sources=()
	case $version in
		17) suite=trixie ;;
		18) suite=forky ;;
		19) suite=sid extra=() sources=("deb $mirror sid main" "deb $mirror experimental main") ;;
		*) echo "no release of Debian has PostgreSQL $version" && return 1 ;;
	esac
	[ ${#sources[@]} -gt 0 ] || sources=("deb $mirror $suite main")
	command -v mmdebstrap >/dev/null ||
		apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 mmdebstrap >/dev/null || return
	mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
		--aptopt='APT::Install-Recommends "false"' \
		--setup-hook='printf "Package: *\nPin: release a=experimental\nPin-Priority: 1\n\nPackage: src:postgresql-19 src:postgresql-common\nPin: release a=experimental\nPin-Priority: 600\n" >"$1/etc/apt/preferences"' \
		--include="$(IFS=, && echo "${packages[*]},postgresql-$version,postgresql-server-dev-$version${extra[*]:+,${extra[*]}}")" \
		"$suite" "$root.new" "${sources[@]}" && mv "$root.new" "$root"
}

leave() {
	umount -l "$1/dev" 2>/dev/null
	umount "$1/proc" 2>/dev/null
}

# run_in VERSION: prints what scripts/check.sh prints.
run_in() {
	local root=$folder/pg$1
	[ -d "$root" ] || make_chroot "$1" "$root" || return
	leave "$root"
	mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev" || return
	mkdir -p "$root/onceq"
	find "$root/onceq" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	git ls-files -co --exclude-standard -z | tar -c --null -T - | tar -x -C "$root/onceq"
	chroot "$root" env -i PATH="$PATH" HOME=/root PG_CONFIG="/usr/lib/postgresql/$1/bin/pg_config" TESTS="${TESTS:-}" \
		/onceq/scripts/check.sh $stages
}

passed=0 failed=0
for version in ${VERSIONS:-17 18 19}; do
	echo "==== PostgreSQL $version"
	log=$folder/pg$version.log
	run_in "$version" 2>&1 | tee "$log" | grep -vE '^ *(g\+\+|clang\+\+|x86_64|aarch64)'
	leave "$folder/pg$version"
	read -r more_passed more_failed < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log" | tail -n 1)
	passed=$((passed + ${more_passed:-0})) failed=$((failed + ${more_failed:-1}))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
