#!/bin/bash
# The tests on a server that checks itself, behind `make check-cassert`: PostgreSQL 15 with assertions, built
# from Debian's source package, once, below build/cassert. STAGES="sql isolation tap" and TESTS=… as in scripts/check.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${CASSERT_FOLDER:-$PWD/build/cassert}
unset MAKEFLAGS MFLAGS MAKELEVEL # PostgreSQL makes its headers at level 0
scripts/install_dependencies.sh

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
	rm -rf "$folder/source" "$folder/tree"
	(download)
	mkdir "$folder/tree"
	tar -xf "$folder"/source/postgresql-15_*.orig.tar.* -C "$folder/tree" --strip-components=1
	cd "$folder/tree"
	./configure --quiet --prefix="$folder/server" --enable-cassert --enable-debug --enable-tap-tests \
		--without-icu --without-readline --without-zlib CFLAGS="-O1 -g"
	make --silent -j"$(nproc)"
	make --silent install
	make --silent -C src/test/isolation install
	cp -r src/test/perl "$(dirname "$("$folder/server/bin/pg_config" --pgxs)")/../test/"
	rm -rf "$folder/source" "$folder/tree"
	touch "$folder/complete"
}

if [ ! -e "$folder/complete" ]; then
	echo "building PostgreSQL with assertions in $folder: some minutes"
	mkdir -p "$folder"
	build >"$folder/log" 2>&1 & # by `||` alone set -e would not hold in it
	wait $! || { tail -n 30 "$folder/log" && exit 1; }
fi
PG_CONFIG=$folder/server/bin/pg_config exec scripts/check.sh ${STAGES:-sql isolation tap}
