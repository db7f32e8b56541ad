// SPDX-License-Identifier: PostgreSQL
// Forgets unique keys whose time is over. Nobody needs it to be done: a row that stays is used again or passed
// over. The table is walked piece by piece, and what this process has seen of it is all it remembers.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "board/board.hpp"
#include "delivery/unique.hpp"

extern "C" {
#include <access/xact.h>
}

namespace onceq::delivery {

namespace {

constexpr core::Microseconds at_once = 100 * 1000; // how long one run may be
constexpr core::Microseconds between_runs = 10 * 1000;
constexpr core::Microseconds between_walks = 30 * core::microseconds_per_second;

struct Walk
{
	core::Wall now;
	catalog::Queue queue; // of the last row; id 0: none yet
	bool exists;
	bool has_board;
	board::Handle board;
};

void
turn_to(Walk &walk, int32 id)
{
	if (walk.queue.id == id)
		return;
	catalog::Queue const *const queue = catalog::find_queue(id);
	walk.exists = queue != nullptr;
	walk.queue = queue != nullptr ? *queue : catalog::Queue{};
	walk.queue.id = id;
	walk.has_board = queue != nullptr && !queue->dropped && board::try_open(walk.queue, walk.board);
}

// A dead job may be made ready again, and then has its key again unless another job has got it.
bool
is_stale(int32 queue, store::KeyRow const &row, void *argument)
{
	Walk &walk = *static_cast<Walk *>(argument);
	turn_to(walk, queue);
	if (!walk.exists)
		return true;
	if (!walk.has_board || row.kept_until > walk.now)
		return false; // the rows of a dropped queue go with it
	{
		board::Locked board(walk.board.index, LW_SHARED);
		if (!board.stands_for(walk.board.key) || board->map.state(board::pool(), row.job) != core::JobState::none)
			return false;
	}
	store::History const history = store::read_history(queue, row.job);
	return !history.any || history.last != store::Outcome::dead;
}

} // namespace

core::Microseconds
forget_unique_keys()
{
	// Somewhere: a process that looks but once must not look at the same piece as the one before it.
	static BlockNumber next = InvalidBlockNumber;

	// Producers of a key that is being removed wait for our end: it must be near.
	if (!catalog::is_adopted() || IsTransactionBlock())
		return between_walks;
	Walk walk{};
	walk.now = base::now_wall();
	core::Monotonic const end = base::now_monotonic() + at_once;
	do
		next = store::sweep_keys(next, is_stale, &walk);
	while (next != 0 && base::now_monotonic() < end);
	FAULT_POINT("keys: after sweep");
	return next != 0 ? between_runs : between_walks;
}

} // namespace onceq::delivery
