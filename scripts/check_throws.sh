#!/bin/bash
# Only the wall knows of exceptions: no other object throws, or calls what throws.
#
#   scripts/check_throws.sh [build folder]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-build/release}/src
throwing='__cxa_throw|__cxa_rethrow|std::__throw_|operator new'

[ -d "$folder" ] || { echo "$folder is not there: make check-rules builds it" && exit 1; }
checked=0 wrong=0
while read -r object; do
	case $object in */base/wall.o | */base/call.o) continue ;; esac
	checked=$((checked + 1))
	found=$(nm -uC "$object" | grep -E "$throwing" || true)
	[ -z "$found" ] || { echo "$object:" && echo "$found" && wrong=$((wrong + 1)); }
done < <(find "$folder" -name '*.o' | sort)

echo "# $checked objects, $wrong that may throw"
[ $wrong = 0 ] && [ $checked -gt 0 ]
