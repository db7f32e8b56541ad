// SPDX-License-Identifier: PostgreSQL
// Proves what maintenance does to a board: taking jobs away from everybody else and putting them back,
// building from the tables, restoring journalled leases, and the end of a segment.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace onceq::core::test {
namespace {

Seized
seize(Stand &stand, JobState state, JobId start, JobId end)
{
	Refusal refusal = Refusal::none;
	Seized const seized = seize_next(stand.board, stand.pool(), state, start, end, refusal);
	EXPECT_EQ(refusal, Refusal::none);
	return seized;
}

// ---- seized

TEST(board_seize, nobody_else_gets_a_seized_job)
{
	Stand stand;
	stand.enqueue(10, 2);
	Seized const seized = seize(stand, ready_at(2), 3, 5);
	EXPECT_EQ(seized.first, 3);
	EXPECT_EQ(seized.last, 5);
	EXPECT_EQ(stand.claim(10).ids, (std::vector<JobId>{1, 2, 6, 7, 8, 9, 10}));
	EXPECT_EQ(seize(stand, ready_at(2), 0, 100).first, 0);
	EXPECT_TRUE(promote(stand.board, stand.pool(), 4, 0));
	EXPECT_EQ(stand.state(4), JobState::seized);
}

TEST(board_seize, takes_jobs_in_the_state_asked_for_only)
{
	Stand stand;
	stand.enqueue(3, 0);
	stand.enqueue(3, 1);
	stand.enqueue(3, 0, noon + 5);
	stand.claim(1); // id 4, of priority 1
	EXPECT_EQ(seize(stand, ready_at(1), 0, 100).first, 5);
	EXPECT_EQ(seize(stand, JobState::waiting, 8, 8).first, 8);
	EXPECT_EQ(seize(stand, JobState::waiting, 0, 6).first, 0);
	EXPECT_EQ(stand.state(4), JobState::leased);
	EXPECT_EQ(stand.state(7), JobState::waiting);
	EXPECT_EQ(stand.state(9), JobState::waiting);
}

TEST(board_seize, at_commit_the_jobs_are_gone_at_abort_they_are_where_they_were)
{
	for (bool const commit : {true, false})
		for (int priority = 0; priority <= priority_max; priority++)
		{
			Stand stand;
			stand.enqueue(6, priority);
			Seized const seized = seize(stand, ready_at(priority), 2, 4);
			EXPECT_EQ(stand.claim(10).ids, (std::vector<JobId>{1, 5, 6}));
			if (commit)
				finish_seized(stand.board, stand.pool(), seized);
			else
				restore_seized(stand.board, stand.pool(), seized);
			EXPECT_EQ(stand.claim(10).ids, commit ? std::vector<JobId>{} : (std::vector<JobId>{2, 3, 4}));
		}
}

TEST(board_seize, a_buried_job_is_gone_or_blocks_its_key)
{
	for (bool const blocks : {true, false})
	{
		Stand stand;
		stand.enqueue(3, 2);
		Seized seized{};
		ASSERT_TRUE(seize_one(stand.board, stand.pool(), 2, seized));
		bury_seized(stand.board, stand.pool(), 2, blocks);
		EXPECT_EQ(stand.state(2), blocks ? JobState::blocked : JobState::none);
		EXPECT_EQ(stand.board.counters.dead, 1);
		EXPECT_EQ(stand.board.counters.cancelled, 0);
		EXPECT_EQ(stand.claim(10).ids, (std::vector<JobId>{1, 3}));
	}
}

TEST(board_seize, a_walk_over_the_queue_takes_every_job_once)
{
	Stand stand(256, 8, ids_per_segment - 3000);
	for (int i = 0; i < 60; i++)
		stand.enqueue(100 + i, i % 3 == 0 ? 0 : i % 10, i % 5 == 0 ? noon + 9 : wall_always);
	std::int64_t const live = stand.board.next_id - (ids_per_segment - 3000);
	std::int64_t total = 0;
	for (int value = 0; value < job_state_count; value++)
	{
		auto const state = static_cast<JobState>(value);
		if (state != JobState::waiting && !is_ready(state))
			continue;
		for (JobId start = 0;;)
		{
			Seized const seized = seize(stand, state, start, stand.board.next_id - 1);
			if (seized.first == 0)
				break;
			ASSERT_EQ(segment_of(seized.first), segment_of(seized.last));
			total += seized.last - seized.first + 1;
			start = seized.last + 1;
		}
	}
	EXPECT_EQ(total, live);
	EXPECT_EQ(stand.count(JobState::seized), live);
	EXPECT_TRUE(stand.claim(1).ids.empty());
}

TEST(board_seize, a_seized_job_keeps_its_history_and_priority)
{
	Stand stand;
	stand.enqueue(2, 7);
	stand.finish(stand.claim(1), Ending::failed);
	ASSERT_TRUE(stand.board.map.history(stand.pool(), 1));
	Seized const seized = seize(stand, ready_at(7), 1, 2);
	EXPECT_EQ(seized.last, 1) << "a run is of one history mark";
	restore_seized(stand.board, stand.pool(), seized);
	EXPECT_EQ(stand.state(1), ready_at(7));
	EXPECT_TRUE(stand.board.map.history(stand.pool(), 1));
}

// ---- one job, by the audit

TEST(board_audit, a_job_in_anybodys_hands_is_not_seized)
{
	Stand stand;
	stand.enqueue(3);
	stand.claim(1);
	Reservation const reserved = reserve(stand.board, stand.pool(), 1);
	seize(stand, ready_at(0), 2, 2);
	for (JobId const id : {JobId{1}, JobId{2}, reserved.first})
	{
		JobState const before = stand.state(id);
		Seized seized{};
		EXPECT_FALSE(seize_one(stand.board, stand.pool(), id, seized)) << before;
		EXPECT_EQ(stand.state(id), before);
	}
	stand.board.phase = BoardPhase::dropped;
	Seized seized{};
	EXPECT_FALSE(seize_one(stand.board, stand.pool(), 3, seized));
}

TEST(board_audit, whatever_the_job_was_it_becomes_what_the_tables_say)
{
	struct Case
	{
		bool live, history;
		Wall due;
		JobState state;
	};
	for (Case const &row : {Case{false, false, wall_always, JobState::none},
							{true, false, wall_always, ready_at(3)},
							{true, true, noon, ready_at(3)},
							{true, true, noon + 1, JobState::waiting}})
		for (JobId const id : {1, 2, 3}) // ready, waiting, none
		{
			Stand stand;
			stand.enqueue(1);
			stand.enqueue(1, 0, noon + 9);
			Reservation const gone = reserve(stand.board, stand.pool(), 1);
			abandon(stand.board, stand.pool(), gone.first, gone.first);
			JobState const before = stand.state(id);
			Seized seized{};
			ASSERT_TRUE(seize_one(stand.board, stand.pool(), id, seized));
			EXPECT_EQ(stand.state(id), JobState::seized);
			EXPECT_EQ(seized.origin, before);
			settle_seized(stand.board, stand.pool(), id, row.live, row.history, 3, row.due);
			EXPECT_EQ(stand.state(id), row.state);
			EXPECT_EQ(stand.board.map.history(stand.pool(), id), row.history);
			EXPECT_LE(stand.board.earliest_due, row.state == JobState::waiting ? row.due : wall_never);
		}
}

TEST(board_audit, an_aborted_audit_leaves_the_job_where_it_was)
{
	Stand stand;
	stand.enqueue(1, 8);
	stand.enqueue(1, 0, noon + 9);
	for (JobId const id : {1, 2, 3})
	{
		JobState const before = stand.state(id);
		Seized seized{};
		ASSERT_TRUE(seize_one(stand.board, stand.pool(), id, seized));
		restore_seized(stand.board, stand.pool(), seized);
		EXPECT_EQ(stand.state(id), before);
	}
	EXPECT_EQ(stand.claim(9).ids, std::vector<JobId>{1});
}

// ---- from the tables

TEST(board_build, what_ended_is_removed_from_what_was_enqueued)
{
	Stand stand;
	ASSERT_TRUE(place(stand.board, stand.pool(), 1, 3 * ids_per_page, ready_at(0), false));
	ASSERT_TRUE(remove(stand.board, stand.pool(), 5, 2 * ids_per_page + 7)); // ends and a whole page
	EXPECT_EQ(stand.count(ready_at(0)), 4 + ids_per_page - 7);
	EXPECT_EQ(stand.state(4), ready_at(0));
	EXPECT_EQ(stand.state(5), JobState::none);
	EXPECT_EQ(stand.state(2 * ids_per_page + 7), JobState::none);
	EXPECT_EQ(stand.state(2 * ids_per_page + 8), ready_at(0));
}

TEST(board_build, removing_whole_pages_needs_no_memory)
{
	Stand stand(64, 8, ids_per_segment);
	stand.enqueue(3 * ids_per_page);
	stand.use_up_frames();
	EXPECT_TRUE(remove(stand.board, stand.pool(), ids_per_segment, ids_per_segment + 2 * ids_per_page - 1));
	EXPECT_EQ(stand.count(ready_at(0)), ids_per_page);
	EXPECT_FALSE(remove(stand.board, stand.pool(), ids_per_segment, ids_per_segment + 2 * ids_per_page));
}

TEST(board_build, a_job_placed_below_all_others_is_claimed_first)
{
	Stand stand;
	stand.enqueue(5);
	Claimed const claimed = stand.claim(2);
	ASSERT_TRUE(stand.finish(claimed));
	ASSERT_TRUE(place(stand.board, stand.pool(), 2, 2, ready_at(0), true));
	EXPECT_EQ(stand.claim(9).ids, (std::vector<JobId>{2, 3, 4, 5}));
}

TEST(board_build, removing_what_is_not_there_needs_nothing)
{
	Stand stand;
	EXPECT_TRUE(remove(stand.board, stand.pool(), 1, ids_per_segment - 1));
	EXPECT_EQ(stand.pool().in_use(), 0U);
}

TEST(board_build, removes_jobs_in_every_state_over_every_kind_of_page)
{
	Stand stand(256, 8, ids_per_segment);
	for (int i = 0; i < 50; i++)
		stand.enqueue(317, i % 10, i % 4 == 0 ? noon + 7 : wall_always);
	stand.claim(1024);
	JobId const first = ids_per_segment + 100;
	JobId const last = stand.board.next_id - 100;
	ASSERT_TRUE(remove(stand.board, stand.pool(), first, last));
	for (JobId id = ids_per_segment; id < stand.board.next_id; id++)
		ASSERT_EQ(stand.state(id) == JobState::none, first <= id && id <= last) << id;
}

TEST(board_build, a_restored_lease_holds_its_jobs_wherever_they_were)
{
	Stand stand;
	stand.enqueue(3, 0);
	stand.enqueue(3, 6);
	stand.enqueue(3, 0, noon + 10);
	Token const token = make_token(9, 31);
	LeaseSlot *const lease = stand.restore(token);
	ASSERT_NE(lease, nullptr);
	ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, 2, 3, 0, 1));
	ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, 5, 5, 6, 1));
	ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, 8, 8, 0, 4));
	hold(stand.board, *lease, Monotonic{100});
	EXPECT_EQ(stand.claim(100).ids, (std::vector<JobId>{4, 6, 1}));
	EXPECT_EQ(run_at(stand.pool(), *lease, 2).attempt, 4);
	EXPECT_EQ(lease->held, JobSet::first(4));
	EXPECT_TRUE(may_end(*lease, token, lease->held));
	ASSERT_TRUE(stand.expire(*lease, Monotonic{100}));
	EXPECT_EQ(stand.claim(100).ids, (std::vector<JobId>{5, 2, 3, 8}));
}

