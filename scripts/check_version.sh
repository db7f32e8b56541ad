#!/bin/bash
# The version is stated in onceq.control; META.json and CHANGELOG.md must agree with it.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" onceq.control)
meta=$(python3 -c 'import json; meta = json.load(open("META.json"))
print(meta["version"], meta["provides"]["onceq"]["version"])')
newest=$(sed -n 's/^## \([^ ]*\).*/\1/p' CHANGELOG.md | head -n 1)

wrong=0
expect() {
	[ "$2" = "$3" ] || { echo "$1 says '$2', onceq.control says '$3'" && wrong=1; }
}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || { echo "onceq.control: '$version' is no version a.b.c" && wrong=1; }
expect "META.json (version, provides)" "$meta" "$version $version"
expect "CHANGELOG.md (first heading)" "$newest" "$version"
echo "# version $version"
exit $wrong
