// SPDX-License-Identifier: PostgreSQL
// Proves that a page holds exactly one state and one history mark for each of its 2,048 jobs: at the
// borders of its 64-bit words, and through long random histories beside an array of plain states.
#include "core/page.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace onceq::core::test {
namespace {

// The page as one would write it without a thought for memory.
class NaivePage
{
  public:
	NaivePage(JobState state, bool history) : state_(ids_per_page, state), history_(ids_per_page, history) {}

	JobState
	state(int slot) const
	{
		return state_[static_cast<std::size_t>(slot)];
	}
	bool
	history(int slot) const
	{
		return history_[static_cast<std::size_t>(slot)];
	}

	int
	move(int first, int last, JobState from, JobState to)
	{
		int moved = 0;
		for (auto slot = static_cast<std::size_t>(first); slot <= static_cast<std::size_t>(last); slot++)
		{
			if (state_[slot] != from)
				continue;
			state_[slot] = to;
			if (to == JobState::none)
				history_[slot] = false;
			moved++;
		}
		return moved;
	}

	void
	mark_history(int first, int last)
	{
		std::fill(history_.begin() + first, history_.begin() + last + 1, true);
	}

	int
	find(JobState wanted, int start) const
	{
		for (int slot = start; slot < ids_per_page; slot++)
			if (state(slot) == wanted)
				return slot;
		return -1;
	}

	int
	run_length(int start, int limit) const
	{
		int length = 0;
		while (length < limit && start + length < ids_per_page && state(start + length) == state(start) &&
			   history(start + length) == history(start))
			length++;
		return length;
	}

	int
	count(JobState wanted) const
	{
		return static_cast<int>(std::ranges::count(state_, wanted));
	}

	bool
	is_uniform() const
	{
		return run_length(0, ids_per_page) == ids_per_page;
	}