TEST(board_build, a_restored_job_keeps_its_history)
{
	Stand stand;
	stand.enqueue(2);
	stand.finish(stand.claim(1), Ending::failed);
	LeaseSlot *const lease = stand.restore(make_token(9, 31));
	ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, 1, 1, 0, 2));
	ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, 2, 2, 0, 1));
	EXPECT_TRUE(stand.board.map.history(stand.pool(), 1));
	EXPECT_FALSE(stand.board.map.history(stand.pool(), 2));
}

// ---- released while in the journal

TEST(board_journal, a_lease_is_journalled_from_the_moment_a_row_may_be_durable)
{
	Stand stand;
	stand.enqueue(1);
	LeaseSlot &lease = *stand.claim(1).lease;
	for (LeaseJournal const journal :
		 {LeaseJournal::none, LeaseJournal::wanted, LeaseJournal::writing, LeaseJournal::written})
	{
		lease.journal.store(journal);
		EXPECT_EQ(is_journalled(lease), journal >= LeaseJournal::writing);
	}
}

TEST(board_journal, a_job_released_later_is_nobodys_until_the_journal_is_clear)
{
	Stand stand;
	stand.enqueue(3);
	Claimed const claimed = stand.claim(3, Monotonic{100});
	JobSet const released = JobSet::first(1);
	release_later(*claimed.lease, released);
	EXPECT_FALSE(may_end(*claimed.lease, claimed.token, released));
	EXPECT_TRUE(stand.claim(1).ids.empty());
	EXPECT_FALSE(may_expire(*claimed.lease, Monotonic{1000}));
	ASSERT_TRUE(stand.claim(0).ids.empty());
	// The others end as ever.
	JobSet const rest = claimed.lease->held - released;
	ASSERT_TRUE(pin(*claimed.lease, claimed.token, rest));
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, rest, Ending::succeeded, wall_always);
	EXPECT_EQ(stand.table().in_use(), 1U);
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.lease->released);
	EXPECT_EQ(stand.table().in_use(), 0U);
	EXPECT_EQ(stand.claim(9).ids, std::vector<JobId>{1});
}

