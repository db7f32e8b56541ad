// SPDX-License-Identifier: PostgreSQL
// Which job was enqueued last under a unique key: onceq.unique_key, a row for each key in use or used lately.
//
// A row does not say whether its job still keeps the key: whoever enqueues under it asks the board. So the end of
// a job, by whatever way, touches no row, and a rebuild has nothing to rebuild.
//
// Rows are read and changed under their key's lock, which is held for that only, and never while waiting for
// another transaction: who meets a row that an open transaction wrote waits for that transaction, as a unique
// index does. So a transaction holds no more locks for a thousand keys than for one.
#pragma once

#include "core/job_state.hpp"
#include "core/time.hpp"

#include "base/postgres.hpp"

extern "C" {
#include <storage/itemptr.h>
#include <utils/relcache.h>
}

namespace onceq::store {

inline constexpr int unique_key_length_max = 512;

struct UniqueKey
{
	int32 queue;
	text const *key; // detoasted, 1 to unique_key_length_max bytes
};

struct KeyRow
{
	bool found;
	core::JobId job;
	core::Wall kept_until; // at least until then; wall_always: as long as the job is unfinished
	TransactionId xmin;    // the transaction that enqueued the job
	ItemPointerData tid;
	TransactionId changed_by; // an open transaction of another session; invalid: none
};

// Keys that differ may share a lock.
void lock_key(UniqueKey const &key);
void unlock_key(UniqueKey const &key);

// The row that is committed now, or of this transaction. For a look without the lock.
KeyRow look_up_key(UniqueKey const &key);

// The row as it is, changes under way included. Requires: lock_key.
KeyRow read_key(UniqueKey const &key);

// The key is the job's from now on. Requires: lock_key, and row as it was read since, changed by nobody else.
void write_key(UniqueKey const &key, KeyRow const &row, core::JobId job, core::Wall kept_until);

// ---- removal of rows that are not needed any more, piece by piece

// Whether the row may go. May be called twice for a row, the second time under the key's lock.
using IsStale = bool (*)(int32 queue, KeyRow const &row, void *argument);

// Removes stale rows in a piece of the table that begins at this block, but none whose key is in use just now.
// InvalidBlockNumber: any piece. Returns where to go on; 0: the table is at its end.
BlockNumber sweep_keys(BlockNumber start, IsStale is_stale, void *argument);

} // namespace onceq::store
