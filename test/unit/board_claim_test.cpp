// SPDX-License-Identifier: PostgreSQL
// Proves the claim: which jobs in which order, how they are cut into runs, where a lease is full, and
// what settling does with jobs that turn out absent, early or not to be seen.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

namespace onceq::core::test {
namespace {

JobSet
set_of(std::initializer_list<int> jobs)
{
	JobSet set{};
	for (int const job : jobs)
		set.add(job);
	return set;
}

TEST(board_claim, highest_priority_first_and_in_order_of_ids_within)
{
	Stand stand;
	for (int const priority : {0, 9, 4, 9, 0, 5})
		stand.enqueue(2, priority);
	EXPECT_EQ(stand.claim(12).ids, (std::vector<JobId>{3, 4, 7, 8, 11, 12, 5, 6, 1, 2, 9, 10}));
}

TEST(board_claim, takes_no_more_than_asked)
{
	Stand stand;
	stand.enqueue(100);
	EXPECT_EQ(stand.claim(1).ids, std::vector<JobId>{1});
	EXPECT_EQ(stand.claim(30).ids, ids_between(2, 31));
	EXPECT_TRUE(stand.claim(0).ids.empty());
	EXPECT_EQ(stand.claim(1000).ids, ids_between(32, 100));
	EXPECT_TRUE(stand.claim(10).ids.empty());
	EXPECT_EQ(stand.count(JobState::leased), 100);
}

TEST(board_claim, nothing_ready_is_no_refusal)
{
	Stand stand;
	Claimed const claimed = stand.take_ready(5);
	EXPECT_TRUE(claimed.ids.empty());
	EXPECT_EQ(claimed.refusal, Refusal::none);
	EXPECT_EQ(stand.table().in_use(), 0U);
}

TEST(board_claim, finds_what_becomes_ready_below_where_it_looked_before)
{
	Stand stand;
	Reservation const early = reserve(stand.board, stand.pool(), 1);
	stand.enqueue(5);
	stand.claim(5);
	EXPECT_TRUE(stand.claim(1).ids.empty());
	publish(stand.board, stand.pool(), early.first, early.first, 0, wall_always);
	EXPECT_EQ(stand.claim(1).ids, std::vector<JobId>{early.first});
}

TEST(board_claim, a_run_ends_at_a_page_a_segment_and_a_gap)
{
	Stand stand(64, 8, ids_per_segment - ids_per_page - 2);
	stand.enqueue(ids_per_page + 10);
	// One of them is taken by maintenance: a gap.
	Refusal refusal = Refusal::none;
	seize_next(stand.board, stand.pool(), ready_at(0), ids_per_segment - 5, ids_per_segment - 5, refusal);
	std::vector<std::pair<JobId, JobId>> runs;
	while (true)
	{
		Claimed const claimed = stand.claim(1000);
		if (claimed.ids.empty())
			break;
		for (int index = 0; index < claimed.lease->run_count; index++)
		{
			LeasedIds const run = run_at(stand.pool(), *claimed.lease, index);
			runs.emplace_back(run.first, run.last);
		}
	}
	constexpr JobId page = ids_per_segment - ids_per_page;
	constexpr JobId end = ids_per_segment;
	EXPECT_EQ(runs, (std::vector<std::pair<JobId, JobId>>{{page - 2, page - 1},
														  {page, page + 997},
														  {page + 998, page + 1997},
														  {page + 1998, end - 6},
														  {end - 4, end - 1},
														  {end, end + 7}}));
}

TEST(board_claim, a_job_with_a_history_has_a_run_of_its_own)
{
	Stand stand;
	stand.enqueue(10);
	Claimed const failed = stand.claim(10);
	JobSet const some = set_of({3, 4, 7});
	ASSERT_TRUE(pin(*failed.lease, failed.token, some));
	end(stand.board, stand.pool(), stand.table(), *failed.lease, some, Ending::failed, wall_always);
	give_back(stand.board, stand.pool(), stand.table(), *failed.lease, failed.lease->held);
	Claimed const again = stand.claim(10);
	EXPECT_EQ(again.ids, ids_between(1, 10));
	ASSERT_EQ(again.lease->run_count, 6); // 1-3, 4, 5, 6-7, 8, 9-10
	for (int index : {1, 2, 4})
		EXPECT_EQ(run_at(stand.pool(), *again.lease, index).first, run_at(stand.pool(), *again.lease, index).last);
}

TEST(board_claim, a_lease_holds_at_most_so_many_jobs)
{
	Stand stand;
	stand.enqueue(3000);
	Claimed const claimed = stand.claim(3000);
	EXPECT_EQ(claimed.ids, ids_between(1, lease_jobs_max));
	EXPECT_EQ(claimed.refusal, Refusal::none);
	EXPECT_EQ(stand.count(JobState::leased), lease_jobs_max);
	EXPECT_EQ(stand.claim(3000).ids.front(), lease_jobs_max + 1);
}

TEST(board_claim, a_full_lease_leaves_a_page_that_is_not_stored_as_it_is)
{
	Stand stand(64, 8, ids_per_page);
	stand.enqueue(2 * ids_per_page);
	std::uint32_t const before = stand.pool().in_use();
	Claimed claimed = stand.claim(lease_jobs_max);
	EXPECT_EQ(stand.pool().in_use(), before + 1);
	Refusal refusal = Refusal::none;
	EXPECT_EQ(take(stand.board, stand.pool(), *claimed.lease, 5, refusal), 0);
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.all());
	EXPECT_EQ(stand.pool().in_use(), before);
}

// Every other job ready, so that every job is a run.
void
enqueue_scattered(Stand &stand, int count)
{
	for (int i = 0; i < count; i++)
	{
		Reservation const got = reserve(stand.board, stand.pool(), 2);
		publish(stand.board, stand.pool(), got.first, got.first, 0, wall_always);
		abandon(stand.board, stand.pool(), got.first + 1, got.first + 1);
	}
}

TEST(board_claim, runs_beyond_the_slot_go_to_a_frame_and_come_back)
{
	Stand stand;
	enqueue_scattered(stand, 100);
	std::uint32_t const before = stand.pool().in_use();
	Claimed const inline_only = stand.claim(lease_runs_inline);
	EXPECT_EQ(inline_only.lease->overflow, no_frame);
	Claimed const overflowing = stand.claim(lease_runs_inline + 1);
	EXPECT_NE(overflowing.lease->overflow, no_frame);
	EXPECT_EQ(overflowing.ids.size(), lease_runs_inline + 1U);
	EXPECT_EQ(stand.pool().in_use(), before + 1);
	EXPECT_TRUE(stand.finish(overflowing));
	EXPECT_EQ(stand.pool().in_use(), before);
	EXPECT_TRUE(stand.finish(inline_only));
}

TEST(board_claim, a_lease_holds_at_most_so_many_runs)
{
	Stand stand;
	enqueue_scattered(stand, lease_runs_max + 10);
	Claimed const claimed = stand.claim(lease_jobs_max);
	EXPECT_EQ(claimed.ids.size(), static_cast<std::size_t>(lease_runs_max));
	EXPECT_EQ(claimed.ids.back(), 2 * lease_runs_max - 1);
	EXPECT_EQ(stand.claim(lease_jobs_max).ids.size(), 10U);
}

TEST(board_claim, an_abort_before_the_rows_are_returned_puts_all_back_uncounted)
{
	Stand stand;
	stand.enqueue(10, 2);
	Claimed const claimed = stand.take_ready(6);
	EXPECT_EQ(claimed.lease->state.load(), LeaseState::provisional);
	EXPECT_FALSE(may_expire(*claimed.lease, monotonic_never));
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.lease->held);
	EXPECT_EQ(stand.table().in_use(), 0U);
	EXPECT_EQ(stand.count(ready_at(2)), 10);
	EXPECT_FALSE(stand.board.map.history(stand.pool(), 1));
	EXPECT_EQ(stand.board.counters.delivered, 0);
	EXPECT_EQ(stand.claim(10).ids, ids_between(1, 10));
}

