// SPDX-License-Identifier: PostgreSQL
#include <algorithm>

#include "ledger/redelivery.hpp"

#include "board/board.hpp"
#include "ledger/ledger.hpp"
#include "store/store.hpp"

namespace onceq::ledger {

namespace {

// How many runs of waiting jobs are looked at in one hold of B.
constexpr int runs_max = 500;

// The lowest job that waits for its next attempt, or is not known to wait for its first; 0: none.
core::JobId
lowest_waiting(core::StateMap const &map)
{
	core::JobId id = map.find(board::pool(), core::JobState::waiting, 1);
	for (int i = 0; id != 0 && i < runs_max && !map.history(board::pool(), id); i++)
	{
		int const run = map.run_length(board::pool(), id, core::ids_per_page);
		id = map.find(board::pool(), core::JobState::waiting, id + run);
	}
	return id;
}

core::JobId
lowest_redelivered(board::Handle const &handle)
{
	board::Locked board(handle.index, LW_SHARED);
	if (!board.stands_for(handle.key))
		return 0;
	core::StateMap const &map = board->map;
	core::JobId lowest = map.count(core::JobState::waiting) > 0 ? lowest_waiting(map) : 0;
	for (int i = static_cast<int>(core::JobState::leased); i < core::job_state_count; i++)
	{
		auto const state = static_cast<core::JobState>(i);
		core::JobId const id = map.count(state) > 0 ? map.find(board::pool(), state, 1) : 0;
		lowest = lowest == 0 || (id != 0 && id < lowest) ? id : lowest;
	}
	return lowest;
}

bool
take_enqueued_at(store::Job const &job, void *argument)
{
	*static_cast<core::Wall *>(argument) = job.enqueued_at;
	return false;
}

core::Wall
oldest_redelivery_of(catalog::Queue const &queue)
{
	board::Handle board;
	if (queue.dropped || !board::try_open(queue, board))
		return core::wall_never;
	core::JobId const id = lowest_redelivered(board);
	if (id == 0)
		return core::wall_never;
	core::Wall enqueued_at = core::wall_always; // should its table be locked
	store::read_jobs(queue.id, id, id, take_enqueued_at, &enqueued_at, store::Wait::no);
	return enqueued_at;
}

} // namespace

core::Wall
oldest_redelivery()
{
	catalog::QueueIds const queues = catalog::all_queues();
	core::Wall oldest = core::wall_never;
	for (int i = 0; i < queues.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		// A copy: the catalog's memory of it may change.
		if (catalog::Queue const *const queue = catalog::find_queue(queues.id[i]); queue != nullptr)
			oldest = std::min(oldest, oldest_redelivery_of(catalog::Queue(*queue)));
	}
	// Both times are of the wall clock, which may be set back.
	return oldest == core::wall_never || oldest == core::wall_always ? oldest : oldest + -retention_min;
}

} // namespace onceq::ledger
