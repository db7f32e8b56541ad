// SPDX-License-Identifier: PostgreSQL
// Proves that memory follows the active part of a queue and not its backlog; that a used-up pool
// refuses, and changes nothing; that no commit and no abort ever needs memory; and that a pool which
// producers have filled can be emptied.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <tuple>

namespace onceq::core::test {
namespace {

// ---- the backlog

TEST(board_memory, ten_million_ready_jobs_need_a_few_frames_and_none_when_drained)
{
	constexpr int jobs = 10'000'000;
	constexpr std::uint32_t few = 40;
	Stand stand(1024);
	std::uint32_t most = 0;
	for (int i = 0; i < jobs / 1000; i++)
	{
		ASSERT_EQ(stand.enqueue(1000).size(), 1000U);
		most = std::max(most, stand.pool().in_use());
	}
	EXPECT_LE(most, few);
	EXPECT_EQ(stand.count(ready_at(0)), jobs);
	std::int64_t delivered = 0;
	for (;;)
	{
		Claimed const claimed = stand.claim(1000);
		if (claimed.ids.empty())
			break;
		delivered += static_cast<std::int64_t>(claimed.ids.size());
		most = std::max(most, stand.pool().in_use());
		ASSERT_TRUE(stand.finish(claimed));
	}
	EXPECT_EQ(delivered, jobs);
	EXPECT_LE(most, few);
	SegmentNumber const open = segment_of(stand.board.next_id);
	EXPECT_LE(stand.pool().in_use(), 3U + static_cast<std::uint32_t>(open));
	for (SegmentNumber segment = 0; segment < open; segment++)
	{
		ASSERT_TRUE(is_drained(stand.board, stand.pool(), segment));
		stand.board.map.forget(stand.pool(), segment);
	}
	EXPECT_LE(stand.pool().in_use(), 3U);
}

TEST(board_memory, waiting_and_failed_backlogs_are_not_stored_either)
{
	Stand stand(64, 8, ids_per_segment);
	stand.enqueue(10 * ids_per_page, 0, noon + 10);
	EXPECT_EQ(stand.count(JobState::waiting), 10 * ids_per_page);
	EXPECT_EQ(stand.pool().in_use(), 3U);
	stand.enqueue(2 * ids_per_page);
	for (int i = 0; i < 4; i++)
		ASSERT_TRUE(stand.finish(stand.claim(1024), Ending::failed, noon + 20));
	EXPECT_EQ(stand.count(JobState::waiting), 12 * ids_per_page);
	EXPECT_EQ(stand.pool().in_use(), 3U);
}

TEST(board_memory, a_page_is_stored_while_any_of_its_jobs_is_in_somebodys_hands)
{
	Stand stand(64, 8, ids_per_segment);
	Reservation const got = reserve(stand.board, stand.pool(), ids_per_page);
	EXPECT_EQ(stand.pool().in_use(), 4U);
	publish(stand.board, stand.pool(), got.first, got.first + ids_per_page - 1, 0, wall_always);
	EXPECT_EQ(stand.pool().in_use(), 3U);
	Claimed const first = stand.claim(1024);
	Claimed const second = stand.claim(1024);
	EXPECT_EQ(stand.pool().in_use(), 4U);
	ASSERT_TRUE(stand.finish(first));
	EXPECT_EQ(stand.pool().in_use(), 4U);
	ASSERT_TRUE(stand.finish(second));
	EXPECT_EQ(stand.pool().in_use(), 3U);
}

// ---- a used-up pool refuses

// All of a board and of a lease that a refused step must leave as it is.
auto
everything_of(Stand &stand, LeaseSlot const *lease, JobId last)
{
	std::vector<std::tuple<JobState, bool>> jobs;
	for (JobId id = 0; id <= last; id++)
		jobs.emplace_back(stand.state(id), stand.board.map.history(stand.pool(), id));
	std::vector<JobId> leased;
	if (lease != nullptr)
		for_each_run(stand.pool(), *lease, lease->held, [&](LeasedIds const &ids) {
			for (JobId id = ids.first; id <= ids.last; id++)
				leased.push_back(id);
		});
	Board const &board = stand.board;
	return std::make_tuple(jobs, leased, board.next_id, board.watermark, board.promoted_to, board.earliest_due,
						   board.counters.enqueued, stand.table().in_use());
}

TEST(board_memory, an_enqueue_gets_what_fits_or_a_refusal)
{
	for (std::uint32_t frames = 0; frames < 20; frames++)
	{
		Stand stand(frames, 1, 1000);
		auto const before = everything_of(stand, nullptr, 3 * ids_per_page);
		Reservation const got = reserve(stand.board, stand.pool(), 8 * ids_per_page);
		if (frames < 4)
		{
			EXPECT_EQ(got.count, 0);
			EXPECT_EQ(got.refusal, Refusal::no_memory);
			EXPECT_EQ(everything_of(stand, nullptr, 3 * ids_per_page), before);
			continue;
		}
		ASSERT_GT(got.count, 0) << frames;
		EXPECT_EQ(got.first, 1000);
		EXPECT_EQ(stand.count(JobState::reserved), got.count);
		EXPECT_EQ(stand.board.next_id, 1000 + got.count);
		EXPECT_TRUE(got.count == 8 * ids_per_page || (got.first + got.count) % ids_per_page == 0);
		publish(stand.board, stand.pool(), got.first, got.first + got.count - 1, 0, wall_always);
		EXPECT_EQ(stand.count(ready_at(0)), got.count);
	}
}

TEST(board_memory, a_claim_gets_what_fits_or_a_refusal)
{
	for (std::uint32_t frames = 0; frames < 4; frames++)
	{
		Stand stand(64, 8, ids_per_segment);
		stand.enqueue(6 * ids_per_page);
		stand.use_up_frames(frames);
		auto const before = everything_of(stand, nullptr, 0);
		std::size_t total = 0;
		for (;;)
		{
			Claimed const claimed = stand.take_ready(1024);
			total += claimed.ids.size();
			if (claimed.ids.size() == 1024)
				continue;
			EXPECT_TRUE(claimed.ids.empty());
			EXPECT_EQ(claimed.refusal, Refusal::no_memory);
			break;
		}
		EXPECT_EQ(total, static_cast<std::size_t>(frames) * ids_per_page);
		EXPECT_EQ(everything_of(stand, nullptr, 0) == before, frames == 0);
		EXPECT_EQ(stand.count(JobState::leased) + stand.count(ready_at(0)), 6 * ids_per_page);
	}
}

TEST(board_memory, a_claim_that_cannot_list_more_runs_delivers_those_it_has)
{
	Stand stand;
	for (int i = 0; i < 20; i++)
	{
		Reservation const got = reserve(stand.board, stand.pool(), 2);
		publish(stand.board, stand.pool(), got.first, got.first, 0, wall_always);
		abandon(stand.board, stand.pool(), got.first + 1, got.first + 1);
	}
	stand.use_up_frames();
	Claimed const claimed = stand.claim(20);
	EXPECT_EQ(claimed.ids.size(), static_cast<std::size_t>(lease_runs_inline));
	EXPECT_EQ(claimed.refusal, Refusal::no_memory) << "there would have been more";
	EXPECT_EQ(stand.count(JobState::leased), lease_runs_inline);
	EXPECT_EQ(stand.count(ready_at(0)), 20 - lease_runs_inline);
	EXPECT_TRUE(stand.finish(claimed));
	EXPECT_EQ(stand.claim(20).ids.front(), 2 * lease_runs_inline + 1);
}

struct Refused
{
	char const *what;
	std::function<bool(Stand &)> try_it; // false: refused
};

TEST(board_memory, what_maintenance_is_refused_changes_nothing)
{
	Refused const cases[] = {
		{"promote", [](Stand &stand) { return promote(stand.board, stand.pool(), ids_per_page + 5, 3); }},
		{"seize",
		 [](Stand &stand) {
			 Refusal refusal = Refusal::none;
			 Seized const seized =
				 seize_next(stand.board, stand.pool(), JobState::waiting, ids_per_page + 5, ids_per_page + 9, refusal);
			 EXPECT_EQ(refusal == Refusal::no_memory, seized.first == 0);
			 return seized.first != 0;
		 }},
		{"place", [](Stand &stand) { return place(stand.board, stand.pool(), 90'000, 90'100, ready_at(0), false); }},
		{"remove", [](Stand &stand) { return remove(stand.board, stand.pool(), ids_per_page + 5, ids_per_page + 6); }},
		{"restore_run",
		 [](Stand &stand) {
			 LeaseSlot *const lease = stand.open();
			 bool const restored =
				 restore_run(stand.board, stand.pool(), *lease, ids_per_page + 5, ids_per_page + 6, 0, 2);
			 if (!restored)
				 close_lease(stand.board, stand.pool(), stand.table(), *lease);
			 return restored;
		 }},
	};
	for (Refused const &one : cases)
	{
		SCOPED_TRACE(one.what);
		Stand stand;
		stand.enqueue(4 * ids_per_page, 0, noon + 10);
		stand.use_up_frames();
		auto const before = everything_of(stand, nullptr, 100'000);
		EXPECT_FALSE(one.try_it(stand));
		EXPECT_EQ(everything_of(stand, nullptr, 100'000), before);
		stand.release_frames();
		EXPECT_TRUE(one.try_it(stand));
		EXPECT_NE(everything_of(stand, nullptr, 100'000), before);
	}
}

// ---- commits and aborts need none

TEST(board_memory, a_producers_commit_and_abort_need_no_memory)
{
	for (Wall const due : {wall_always, noon + 100})
		for (bool const commit : {true, false})
		{
			Stand stand;
			Reservation const got = reserve(stand.board, stand.pool(), 3 * ids_per_page);
			stand.use_up_frames();
			JobId const middle = got.first + 2500;
			publish(stand.board, stand.pool(), got.first, middle, 4, due);
			if (commit)
				publish(stand.board, stand.pool(), middle + 1, got.first + got.count - 1, 5, due);
			else
				abandon(stand.board, stand.pool(), middle + 1, got.first + got.count - 1);
			EXPECT_EQ(stand.count(JobState::reserved), 0);
			EXPECT_EQ(stand.count(JobState::waiting) + stand.count(ready_at(4)) + stand.count(ready_at(5)),
					  commit ? got.count : 2501);
		}
}

TEST(board_memory, no_end_of_a_delivery_needs_memory)
{
	using Finish = std::function<void(Stand &, Claimed const &, JobSet const &)>;
	auto const ending = [](Ending how, Wall due) -> Finish {
		return [=](Stand &stand, Claimed const &claimed, JobSet const &jobs) {
			ASSERT_TRUE(pin(*claimed.lease, claimed.token, jobs));
			end(stand.board, stand.pool(), stand.table(), *claimed.lease, jobs, how, due);
		};
	};
	Finish const all[] = {
		ending(Ending::succeeded, wall_always),
		ending(Ending::dead, wall_always),
		ending(Ending::failed, wall_always),
		ending(Ending::failed, noon + 1),
		[](Stand &stand, Claimed const &claimed, JobSet const &jobs) {
			give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, jobs);
		},
	};
	for (Finish const &finish : all)
	{
		// A whole page leased by two leases, and a lease with many runs, which has a frame.
		Stand stand(64, 8, ids_per_segment);
		stand.enqueue(ids_per_page);
		for (int i = 0; i < 20; i++)
			stand.enqueue(1, i % 2);
		Claimed const leases[] = {stand.claim(1024), stand.claim(1024), stand.claim(1024)};
		ASSERT_NE(leases[0].lease->overflow, no_frame);
		stand.use_up_frames();
		for (Claimed const &claimed : leases)
		{
			JobSet const some = JobSet::first(7);
			finish(stand, claimed, some);
			finish(stand, claimed, claimed.lease->held - some);
		}
		EXPECT_EQ(stand.count(JobState::leased), 0);
		EXPECT_EQ(stand.table().in_use(), 0U);
	}
}

TEST(board_memory, settling_and_its_abort_need_no_memory)
{
	Stand stand(64, 8, ids_per_segment);
	stand.enqueue(ids_per_page);
	Claimed const claimed = stand.take_ready(1024);
	stand.use_up_frames();
	Findings findings{JobSet::first(100), JobSet::first(200) - JobSet::first(100),
					  JobSet::first(300) - JobSet::first(200), noon + 5};
	settle(stand.board, stand.pool(), *claimed.lease, findings);
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.lease->held);
	EXPECT_EQ(stand.count(JobState::leased), 0);
	EXPECT_EQ(stand.count(JobState::waiting), 100);
	EXPECT_EQ(stand.count(ready_at(0)), ids_per_page - 200);
}

TEST(board_memory, the_end_of_a_seizure_needs_no_memory)
{
	for (bool const commit : {true, false})
		for (Wall const due : {wall_always, noon + 5})
		{
			Stand stand(64, 8, ids_per_segment);
			stand.enqueue(2 * ids_per_page, 0, due);
			JobState const state = stand.state(ids_per_segment);
			Refusal refusal = Refusal::none;
			Seized const seized =
				seize_next(stand.board, stand.pool(), state, ids_per_segment, ids_per_segment + 4000, refusal);
			EXPECT_EQ(seized.last - seized.first + 1, ids_per_page);
			stand.use_up_frames();
			if (commit)
				finish_seized(stand.board, stand.pool(), seized);
			else
				restore_seized(stand.board, stand.pool(), seized);
			EXPECT_EQ(stand.count(JobState::seized), 0);
			EXPECT_EQ(stand.count(state), (commit ? 1 : 2) * ids_per_page);
		}
}

// ---- and can be emptied again

TEST(board_memory, a_pool_that_producers_have_filled_can_be_emptied_by_consumers)
{
	for (std::uint32_t const frames : {16U, 64U, 600U})
	{
		// A whole page of ready jobs, which is not stored; behind it pages with a gap, which are.
		Stand stand(frames, 8, ids_per_segment);
		std::size_t enqueued = stand.enqueue(ids_per_page).size();
		for (;;)
		{
			Reservation const got = reserve(stand.board, stand.pool(), ids_per_page);
			if (got.count == 0)
				break;
			publish(stand.board, stand.pool(), got.first, got.first + got.count - 2, 0, wall_always);
			abandon(stand.board, stand.pool(), got.first + got.count - 1, got.first + got.count - 1);
			enqueued += static_cast<std::size_t>(got.count) - 1;
		}
		std::size_t delivered = 0;
		for (;;)
		{
			Claimed const claimed = stand.claim(1000);
			if (claimed.ids.empty())
				break;
			delivered += claimed.ids.size();
			ASSERT_TRUE(stand.finish(claimed));
		}
		EXPECT_EQ(delivered, enqueued) << frames << " frames";
		EXPECT_EQ(stand.pool().in_use(),
				  2U + segment_of(stand.board.next_id)); // directories, and two nodes above them
		EXPECT_EQ(stand.enqueue(1000).size(), 1000U);
	}
}

} // namespace
} // namespace onceq::core::test