TEST(board_journal, what_was_released_is_forgotten_when_it_is_given_back)
{
	Stand stand;
	stand.enqueue(3);
	Claimed const claimed = stand.claim(3, Monotonic{100});
	release_later(*claimed.lease, JobSet::first(2));
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.lease->released);
	EXPECT_TRUE(claimed.lease->released.empty());
	EXPECT_TRUE(claimed.lease->pinned.empty());
	EXPECT_TRUE(may_expire(*claimed.lease, Monotonic{100}));
}

// ---- room and segments

TEST(board_room, the_ceiling_only_rises)
{
	Stand stand;
	stand.board.id_ceiling = 5000;
	raise_ceiling(stand.board, 9000);
	EXPECT_EQ(stand.board.id_ceiling, 9000);
	EXPECT_EQ(stand.board.ceiling_step, 4000);
	raise_ceiling(stand.board, 9000);
	raise_ceiling(stand.board, 100);
	EXPECT_EQ(stand.board.id_ceiling, 9000);
	EXPECT_EQ(stand.board.ceiling_step, 4000);
}

TEST(board_room, is_low_before_ids_or_segments_run_out)
{
	Stand stand;
	stand.board.ceiling_step = 4096;
	stand.board.id_ceiling = 1 + 2048;
	stand.board.prepared_end = 1;
	EXPECT_FALSE(is_room_low(stand.board));
	stand.enqueue(1);
	EXPECT_TRUE(is_room_low(stand.board));
	raise_ceiling(stand.board, JobId{1} << 40);
	stand.board.ceiling_step = 4096;
	EXPECT_FALSE(is_room_low(stand.board));
	stand.board.next_id = ids_per_segment / 4;
	EXPECT_TRUE(is_room_low(stand.board));
	stand.board.prepared_end = 3;
	EXPECT_FALSE(is_room_low(stand.board));
}

