// SPDX-License-Identifier: PostgreSQL
// Proves that what was in hand when the server failed comes back a part at a time, each job once, and
// that nothing else has to wait for it.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <set>

namespace onceq::core::test {
namespace {

constexpr Monotonic start{500};
constexpr Microseconds span = 64'000;

// Makes the steps up to this one as the worker does, and returns what it let out.
std::vector<JobId>
let_out(Stand &stand, int step)
{
	std::vector<JobId> ids;
	Spread const then = stand.board.spread;
	for (JobId from = then.first; from != 0;)
	{
		HeldBack const next = next_held_back(stand.board, stand.pool(), from, step);
		if (next.id != 0 && promote(stand.board, stand.pool(), next.id, 0))
			ids.push_back(next.id);
		from = next.next;
	}
	finish_spread_step(stand.board, then, step);
	return ids;
}

TEST(board_spread, every_job_comes_back_once_and_never_many_at_once)
{
	Stand stand;
	std::vector<JobId> const ids = stand.enqueue(1000);
	EXPECT_EQ(hold_back(stand.board, stand.pool(), span, start), 1000);
	EXPECT_EQ(ready_count(stand.board), 0);

	std::set<JobId> seen;
	std::size_t most = 0;
	for (int step = 1; step <= spread_steps; step++)
	{
		EXPECT_EQ(spread_step(stand.board.spread, start + step * span / spread_steps), step);
		std::vector<JobId> const out = let_out(stand, step);
		most = std::max(most, out.size());
		seen.insert(out.begin(), out.end());
	}
	EXPECT_EQ(seen, std::set<JobId>(ids.begin(), ids.end()));
	EXPECT_LT(most, 40U);
	EXPECT_EQ(ready_count(stand.board), 1000);
	EXPECT_FALSE(may_be_held_back(stand.board, ids[0]));
	EXPECT_TRUE(let_out(stand, spread_steps).empty());
}

TEST(board_spread, neighbours_come_apart)
{
	Stand stand;
	stand.enqueue(64);
	hold_back(stand.board, stand.pool(), span, start);
	for (int step = 1; step <= spread_steps; step++)
		EXPECT_LE(let_out(stand, step).size(), 3U);
}

TEST(board_spread, only_the_first_jobs_of_each_priority_are_held_back)
{
	Stand stand;
	stand.enqueue(20'000);
	std::vector<JobId> const urgent = stand.enqueue(10, 9);
	EXPECT_EQ(hold_back(stand.board, stand.pool(), span, start), 4096 + 10);
	EXPECT_EQ(stand.board.map.count(ready_at(0)), 20'000 - 4096);
	EXPECT_EQ(stand.board.map.count(ready_at(9)), 0);
	EXPECT_TRUE(may_be_held_back(stand.board, urgent[0]));
	EXPECT_GT(stand.board.map.find(stand.pool(), ready_at(0), 0), 4096);
}

TEST(board_spread, no_span_holds_nothing_back)
{
	Stand stand;
	stand.enqueue(10);
	EXPECT_EQ(hold_back(stand.board, stand.pool(), 0, start), 0);
	EXPECT_EQ(ready_count(stand.board), 10);
}

TEST(board_spread, holds_back_as_many_as_there_is_memory_for)
{
	Stand stand(16);
	stand.enqueue(8 * ids_per_page);
	std::uint32_t const used = stand.pool().in_use();
	hold_back(stand.board, stand.pool(), span, start);
	EXPECT_LE(stand.pool().in_use(), std::max(used, 12U));
	EXPECT_EQ(ready_count(stand.board) + stand.board.map.count(JobState::waiting), 8 * ids_per_page);
}

TEST(board_spread, a_job_that_comes_back_after_its_step_is_let_out_yet)
{
	Stand stand;
	std::vector<JobId> const ids = stand.enqueue(100);
	hold_back(stand.board, stand.pool(), span, start);
	Refusal refusal;
	Seized const seized = seize_next(stand.board, stand.pool(), JobState::waiting, 1, ids[0], refusal);
	ASSERT_EQ(seized.first, ids[0]);

	// Given back between the step that passed it over and the end of that step.
	Spread const then = stand.board.spread;
	restore_seized(stand.board, stand.pool(), seized);
	finish_spread_step(stand.board, then, spread_steps);
	EXPECT_TRUE(may_be_held_back(stand.board, ids[0]));
	EXPECT_EQ(let_out(stand, spread_steps).size(), 100U);

	// And after it.
	stand.board.map.move(stand.pool(), ids[0], ids[0], ready_at(0), JobState::seized);
	restore_seized(stand.board, stand.pool(), seized);
	EXPECT_EQ(let_out(stand, spread_steps).size(), 1U);
}

} // namespace
} // namespace onceq::core::test
