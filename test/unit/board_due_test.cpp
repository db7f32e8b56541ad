// SPDX-License-Identifier: PostgreSQL
// Proves that every waiting job is looked for once its due time has come, whatever happens between
// the advance of the watermark and the end of the look: failure, seizure, a clock that is set back.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <map>

namespace onceq::core::test {
namespace {

// The tables as the worker reads them: due times by id.
class Due
{
  public:
	explicit Due(Stand &stand) : stand_(stand) {}

	JobId
	enqueue(Wall due, int priority = 0)
	{
		JobId const id = stand_.enqueue(1, priority, due).at(0);
		due_[id] = due;
		return id;
	}

	// The worker's chore, between its advance and its end.
	void
	promote_between(Wall low, Wall high)
	{
		Wall next = wall_never;
		for (auto const &[id, due] : due_)
		{
			if (low < due && due <= high)
				promote(stand_.board, stand_.pool(), id, 0);
			if (due > high)
				next = std::min(next, due);
		}
		note_due(stand_.board, next);
	}

	void
	promote_up_to(Wall now)
	{
		promote_between(advance_watermark(stand_.board, now), now);
		finish_promotion(stand_.board, now);
	}

  private:
	Stand &stand_;
	std::map<JobId, Wall> due_;
};

TEST(board_due, a_job_is_ready_when_its_time_has_come)
{
	Stand stand;
	Due due(stand);
	JobId const id = due.enqueue(noon + 10);
	due.promote_up_to(noon + 9);
	EXPECT_EQ(stand.state(id), JobState::waiting);
	EXPECT_EQ(stand.board.earliest_due, noon + 10);
	due.promote_up_to(noon + 10);
	EXPECT_EQ(stand.state(id), ready_at(0));
	EXPECT_EQ(stand.board.earliest_due, wall_never);
}

TEST(board_due, only_waiting_jobs_are_promoted)
{
	Stand stand;
	JobId const id = stand.enqueue(1).at(0);
	Claimed const claimed = stand.claim(1);
	EXPECT_TRUE(promote(stand.board, stand.pool(), id, 5));
	EXPECT_EQ(stand.state(id), JobState::leased);
	stand.finish(claimed);
	EXPECT_TRUE(promote(stand.board, stand.pool(), id, 5));
	EXPECT_EQ(stand.state(id), JobState::none);
	JobId const other = stand.enqueue(1).at(0);
	EXPECT_TRUE(promote(stand.board, stand.pool(), other, 5));
	EXPECT_EQ(stand.state(other), ready_at(0));
}

TEST(board_due, a_promoted_job_is_claimed_with_the_priority_it_was_promoted_to)
{
	Stand stand;
	JobId const id = stand.enqueue(1, 0, noon + 5).at(0);
	stand.enqueue(1, 3);
	promote(stand.board, stand.pool(), id, 6);
	EXPECT_EQ(stand.claim(2).ids, (std::vector<JobId>{id, id + 1}));
}

TEST(board_due, the_next_look_begins_where_the_last_one_ended)
{
	Stand stand;
	EXPECT_EQ(advance_watermark(stand.board, noon + 10), noon);
	finish_promotion(stand.board, noon + 10);
	EXPECT_EQ(advance_watermark(stand.board, noon + 20), noon + 10);
	finish_promotion(stand.board, noon + 20);
	EXPECT_EQ(advance_watermark(stand.board, noon + 21), noon + 20);
}

TEST(board_due, a_look_that_failed_is_made_again_from_its_beginning)
{
	Stand stand;
	EXPECT_EQ(advance_watermark(stand.board, noon + 10), noon);
	EXPECT_EQ(advance_watermark(stand.board, noon + 20), noon);
	finish_promotion(stand.board, noon + 20);
	EXPECT_EQ(advance_watermark(stand.board, noon + 30), noon + 20);
}

TEST(board_due, a_look_under_way_lags_behind_the_watermark)
{
	// Or one that failed could not be told, and what its advance forgot would wait for ever.
	Stand stand;
	for (Wall const now : {noon + 10, noon + 10, noon + 3, noon + 3, noon + 20})
	{
		advance_watermark(stand.board, now);
		EXPECT_LT(stand.board.promoted_to, stand.board.watermark);
		finish_promotion(stand.board, now);
		EXPECT_EQ(stand.board.promoted_to, stand.board.watermark);
	}
}

TEST(board_due, a_commit_between_advance_and_read_is_ready_by_itself)
{
	Stand stand;
	Reservation const got = reserve(stand.board, stand.pool(), 1);
	advance_watermark(stand.board, noon + 10);
	publish(stand.board, stand.pool(), got.first, got.first, 0, noon + 10);
	EXPECT_EQ(stand.state(got.first), ready_at(0));
}

TEST(board_due, when_the_clock_is_set_back_what_lies_between_is_looked_for_again)
{
	Stand stand;
	Due due(stand);
	due.promote_up_to(noon + 100);
	due.promote_up_to(noon + 40); // back by 60
	EXPECT_EQ(stand.board.watermark, noon + 40);
	JobId const id = due.enqueue(noon + 70);
	EXPECT_EQ(stand.state(id), JobState::waiting);
	due.promote_up_to(noon + 69);
	EXPECT_EQ(stand.state(id), JobState::waiting);
	due.promote_up_to(noon + 70);
	EXPECT_EQ(stand.state(id), ready_at(0));
}

TEST(board_due, a_late_end_of_a_look_does_not_hide_what_a_clock_set_back_uncovered)
{
	Stand stand;
	Due due(stand);
	Wall const low = advance_watermark(stand.board, noon + 100);
	due.promote_up_to(noon + 20);
	due.promote_between(low, noon + 100);
	finish_promotion(stand.board, noon + 100);
	JobId const id = due.enqueue(noon + 50);
	EXPECT_EQ(stand.state(id), JobState::waiting);
	due.promote_up_to(noon + 60);
	EXPECT_EQ(stand.state(id), ready_at(0));
}

TEST(board_due, a_job_settled_as_early_is_looked_for_again)
{
	Stand stand;
	Due due(stand);
	JobId const id = due.enqueue(noon + 30);
	promote(stand.board, stand.pool(), id, 0); // by an outdated due time
	Claimed const claimed = stand.take_ready(1);
	ASSERT_EQ(claimed.ids, std::vector<JobId>{id});
	settle(stand.board, stand.pool(), *claimed.lease, Findings{{}, claimed.all(), {}, noon + 30});
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.lease->held);
	EXPECT_EQ(stand.board.earliest_due, noon + 30);
	due.promote_up_to(noon + 30);
	EXPECT_EQ(stand.state(id), ready_at(0));
}

// ---- a waiting job that was seized while its time came

Seized
seize_waiting(Stand &stand)
{
	Refusal refusal = Refusal::none;
	return seize_next(stand.board, stand.pool(), JobState::waiting, 0, 1000, refusal);
}

TEST(board_due, a_restored_job_whose_time_came_meanwhile_is_looked_for)
{
	Stand stand;
	Due due(stand);
	JobId const id = due.enqueue(noon + 10);
	Seized const seized = seize_waiting(stand);
	due.promote_up_to(noon + 20);
	restore_seized(stand.board, stand.pool(), seized);
	EXPECT_EQ(stand.state(id), JobState::waiting);
	EXPECT_LE(stand.board.earliest_due, noon + 20) << "or the worker would sleep";
	due.promote_up_to(noon + 30);
	EXPECT_EQ(stand.state(id), ready_at(0));
}

TEST(board_due, a_job_restored_between_the_look_and_its_end_is_looked_for_again)
{
	Stand stand;
	Due due(stand);
	JobId const id = due.enqueue(noon + 10);
	Seized const seized = seize_waiting(stand);
	Wall const low = advance_watermark(stand.board, noon + 20);
	due.promote_between(low, noon + 20); // passes over it: it is not waiting
	restore_seized(stand.board, stand.pool(), seized);
	finish_promotion(stand.board, noon + 20);
	EXPECT_LE(stand.board.earliest_due, noon + 20);
	due.promote_up_to(noon + 30);
	EXPECT_EQ(stand.state(id), ready_at(0));
}

TEST(board_due, looking_at_all_again_ends_with_one_look)
{
	Stand stand;
	Due due(stand);
	due.enqueue(noon + 10);
	restore_seized(stand.board, stand.pool(), seize_waiting(stand));
	EXPECT_EQ(advance_watermark(stand.board, noon + 20), wall_always);
	finish_promotion(stand.board, noon + 20);
	EXPECT_EQ(advance_watermark(stand.board, noon + 30), noon + 20);
}

TEST(board_due, every_job_is_promoted_through_random_clocks_failures_and_seizures)
{
	Dice dice(1515);
	for (int round = 0; round < 300; round++)
	{
		Stand stand;
		Due due(stand);
		std::vector<Seized> seized;
		Wall now = noon;
		Wall low = noon;
		for (int step = 0; step < 40; step++)
			switch (dice.below(6))
			{
				case 0:
					due.enqueue(now + dice.between(-20, 60));
					break;
				case 1:
					seized.push_back(seize_waiting(stand));
					break;
				case 2:
					for (Seized const &one : std::exchange(seized, {}))
						if (one.first != 0)
							restore_seized(stand.board, stand.pool(), one);
					break;
				case 3:
					now = now + dice.between(dice.chance(20) ? -50 : 0, 30);
					low = advance_watermark(stand.board, now);
					break;
				case 4:
					due.promote_between(low, stand.board.watermark);
					if (dice.chance(70))
						finish_promotion(stand.board, stand.board.watermark);
					break;
				default:
					due.promote_up_to(now);
			}
		for (Seized const &one : seized)
			if (one.first != 0)
				restore_seized(stand.board, stand.pool(), one);
		due.promote_up_to(noon + 1'000'000);
		ASSERT_EQ(stand.count(JobState::waiting), 0) << "round " << round;
	}
}

} // namespace
} // namespace onceq::core::test
