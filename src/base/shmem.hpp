// SPDX-License-Identifier: PostgreSQL
// Shared memory as a table of rooms: each says how much it needs and lays its part out.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

struct ShmemItem
{
	char const *name;
	Size (*size)();
	// Called in the postmaster at each start, also at the restart after a crash; memory is zeroed and
	// aligned to a cache line. In each process attach is called with the same address.
	void (*initialise)(void *memory);
	void (*attach)(void *memory);
	int (*lock_count)(); // LWLocks, in a tranche of the item's name; nullptr: none
};

// For an item with one lock: its lock_count, and the lock.
int one_lock();
LWLock *lock_of(ShmemItem const &item);

// Called once, from _PG_init while libraries are preloaded.
void request_shmem(ShmemItem const *items, int count);

// Raises 55000 unless the library was preloaded.
void require_preloaded();

} // namespace onceq::base
