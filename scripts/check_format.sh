#!/bin/bash
# C++ sources look as `make format` leaves them. Another version of clang-format would differ, so only 14 is asked.
set -euo pipefail
cd "$(dirname "$0")/.."

format=$(command -v clang-format-14 || true)
[ "$format" ] || { echo "# no clang-format 14, formats are not checked" && exit 0; }
mapfile -t sources < <(find src test bench -name '*.[ch]pp' | sort)
wrong=0
for source in "${sources[@]}"; do
	"$format" "$source" | cmp -s - "$source" || { echo "$source: make format" && wrong=$((wrong + 1)); }
done

echo "# ${#sources[@]} files, $wrong in another format"
[ $wrong = 0 ] && [ ${#sources[@]} -gt 0 ]
