#!/bin/bash
# onceq.so exports what PostgreSQL looks up by name, and nothing else.
#
#   scripts/check_exports.sh [build folder]
set -euo pipefail
cd "$(dirname "$0")/.."

module=${1:-build/release}/onceq.so
allowed='^(Pg_magic_func|_PG_init|onceq_[a-z0-9_]+|pg_finfo_onceq_[a-z0-9_]+)$'

[ -e "$module" ] || { echo "$module is not there: make check-rules builds it" && exit 1; }
symbols=$(nm --dynamic --defined-only --format=posix "$module" | cut -d ' ' -f 1)
wrong=$(grep -vE "$allowed" <<<"$symbols" || true)

[ -z "$wrong" ] || echo "$module must not export:" $wrong
grep -qx Pg_magic_func <<<"$symbols" || { echo "$module does not export Pg_magic_func" && exit 1; }
echo "# $(wc -l <<<"$symbols") exported symbols"
[ -z "$wrong" ]
