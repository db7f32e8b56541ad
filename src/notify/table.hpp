// SPDX-License-Identifier: PostgreSQL
// The shared table of database workers; known to the files of notify/ only.
#pragma once

#include <type_traits>

#include "notify/notify.hpp"
#include "notify/slots.hpp"

extern "C" {
#include <port/atomics.h>
#include <storage/condition_variable.h>
}

namespace onceq::notify {

// Atomics are read by anybody without a lock. `wake` is set by anybody; all else changes under the
// table's lock only.
struct Slot
{
	pg_atomic_uint32 database; // InvalidOid: the slot is free
	pg_atomic_uint32 wake;     // 1: somebody asked for a round of chores that has not begun
	pg_atomic_uint32 journal;  // 1: somebody waits for the lease journal
	pg_atomic_uint32 pid;      // 0: no process
	pg_atomic_uint32 procno;   // where that process has its latch
	SlotState state;
	uint32 generation; // counts starts, so that a worker that comes too late finds out
	int32 failures;    // starts in a row that came to nothing
	bool needed;       // somebody asked for a worker there, or one found the extension
	core::Monotonic next_start;
	core::Monotonic held_until;
	core::Wall since; // of the state
};

struct Table
{
	pg_atomic_uint32 launcher_pid; // 0: none
	pg_atomic_uint32 launcher_procno;
	pg_atomic_uint32 full_look; // 1: somebody could not say which database wants a worker
	ConditionVariable worker_left;
};

static_assert(std::is_standard_layout_v<Slot> && sizeof(Slot) == 64);
static_assert(std::is_standard_layout_v<Table> && alignof(Table) <= alignof(Slot));

// Nullptr unless the library was preloaded.
extern Table *table;

// Slot i of settings.max_databases.
Slot &slot_at(int i) noexcept;

// Lock-free; nullptr: none.
Slot *find_slot(Oid database) noexcept;

// Notes for the launcher that this database wants a worker.
void request_worker(Oid database) noexcept;

void wake_launcher() noexcept;

LWLock *table_lock();

// Ends hold_off.
void let_back_at_transaction_end() noexcept;

} // namespace onceq::notify
