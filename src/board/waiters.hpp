// SPDX-License-Identifier: PostgreSQL
// Sessions that sleep until a job of some boards may be ready, and who wakes them.
//
// Owns one list of waiters per board, each under a spinlock of its own, and for each session so many
// nodes as it may wait for boards. A waiter is taken off the list of the board that wakes it; if it can
// do nothing with that, because it took a job of another board or goes away, it wakes the next of that
// list, so that no wake-up is lost. A crash empties it all, with the sessions.
#pragma once

#include "core/time.hpp"
#include "core/turn.hpp"

#include "base/postgres.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"

namespace onceq::board {

extern base::ShmemItem const waiters_shmem_item;

// That many jobs of the board became ready: wakes so many of those who wait for one. Outside of B;
// never fails.
void wake_claimers(std::uint32_t board, std::int64_t jobs) noexcept;

inline constexpr int waited_boards_max = core::turn_queues_max;

// A session that waits. Whoever has made one calls leave(), also on ERROR and FATAL.
class Waiter : base::NotCopyable
{
  public:
	// Adds a board; at most waited_boards_max.
	void add(std::uint32_t board);

	// Puts itself on every list that it is not on. To be called before all boards are looked at, so that
	// nothing that becomes ready afterwards is missed; and again if nothing was found.
	void enlist();

	// Until woken since enlist(), or for this long.
	void sleep(core::Microseconds span);

	// served: the number of the board, in the order they were added, whose job was taken; -1: none.
	void leave(int served);

  private:
	int count_ = 0;
	bool enlisted_ = false;
	std::uint32_t board_[waited_boards_max];
	bool woken_by_[waited_boards_max]; // before it enlisted last: what for, the look that follows will show
};

} // namespace onceq::board