  private:
	std::vector<JobState> state_;
	std::vector<bool> history_;
};

Page
filled(JobState state, bool history = false)
{
	Page page;
	page.fill(state, history);
	return page;
}

void
expect_same(Page const &page, NaivePage const &naive)
{
	for (int slot = 0; slot < ids_per_page; slot++)
	{
		ASSERT_EQ(page.state(slot), naive.state(slot)) << "slot " << slot;
		ASSERT_EQ(page.history(slot), naive.history(slot)) << "slot " << slot;
	}
	for (int value = 0; value < job_state_count; value++)
		ASSERT_EQ(page.count(static_cast<JobState>(value)), naive.count(static_cast<JobState>(value)));
	ASSERT_EQ(page.is_uniform(), naive.is_uniform());
}

constexpr int last_slot = ids_per_page - 1;

TEST(page, a_filled_page_is_uniform_in_every_state)
{
	for (int value = 0; value < job_state_count; value++)
		for (bool const history : {false, true})
		{
			auto const state = static_cast<JobState>(value);
			Page const page = filled(state, history);
			expect_same(page, NaivePage(state, history));
			EXPECT_TRUE(page.is_uniform());
		}
}

TEST(page, moves_exactly_the_range_whatever_its_borders)
{
	constexpr std::array<int, 12> borders = {0, 1, 62, 63, 64, 65, 127, 128, 1000, 1984, last_slot - 1, last_slot};
	for (int const first : borders)
		for (int const last : borders)
		{
			if (last < first)
				continue;
			Page page = filled(JobState::none);
			NaivePage naive(JobState::none, false);
			EXPECT_EQ(page.move(first, last, JobState::none, ready_at(9)), last - first + 1);
			naive.move(first, last, JobState::none, ready_at(9));
			expect_same(page, naive);
		}
}

TEST(page, moves_only_jobs_in_the_state_named)
{
	Page page = filled(JobState::waiting);
	EXPECT_EQ(page.move(0, last_slot, JobState::leased, JobState::none), 0);
	EXPECT_EQ(page.move(10, 20, JobState::waiting, JobState::leased), 11);
	EXPECT_EQ(page.move(0, last_slot, JobState::leased, JobState::none), 11);
	EXPECT_EQ(page.count(JobState::waiting), ids_per_page - 11);
	EXPECT_EQ(page.count(JobState::none), 11);
}

TEST(page, every_state_can_become_every_other)
{
	for (int from = 0; from < job_state_count; from++)
		for (int to = 0; to < job_state_count; to++)
		{
			Page page = filled(static_cast<JobState>(from));
			EXPECT_EQ(page.move(63, 64, static_cast<JobState>(from), static_cast<JobState>(to)), 2);
			EXPECT_EQ(page.state(62), static_cast<JobState>(from));
			EXPECT_EQ(page.state(63), static_cast<JobState>(to));
			EXPECT_EQ(page.state(64), static_cast<JobState>(to));
			EXPECT_EQ(page.state(65), static_cast<JobState>(from));
			EXPECT_EQ(page.is_uniform(), from == to);
		}
}

TEST(page, what_has_ended_has_no_history)
{
	Page page = filled(ready_at(0));
	page.mark_history(0, 100);
	page.move(50, 60, ready_at(0), JobState::none);
	EXPECT_TRUE(page.history(49));
	EXPECT_FALSE(page.history(50));
	EXPECT_FALSE(page.history(60));
	EXPECT_TRUE(page.history(61));
}

TEST(page, jobs_alike_but_for_their_history_are_not_uniform)
{
	Page page = filled(ready_at(3));
	page.mark_history(last_slot, last_slot);
	EXPECT_FALSE(page.is_uniform());
	page.mark_history(0, last_slot);
	EXPECT_TRUE(page.is_uniform());
}

TEST(page, finds_the_first_at_or_after_the_start)
{
	Page page = filled(JobState::none);
	for (int const slot : {0, 63, 64, last_slot})
		page.move(slot, slot, JobState::none, JobState::waiting);
	EXPECT_EQ(page.find(JobState::waiting, 0), 0);
	EXPECT_EQ(page.find(JobState::waiting, 1), 63);
	EXPECT_EQ(page.find(JobState::waiting, 64), 64);
	EXPECT_EQ(page.find(JobState::waiting, 65), last_slot);
	EXPECT_EQ(page.find(JobState::waiting, last_slot), last_slot);
	EXPECT_EQ(page.find(JobState::waiting, ids_per_page), -1);
	EXPECT_EQ(page.find(JobState::leased, 0), -1);
}

TEST(page, a_run_ends_at_another_state_another_mark_the_limit_and_the_page)
{
	Page page = filled(ready_at(0));
	EXPECT_EQ(page.run_length(0, ids_per_page), ids_per_page);
	EXPECT_EQ(page.run_length(0, 64), 64);
	EXPECT_EQ(page.run_length(1, 0), 0);
	EXPECT_EQ(page.run_length(last_slot, 100), 1);
	page.move(200, 200, ready_at(0), ready_at(1));
	EXPECT_EQ(page.run_length(0, ids_per_page), 200);
	EXPECT_EQ(page.run_length(200, ids_per_page), 1);
	page.mark_history(128, 130);
	EXPECT_EQ(page.run_length(0, ids_per_page), 128);
	EXPECT_EQ(page.run_length(128, ids_per_page), 3);
	EXPECT_EQ(page.run_length(131, ids_per_page), 69);
}

TEST(page, agrees_with_an_array_of_states_through_random_moves)
{
	Dice dice(20'261'122);
	Page page = filled(JobState::none);
	NaivePage naive(JobState::none, false);
	for (int step = 0; step < 60'000; step++)
	{
		// Mostly short ranges and few states, so that runs of alike jobs appear and vanish.
		int const first = static_cast<int>(dice.below(ids_per_page));
		int const last = std::min<int>(last_slot, first + static_cast<int>(dice.below(dice.chance(20) ? 2048 : 90)));
		auto const from = static_cast<JobState>(dice.below(dice.chance(10) ? job_state_count : 4));
		auto const to = static_cast<JobState>(dice.below(dice.chance(10) ? job_state_count : 4));
		if (dice.chance(10))
		{
			page.mark_history(first, last);
			naive.mark_history(first, last);
		}
		else
			ASSERT_EQ(page.move(first, last, from, to), naive.move(first, last, from, to));

		int const limit = static_cast<int>(dice.below(200));
		ASSERT_EQ(page.find(from, last), naive.find(from, last));
		ASSERT_EQ(page.run_length(first, limit), naive.run_length(first, limit));
		if (step % 100 == 0)
			expect_same(page, naive);
		if (dice.chance(1))
		{
			page.fill(from, dice.chance(50));
			naive = NaivePage(from, page.history(0));
		}
	}
}

} // namespace
} // namespace onceq::core::test