TEST(board_claim, settling_sorts_out_what_cannot_be_delivered)
{
	Stand stand;
	stand.enqueue(8, 6);
	Claimed const claimed = stand.take_ready(8);
	Findings const findings{set_of({0}), set_of({2, 3}), set_of({5}), noon + 50};
	settle(stand.board, stand.pool(), *claimed.lease, findings);
	hold(stand.board, *claimed.lease, Monotonic{500});
	EXPECT_EQ(stand.state(1), JobState::none);
	EXPECT_EQ(stand.state(2), JobState::leased);
	EXPECT_EQ(stand.state(3), JobState::waiting);
	EXPECT_EQ(stand.state(4), JobState::waiting);
	EXPECT_EQ(stand.state(6), ready_at(6));
	EXPECT_EQ(stand.board.earliest_due, noon + 50);
	EXPECT_EQ(claimed.lease->held, set_of({1, 4, 6, 7}));
	EXPECT_EQ(claimed.lease->state.load(), LeaseState::held);
	EXPECT_EQ(claimed.lease->deadline.load(), 500);
	EXPECT_EQ(stand.board.counters.delivered, 4);
	// What went back is found again, by the lowest id; what was delivered ends as usual.
	EXPECT_EQ(stand.claim(10).ids, std::vector<JobId>{6});
	EXPECT_FALSE(may_end(*claimed.lease, claimed.token, claimed.all()));
	EXPECT_TRUE(stand.finish(claimed));
	EXPECT_EQ(stand.count(JobState::waiting), 2);
}