TEST(board_segment, a_sealed_segment_takes_no_more_jobs)
{
	Stand stand;
	stand.enqueue(10);
	EXPECT_FALSE(is_sealed(stand.board, 0));
	seal(stand.board, 0);
	EXPECT_TRUE(is_sealed(stand.board, 0));
	EXPECT_FALSE(is_sealed(stand.board, 1));
	EXPECT_EQ(stand.enqueue(1), std::vector<JobId>{ids_per_segment});
	seal(stand.board, 0); // again, late
	EXPECT_EQ(stand.enqueue(1), std::vector<JobId>{ids_per_segment + 1});
}

TEST(board_segment, is_drained_when_sealed_and_every_job_has_ended)
{
	struct Step
	{
		char const *what;
		std::function<void(Stand &)> leave; // a job of segment 0 in somebody's hands, or unfinished
	};
	Step const steps[] = {
		{"reserved", [](Stand &stand) { reserve(stand.board, stand.pool(), 1); }},
		{"ready", [](Stand &stand) { stand.enqueue(1); }},
		{"waiting", [](Stand &stand) { stand.enqueue(1, 0, noon + 5); }},
		{"leased", [](Stand &stand) { stand.enqueue(1), stand.claim(1); }},
		{"seized", [](Stand &stand) { stand.enqueue(1), seize(stand, ready_at(0), 0, 9); }},
	};
	for (Step const &step : steps)
	{
		SCOPED_TRACE(step.what);
		Stand stand;
		step.leave(stand);
		seal(stand.board, 0);
		EXPECT_FALSE(is_drained(stand.board, stand.pool(), 0));
		EXPECT_EQ(stand.board.map.live(stand.pool(), 0), 1);
		remove(stand.board, stand.pool(), 1, 1);
		EXPECT_TRUE(is_drained(stand.board, stand.pool(), 0));
		EXPECT_EQ(stand.board.map.live(stand.pool(), 0), 0);
	}
	Stand open;
	EXPECT_FALSE(is_drained(open.board, open.pool(), 0)) << "not sealed";
}

