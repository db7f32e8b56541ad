#!/bin/bash
# The tests on a server that checks itself, behind `make check-cassert`. STAGES="sql isolation tap" and TESTS=…
# as in scripts/check.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
PG_CONFIG=$(scripts/source_server.sh)
export PG_CONFIG
exec scripts/check.sh ${STAGES:-sql isolation tap}
