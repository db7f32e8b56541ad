#!/bin/bash
# The life of two jobs in a throw-away server, behind `make demo`. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_dependencies.sh
. scripts/server.sh
stage release >"$work/build.log" 2>&1 || { cat "$work/build.log" && exit 1; }
server_start release

psql -X --quiet --echo-queries --variable=ON_ERROR_STOP=1 --pset=footer=off <<'SQL'
CREATE EXTENSION onceq;
SELECT onceq.create_queue('mail', backoff_base => '0.1 s', backoff_jitter => 0);

-- Two jobs, committed with whatever else the transaction does.
SELECT onceq.enqueue('mail', '{"to": "ada"}'), onceq.enqueue('mail', '{"to": "bob"}');

-- A worker claims both: they are its own until lease_until.
CREATE TEMP TABLE mine AS SELECT * FROM onceq.claim('mail', count => 2, worker => 'demo');
SELECT id, attempt, payload, lease_until FROM mine;

-- One succeeds; the other fails, and is due again a little later.
SELECT onceq.ack(token, id) AS acked FROM mine WHERE payload->>'to' = 'ada';
SELECT onceq.nack(token, id, error => 'mailbox full') AS due FROM mine WHERE payload->>'to' = 'bob';

-- It comes back with its next attempt.
SELECT id, attempt, payload FROM onceq.claim('mail', wait => '5 s');
SQL
