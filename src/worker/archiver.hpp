// SPDX-License-Identifier: PostgreSQL
// The process that archives in one database: there while a policy is due, one at a time, started by the
// database's worker, of which it is otherwise independent.
//
// Which there are stands in a table in shared memory, one place per database; after a crash it is empty.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::worker {

// A chore: starts the process if something is due.
core::Microseconds start_archiver();

// For a statement that needs the database for itself, when its worker has left: asks the process to end,
// and waits for that, at most for this time.
void send_archiver_away(Oid database, core::Microseconds at_most);

} // namespace onceq::worker
