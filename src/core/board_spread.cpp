// SPDX-License-Identifier: PostgreSQL
// Jobs held back after an unclean start.
#include "core/board_moves.hpp"

#include <limits>

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

namespace onceq::core {

namespace {

// Of each priority. More consumers than this are not helped by waiting.
constexpr int held_back_max = 2 * ids_per_page;

constexpr int looks_max = 256; // in one hold of B

// Neighbouring ids, which one claim takes together, come far apart.
constexpr int
step_of(JobId id) noexcept
{
	static_assert(spread_steps == 64);
	return static_cast<int>(static_cast<std::uint64_t>(id) * 0x9E37'79B9'7F4A'7C15 >> 58) + 1;
}

} // namespace

std::int64_t
hold_back(Board &board, FramePool &pool, Microseconds span, Monotonic now) noexcept
{
	std::int64_t held_back = 0;
	Spread spread{std::numeric_limits<JobId>::max(), 0, now, span, 0, 0};
	for (int priority = 0; priority <= priority_max && span > 0; priority++)
	{
		JobId id = board.map.find(pool, ready_at(priority), 0);
		for (int left = held_back_max; id != 0 && left > 0; id = board.map.find(pool, ready_at(priority), id))
		{
			JobId const last = id + board.map.run_length(pool, id, left) - 1;
			// What room there is belongs to producers and consumers first.
			if (board.map.store(pool, id, last, pool.capacity() / 4) < last)
				break;
			int const moved = board.map.move(pool, id, last, ready_at(priority), JobState::waiting);
			spread.first = std::min(spread.first, id);
			spread.last = std::max(spread.last, last);
			held_back += moved;
			left -= moved;
		}
	}
	if (held_back > 0)
		board.spread = spread;
	board.counters.held_back = held_back;
	return held_back;
}

int
spread_step(Spread const &spread, Monotonic now) noexcept
{
	Microseconds const since = now.us - spread.since.us;
	return since >= spread.span ? spread_steps : static_cast<int>(since * spread_steps / spread.span);
}

HeldBack
next_held_back(Board const &board, FramePool &pool, JobId start, int step) noexcept
{
	JobId id = board.map.find(pool, JobState::waiting, std::max(start, board.spread.first));
	for (int looks = 0; looks < looks_max; looks++)
	{
		if (id == 0 || id > board.spread.last)
			return {0, 0};
		if (step_of(id) > board.spread.done && step_of(id) <= step)
			return {id, id + 1};
		id = board.map.find(pool, JobState::waiting, id + 1);
	}
	return {0, id};
}

void
finish_spread_step(Board &board, Spread const &then, int step) noexcept
{
	if (board.spread.returned == then.returned)
		board.spread.done = step;
}

} // namespace onceq::core
