// SPDX-License-Identifier: PostgreSQL
// What is ready, leased or waiting now, and who holds it until when: the shared boards and leases.
//
// Owns the shared array of boards, the page pool and the lease table. Each board has one LWLock, "B";
// under it only noexcept code of core/ runs. A crash of any backend empties it all, and each board is
// built again from the tables at its first touch (board_build.cpp): that costs a redelivery of what
// was in flight and nothing else, because nothing here is the only copy of a durable fact.
#pragma once

#include "core/board.hpp"

#include "base/postgres.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "catalog/catalog.hpp"

extern "C" {
#include <storage/condition_variable.h>
}

namespace onceq::board {

extern base::ShmemItem const shmem_item;

// A board's place, and whose it must be: a place is used again after its queue is gone.
struct Handle
{
	std::uint32_t index;
	core::BoardKey key;
};

// The board of a queue; built first if this is the first touch since the start of the server.
// Raises 42704 (dropped meanwhile), 53400 (onceq.max_queues, onceq.state_memory), OQ003 (being built by
// another session for long).
Handle open(catalog::Queue const &queue);
// The same; false: dropped meanwhile.
bool try_open(catalog::Queue const &queue, Handle &handle);

// The queue's board if it has one, in whatever phase.
bool find(catalog::Queue const &queue, Handle &handle);

// Frees the boards of a database whose queues are gone, with their leases: all of them, or those that
// exists does not know. Requires: what is freed cannot be touched by any transaction any more.
using QueueExists = bool (*)(core::BoardKey const &key);
void reap_boards(Oid database, QueueExists exists);

// The databases that boards belong to, each at most once per board, in the current memory context.
struct Databases
{
	Oid *oid;
	int count;
};
Databases databases_of_boards();

core::FramePool &pool();
core::LeaseTable &leases();

// Holds B. Only noexcept code of core/ may run while it lives.
class Locked : base::NotCopyable
{
  public:
	explicit Locked(std::uint32_t index, LWLockMode mode = LW_EXCLUSIVE);

	core::Board *
	operator->() const
	{
		return board_;
	}
	core::Board &
	operator*() const
	{
		return *board_;
	}

	// Whether it is this queue's board, standing.
	bool
	stands_for(core::BoardKey const &key) const
	{
		return board_->key == key && board_->phase == core::BoardPhase::standing;
	}

  private:
	core::Board *board_;
	base::LWLockScope lock_;
};

#ifdef ONCEQ_TESTING
// How often this process has held some B.
std::int64_t holds_so_far();
#endif

// Whose board this is, looked up without B: true if it still is under B.
Handle handle_of(std::uint32_t index);

// Broadcast when ids, segments or journalled leases have come, or the board's phase changed.
ConditionVariable &changed(std::uint32_t index);

// Waits for the above, at most until the deadline; false: it has passed. A first call only registers
// and returns, so that its caller looks again; who is done calls ConditionVariableCancelSleep.
bool wait_for_change(std::uint32_t index, core::Monotonic deadline);

// Boards there are now, in all databases.
int boards_in_use();

// 64 bits nobody can guess.
std::uint64_t random_bits();

[[noreturn]] void raise_no_state_memory();
[[noreturn]] void raise_no_such_queue(catalog::Queue const &queue);

// Whether the server had not stopped cleanly before this start, or takes over from a primary.
bool started_uncleanly();

// After an unclean start, until the window has passed without another: jobs given out before the
// start may be what killed the server.
bool is_suspicious(core::Board const &board, core::JobId id);

} // namespace onceq::board
