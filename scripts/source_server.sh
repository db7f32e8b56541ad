#!/bin/bash
# Builds the server that checks itself, and prints its pg_config: PostgreSQL 15 from Debian's source package,
# with assertions and with what valgrind has to be told of PostgreSQL's memory; once, below build/cassert.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${CASSERT_FOLDER:-$PWD/build/cassert}
complete=$folder/complete-for-valgrind
unset MAKEFLAGS MFLAGS MAKELEVEL # PostgreSQL makes its headers at level 0
scripts/install_dependencies.sh valgrind >&2

# Packages' lists of our own: the system's need not know of sources.
download() {
	local mirror apt
	mirror=$(apt-get indextargets --format "\$(SITE)" | grep -v security | head -n 1)
	mkdir -p "$folder/source/lists/partial"
	cd "$folder/source"
	echo "deb-src $mirror bookworm main" >sources.list
	apt=(-qq -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$PWD/lists"
		-o APT::Sandbox::User=root)
	apt-get "${apt[@]}" update
	apt-get "${apt[@]}" --only-source --download-only source postgresql-15
}

build() {
	rm -rf "${folder:?}"/{source,tree,server}
	(download)
	mkdir "$folder/tree"
	tar -xf "$folder"/source/postgresql-15_*.orig.tar.* -C "$folder/tree" --strip-components=1
	cd "$folder/tree"
	./configure --quiet --prefix="$folder/server" --enable-cassert --enable-debug --enable-tap-tests \
		--without-icu --without-readline --without-zlib CFLAGS="-O1 -g -DUSE_VALGRIND"
	make --silent -j"$(nproc)"
	make --silent install
	make --silent -C src/test/isolation install
	cp -r src/test/perl "$(dirname "$("$folder/server/bin/pg_config" --pgxs)")/../test/"
	cp src/tools/valgrind.supp "$folder/server/share/"
	rm -rf "$folder/source" "$folder/tree"
	touch "$complete"
}

if [ ! -e "$complete" ]; then
	echo "building PostgreSQL with assertions in $folder: some minutes" >&2
	mkdir -p "$folder"
	build >"$folder/log" 2>&1 & # by `||` alone set -e would not hold in it
	wait $! || { tail -n 30 "$folder/log" >&2 && exit 1; }
fi
echo "$folder/server/bin/pg_config"
