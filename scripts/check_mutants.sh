#!/bin/bash
# Deliberate bugs of test/mutants still fit the code, and name a test that has to notice them.
set -uo pipefail
cd "$(dirname "$0")/.."

wrong=0
for mutant in test/mutants/*.patch; do
	patch --dry-run --silent --strip=1 --force --fuzz=0 <"$mutant" >/dev/null 2>&1 || { echo "$mutant no longer applies: renew it" && wrong=1; }
	grep -q '^Caught by: ' "$mutant" || { echo "$mutant names no test" && wrong=1; }
done
echo "# $(ls test/mutants/*.patch | wc -l) mutants"
exit $wrong