TEST(board_claim, a_job_found_early_is_ready_if_the_watermark_rose_meanwhile)
{
	for (Wall const now : {noon + 49, noon + 50})
	{
		Stand stand;
		stand.enqueue(2, 6);
		Claimed const claimed = stand.take_ready(2);
		advance_watermark(stand.board, now); // and the look passed over it: it is leased
		finish_promotion(stand.board, now);
		settle(stand.board, stand.pool(), *claimed.lease, Findings{{}, claimed.all(), {}, noon + 50});
		EXPECT_EQ(stand.state(1), now < noon + 50 ? JobState::waiting : ready_at(6));
		EXPECT_EQ(stand.claim(9).ids.size(), now < noon + 50 ? 0U : 2U);
	}
}

TEST(board_claim, a_claim_of_which_nothing_remains_is_given_back_whole)
{
	Stand stand;
	stand.enqueue(3);
	Claimed const claimed = stand.take_ready(3);
	settle(stand.board, stand.pool(), *claimed.lease, Findings{claimed.all(), {}, {}, wall_never});
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.lease->held);
	EXPECT_EQ(stand.table().in_use(), 0U);
	EXPECT_EQ(stand.count(JobState::leased), 0);
	EXPECT_EQ(stand.count(ready_at(0)), 0);
}

TEST(board_claim, a_queue_has_at_most_so_many_leases)
{
	Stand stand(64, 8);
	stand.leases_max = 2;
	stand.enqueue(10);
	Claimed const first = stand.claim(1);
	Claimed const second = stand.claim(1);
	EXPECT_EQ(stand.board.leases, 2);
	EXPECT_EQ(stand.claim(1).lease, nullptr);
	EXPECT_TRUE(stand.finish(first));
	EXPECT_EQ(stand.board.leases, 1);
	EXPECT_EQ(stand.claim(1).ids, std::vector<JobId>{3});
	EXPECT_TRUE(stand.expire(*second.lease, Monotonic{100}));
	EXPECT_EQ(stand.board.leases, 1);
	EXPECT_EQ(stand.claim(1).ids, std::vector<JobId>{2});
}

TEST(board_claim, a_full_table_of_leases_is_no_lease_of_the_queue)
{
	Stand stand(64, 1);
	stand.enqueue(2);
	stand.claim(1);
	EXPECT_EQ(stand.claim(1).lease, nullptr);
	EXPECT_EQ(stand.board.leases, 1);
}

TEST(board_claim, two_claims_share_no_job)
{
	Stand stand(256, 64);
	Dice dice(77);
	for (int i = 0; i < 50; i++)
		stand.enqueue(static_cast<int>(dice.between(1, 60)), static_cast<int>(dice.below(10)));
	std::vector<JobId> all;
	for (int i = 0; i < 60; i++)
		for (JobId const id : stand.claim(static_cast<int>(dice.between(1, 40))).ids)
			all.push_back(id);
	std::ranges::sort(all);
	EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
	EXPECT_EQ(stand.count(JobState::leased), static_cast<std::int64_t>(all.size()));
}

} // namespace
} // namespace onceq::core::test
