#!/bin/bash
# core/ knows nothing of PostgreSQL: every header compiles alone, every source refuses postgres.h.
set -euo pipefail
cd "$(dirname "$0")/.."

checked=0 wrong=0
for file in src/core/*.hpp; do
	[ -e "$file" ] || continue
	checked=$((checked + 1))
	"${CXX:-g++}" -std=c++20 -Wall -Wextra -Wpedantic -Wshadow -Werror -Isrc -fsyntax-only \
		-include "$file" -x c++ /dev/null || wrong=$((wrong + 1))
done
for file in src/core/*.cpp; do
	[ -e "$file" ] || continue
	checked=$((checked + 1))
	grep -A 1 '^#ifdef POSTGRES_H$' "$file" | grep -q '^#error' && continue
	echo "$file: no line '#ifdef POSTGRES_H' followed by an #error"
	wrong=$((wrong + 1))
done
echo "# $checked files, $wrong wrong"
[ $wrong = 0 ]
