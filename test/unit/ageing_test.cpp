// SPDX-License-Identifier: PostgreSQL
// Proves that waiting counts: what claims remember of waiting times stays within its bounds, compared with
// times kept for each job; the order of claims follows the rule; and beside a stream of urgent jobs that never
// ends a job of the lowest priority is delivered in time, which without ageing it never is.
#include "core/ageing.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace onceq::core::test {
namespace {

constexpr Microseconds second = microseconds_per_second;
constexpr Microseconds step = 60 * second;

Monotonic
at(Microseconds span)
{
	return Monotonic{1000 * second + span};
}

// Ids in the order in which a claim takes them.
std::vector<JobId>
claim_ageing(Stand &stand, int count, Monotonic now)
{
	Claimed claimed;
	claimed.lease = stand.open();
	int const taken = take(stand.board, stand.pool(), *claimed.lease, count, claimed.refusal, {step, now});
	LeaseRuns const runs = runs_of(stand.pool(), *claimed.lease);
	for (int i = 0; i < runs.run_count; i++)
		for (JobId id = runs.at(i).first; id <= runs.at(i).last; id++)
			claimed.ids.push_back(id);
	EXPECT_EQ(static_cast<int>(claimed.ids.size()), taken);
	if (taken == 0)
		close_lease(stand.board, stand.pool(), stand.table(), *claimed.lease);
	else
		end(stand.board, stand.pool(), stand.table(), *claimed.lease, JobSet::first(taken), Ending::succeeded,
			wall_always);
	return claimed.ids;
}

TEST(ageing, what_was_found_together_goes_by_priority)
{
	Stand stand;
	for (int const priority : {0, 9, 4, 9, 0, 5})
		stand.enqueue(2, priority);
	EXPECT_EQ(claim_ageing(stand, 6, at(0)), (std::vector<JobId>{3, 4, 7, 8, 11, 12}));
	EXPECT_EQ(claim_ageing(stand, 6, at(100 * step)), (std::vector<JobId>{5, 6, 1, 2, 9, 10}));
}

TEST(ageing, each_step_of_waiting_counts_as_a_priority)
{
	for (int const lead : {1, 4, 9})
		for (bool const over : {false, true})
		{
			Stand stand;
			stand.enqueue(1, 0); // 1
			stand.enqueue(1, 9); // 2
			EXPECT_EQ(claim_ageing(stand, 1, at(0)), std::vector<JobId>{2});
			stand.enqueue(1, lead); // 3
			Monotonic const now = at(lead * step + (over ? 1 : -1));
			EXPECT_EQ(claim_ageing(stand, 1, now), std::vector<JobId>{over ? 1 : 3}) << lead << over;
		}
}

TEST(ageing, equally_urgent_ones_go_by_priority)
{
	Stand stand;
	stand.enqueue(2, 0);
	EXPECT_EQ(claim_ageing(stand, 1, at(0)), std::vector<JobId>{1});
	stand.enqueue(1, 1);
	EXPECT_EQ(claim_ageing(stand, 1, at(step)), std::vector<JobId>{3});
}

TEST(ageing, first_in_first_out_within_a_priority)
{
	Stand stand;
	std::mt19937 dice(5);
	JobId last[priority_max + 1] = {};
	Monotonic now = at(0);
	for (int i = 0; i < 500; i++)
	{
		std::vector<int> priority(static_cast<std::size_t>(stand.board.next_id) + 8);
		stand.enqueue(1 + static_cast<int>(dice() % 4), static_cast<int>(dice() % 10));
		now = now + dice() % step;
		LeaseSlot *const lease = stand.open();
		Refusal refusal;
		int const taken = take(stand.board, stand.pool(), *lease, 2, refusal, {step, now});
		ASSERT_GT(taken, 0);
		LeaseRuns const runs = runs_of(stand.pool(), *lease);
		for (int run = 0; run < runs.run_count; run++)
		{
			LeasedIds const ids = runs.at(run);
			EXPECT_LT(last[ids.priority], ids.first);
			last[ids.priority] = ids.last;
		}
		end(stand.board, stand.pool(), stand.table(), *lease, JobSet::first(taken), Ending::succeeded, wall_always);
	}
}

// A second passes with each claim, and brings two new jobs of the highest priority for the one that is taken.
int
claims_until_the_lowest(Microseconds ageing_step, int claims_max)
{
	Stand stand(4096);
	stand.enqueue(1, 0);
	for (int i = 1; i <= claims_max; i++)
	{
		stand.enqueue(2, 9);
		LeaseSlot *const lease = stand.open();
		Refusal refusal;
		EXPECT_EQ(take(stand.board, stand.pool(), *lease, 1, refusal, {ageing_step, at(i * second)}), 1);
		bool const lowest = runs_of(stand.pool(), *lease).at(0).first == 1;
		end(stand.board, stand.pool(), stand.table(), *lease, JobSet::first(1), Ending::succeeded, wall_always);
		if (lowest)
			return i;
	}
	return 0;
}

TEST(ageing, nobody_starves)
{
	constexpr int waits = 9 * step / second;
	EXPECT_EQ(claims_until_the_lowest(0, 10 * waits), 0);
	// Half of the others wait as well, and come first as long as they were found before it had its nine steps.
	int const claims = claims_until_the_lowest(step, 10 * waits);
	EXPECT_GT(claims, waits);
	EXPECT_LE(claims, 2 * waits + 2 * waits / 2 + 2 * step / second);
}

TEST(ageing, a_purge_leaves_no_trace)
{
	Stand stand;
	stand.enqueue(100, 0);
	stand.enqueue(2, 9);
	claim_ageing(stand, 1, at(0));
	Refusal refusal;
	Seized const seized = seize_next(stand.board, stand.pool(), ready_at(0), 1, 100, refusal);
	finish_seized(stand.board, stand.pool(), seized);
	EXPECT_EQ(claim_ageing(stand, 1, at(step)), std::vector<JobId>{102});
	stand.enqueue(1, 0); // 103
	stand.enqueue(1, 9); // 104
	EXPECT_EQ(claim_ageing(stand, 1, at(20 * step)), std::vector<JobId>{104});
}

TEST(ageing, waiting_times_are_within_bounds)
{
	std::mt19937 dice(11);
	for (int round = 0; round < 200; round++)
	{
		WaitingTimes times;
		times.begin();
		std::deque<Monotonic> exact;
		Monotonic now = at(0);
		Microseconds const grain = 15 * second;
		int const rush = 1 + static_cast<int>(dice() % 10);
		for (int i = 0; i < 500; i++)
		{
			now = now + dice() % (dice() % 20 == 0 ? 20 * step : 10 * second);
			int const made = static_cast<int>(dice() % static_cast<unsigned>(rush));
			exact.insert(exact.end(), static_cast<std::size_t>(made), now);
			times.find(static_cast<std::int64_t>(exact.size()), now, grain);
			int wanted = static_cast<int>(dice() % 6);
			while (wanted > 0 && !exact.empty())
			{
				Microseconds const age = now.us - exact.front().us;
				Microseconds const seems = now.us - times.next_since().us;
				ASSERT_LE(seems, age + grain);
				ASSERT_GE(seems, age / 3 - grain);
				int const taken = static_cast<int>(std::min<std::int64_t>(wanted, times.next_count()));
				times.take(taken);
				exact.erase(exact.begin(), exact.begin() + taken);
				wanted -= taken;
			}
		}
	}
}

} // namespace
} // namespace onceq::core::test
