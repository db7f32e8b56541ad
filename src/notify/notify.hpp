// SPDX-License-Identifier: PostgreSQL
// Waking those who wait: the launcher, and the worker of a database.
//
// One slot per database with a worker, in shared memory. Slots are found and latches are set without
// a lock, so that a commit callback may wake; a latch of a process that is gone wakes nobody, or
// somebody for nothing. A crash empties the table; the launcher looks at all databases when it starts.
// The table itself is in table.hpp; how a slot changes, for launcher and workers, in slots.hpp.
#pragma once

#include "base/postgres.hpp"
#include "base/shmem.hpp"

namespace onceq::notify {

extern base::ShmemItem const shmem_item;

// At _PG_init, while libraries are preloaded.
void watch_transactions();

// Wakes the worker of this database, or asks the launcher to start one. Never fails, needs no
// transaction, takes no lock: may be called in a commit or abort callback.
void wake_worker(Oid database) noexcept;

// Wakes it for one duty, which does not wait for the others: somebody waits for the lease journal.
void wake_worker_to_journal(Oid database) noexcept;

// The same as wake_worker when the current transaction has committed; nothing if it aborts. One database per transaction.
void wake_worker_at_commit(Oid database);

// Pid of the worker of this database; 0: none runs.
int worker_pid(Oid database) noexcept;

// The hint for an error that has no better reason than that no worker runs for this database:
// nullptr if one does.
char const *absent_worker_hint(Oid database) noexcept;

} // namespace onceq::notify