TEST(board_segment, a_forgotten_segment_costs_nothing_and_the_next_goes_on)
{
	Stand stand;
	for (SegmentNumber segment = 0; segment < 20; segment++)
	{
		stand.enqueue(3000, 4);
		for (Claimed claimed = stand.claim(1024); !claimed.ids.empty(); claimed = stand.claim(1024))
			ASSERT_TRUE(stand.finish(claimed));
		seal(stand.board, segment);
		ASSERT_TRUE(is_drained(stand.board, stand.pool(), segment));
		stand.board.map.forget(stand.pool(), segment);
		ASSERT_TRUE(is_drained(stand.board, stand.pool(), segment));
		ASSERT_LE(stand.pool().in_use(), 1U);
	}
}

TEST(board_restore, a_restored_lease_knows_which_of_its_jobs_were_cancelled)
{
	Stand stand;
	stand.enqueue(3);
	LeaseSlot *const lease = stand.restore(make_token(3, 77));
	ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, 1, 1, 0, 2));
	ASSERT_TRUE(restore_cancelled(stand.pool(), *lease, 2, 2, 0, 2));
	ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, 3, 3, 0, 2));
	EXPECT_EQ(lease->held.size(), 2);
	EXPECT_EQ(lease->cancelled.size(), 1);
	EXPECT_TRUE(lease->cancelled.contains(job_of(stand.pool(), *lease, 2)));
	EXPECT_FALSE(lease->held.contains(job_of(stand.pool(), *lease, 2)));
	EXPECT_EQ(stand.state(2), ready_at(0)) << "not a matter of the board";
}

} // namespace
} // namespace onceq::core::test
