// SPDX-License-Identifier: PostgreSQL
#include <algorithm>

#include "base/subtransaction.hpp"
#include "board/board.hpp"
#include "board/each_queue.hpp"

namespace onceq::board {

namespace {

// After an error that duty met for one queue: when to try it again.
constexpr core::Microseconds retry_after_error = 5 * core::microseconds_per_second;
constexpr core::Microseconds retry_after_drop = 100 * 1000;

struct Turn
{
	Duty duty;
	int32 queue;
	core::Microseconds wait;
};

// Whether its drop has committed a moment ago: the board knows at once, our memory of the catalog soon.
bool
is_just_dropped(catalog::Queue const &queue)
{
	Handle handle;
	if (queue.dropped || !find(queue, handle))
		return false;
	Locked board(handle.index, LW_SHARED);
	return board->key == handle.key && board->phase == core::BoardPhase::dropped;
}

void
take_turn(void *argument)
{
	Turn &turn = *static_cast<Turn *>(argument);
	catalog::Queue const *const queue = catalog::find_queue(turn.queue);
	if (queue == nullptr)
		return;
	// The catalog's memory of it may change while the duty reads the catalog.
	catalog::Queue const copy = *queue;
	turn.wait = is_just_dropped(copy) ? retry_after_drop : turn.duty(copy);
}

} // namespace

core::Microseconds
for_each_queue(char const *name, Duty duty, core::Microseconds idle)
{
	if (!catalog::is_adopted())
		return idle;
	core::Microseconds least = idle;
	catalog::QueueIds const queues = catalog::all_queues();
	for (int i = 0; i < queues.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		Turn turn{duty, queues.id[i], idle};
		char *const what = psprintf("%s of queue %d", name, queues.id[i]);
		// A function, not Min(): the macro would take the turn twice.
		least = std::min(least, base::attempt(what, take_turn, &turn) ? turn.wait : retry_after_error);
		pfree(what);
	}
	return least;
}

} // namespace onceq::board
