// SPDX-License-Identifier: PostgreSQL
// Proves the life of a board and the producer's half of the protocol: which ids are given out, at
// every border, and what becomes of them at COMMIT and ABORT.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

namespace onceq::core::test {
namespace {

// ---- life of the board

TEST(board_life, a_board_gives_nothing_until_it_stands)
{
	Stand stand;
	for (BoardPhase const phase : {BoardPhase::free, BoardPhase::building, BoardPhase::dropped})
	{
		stand.board.phase = phase;
		Reservation const got = reserve(stand.board, stand.pool(), 1);
		EXPECT_EQ(got.count, 0);
		EXPECT_EQ(got.refusal, Refusal::not_standing);
		EXPECT_EQ(stand.take_ready(1).refusal, Refusal::not_standing);
		Refusal refusal = Refusal::none;
		EXPECT_EQ(seize_next(stand.board, stand.pool(), ready_at(0), 0, 1000, refusal).first, 0);
		EXPECT_EQ(refusal, Refusal::not_standing);
	}
	EXPECT_EQ(stand.pool().in_use(), 0U);
	EXPECT_EQ(stand.table().in_use(), 0U);
}

TEST(board_life, a_new_life_starts_from_nothing)
{
	Stand stand;
	stand.enqueue(5000, 3);
	stand.claim(10);
	free_board(stand.board, stand.pool());
	EXPECT_EQ(stand.board.phase, BoardPhase::free);
	EXPECT_EQ(stand.pool().in_use(), 0U);
	begin_building(stand.board, BoardKey{5, 2, 7});
	finish_building(stand.board, 4096, 8192, 1, Wall{77});
	EXPECT_EQ(stand.board.phase, BoardPhase::standing);
	EXPECT_EQ(stand.board.key, (BoardKey{5, 2, 7}));
	EXPECT_EQ(stand.board.next_id, 4096);
	EXPECT_EQ(stand.board.first_new_id, 4096);
	EXPECT_EQ(stand.board.watermark, Wall{77});
	EXPECT_EQ(stand.board.counters.enqueued, 0);
	EXPECT_TRUE(stand.claim(1).ids.empty());
	EXPECT_EQ(stand.enqueue(1), std::vector<JobId>{4096});
}

TEST(board_life, jobs_placed_while_building_are_claimed_afterwards)
{
	Stand stand;
	free_board(stand.board, stand.pool());
	begin_building(stand.board, BoardKey{5, 2, 7});
	ASSERT_TRUE(place(stand.board, stand.pool(), 1, 100, ready_at(0), false));
	ASSERT_TRUE(place(stand.board, stand.pool(), 200, 200, ready_at(5), true));
	ASSERT_TRUE(place(stand.board, stand.pool(), 300, 300, JobState::waiting, true));
	note_due(stand.board, Wall{5000});
	finish_building(stand.board, 4096, 8192, 1, Wall{77});
	EXPECT_EQ(stand.board.earliest_due, Wall{5000});
	EXPECT_TRUE(stand.board.map.history(stand.pool(), 200));
	EXPECT_EQ(stand.claim(3).ids, (std::vector<JobId>{200, 1, 2}));
	EXPECT_EQ(stand.state(300), JobState::waiting);
}

// ---- which ids

struct Border
{
	char const *what;
	JobId next_id, ceiling;
	SegmentNumber prepared_end;
	int wanted;
	JobId first;
	int count;
	Refusal refusal;
};

TEST(board_enqueue, ids_are_given_up_to_every_border_and_not_beyond)
{
	constexpr JobId end = ids_per_segment;
	constexpr Border borders[] = {
		{"nothing in the way", 1, 10'000, 1, 100, 1, 100, Refusal::none},
		{"ceiling cuts", 1, 50, 1, 100, 1, 49, Refusal::none},
		{"at the ceiling", 50, 50, 1, 100, 0, 0, Refusal::no_ids},
		{"above the ceiling, after sealing", end, 50, 2, 1, 0, 0, Refusal::no_ids},
		{"segment cuts", end - 3, 10 * end, 5, 100, end - 3, 3, Refusal::none},
		{"last id of a segment", end - 1, 10 * end, 5, 100, end - 1, 1, Refusal::none},
		{"first id of a segment", end, 10 * end, 5, 100, end, 100, Refusal::none},
		{"next segment not prepared", end, 10 * end, 1, 100, 0, 0, Refusal::no_segment},
		{"last prepared segment", end, 10 * end, 2, 100, end, 100, Refusal::none},
		{"no segment at all", 1, 100, 0, 1, 0, 0, Refusal::no_segment},
		{"a page border is none", ids_per_page - 1, 10 * end, 1, 4096, ids_per_page - 1, 4096, Refusal::none},
		{"ceiling and segment together", end - 5, end - 2, 1, 100, end - 5, 3, Refusal::none},
	};
	for (Border const &border : borders)
	{
		SCOPED_TRACE(border.what);
		Stand stand(16, 1, border.next_id);
		stand.board.id_ceiling = border.ceiling;
		stand.board.prepared_end = border.prepared_end;
		Reservation const got = reserve(stand.board, stand.pool(), border.wanted);
		EXPECT_EQ(got.refusal, border.refusal);
		EXPECT_EQ(got.count, border.count);
		EXPECT_EQ(stand.board.next_id, border.next_id + border.count);
		EXPECT_EQ(stand.count(JobState::reserved), border.count);
		EXPECT_EQ(got.first, border.first);
	}
}

TEST(board_enqueue, no_id_is_given_twice)
{
	Stand stand(64, 1, ids_per_segment - 5000);
	JobId expected = ids_per_segment - 5000;
	Dice dice(5);
	while (expected < ids_per_segment + 5000)
	{
		Reservation const got = reserve(stand.board, stand.pool(), static_cast<int>(dice.between(1, 300)));
		ASSERT_GT(got.count, 0);
		ASSERT_EQ(got.first, expected);
		ASSERT_EQ(segment_of(got.first), segment_of(got.first + got.count - 1));
		expected += got.count;
		if (dice.chance(50))
			abandon(stand.board, stand.pool(), got.first, got.first + got.count - 1);
		else
			publish(stand.board, stand.pool(), got.first, got.first + got.count - 1, 0, wall_always);
	}
}

// ---- what becomes of them

TEST(board_enqueue, a_reserved_job_is_not_ready)
{
	Stand stand;
	Reservation const got = reserve(stand.board, stand.pool(), 10);
	EXPECT_TRUE(stand.claim(1).ids.empty());
	publish(stand.board, stand.pool(), got.first, got.first + 9, 0, wall_always);
	EXPECT_EQ(stand.claim(100).ids, ids_between(got.first, got.first + 9));
	EXPECT_EQ(stand.board.counters.enqueued, 10);
}

TEST(board_enqueue, an_aborted_job_is_never_ready)
{
	Stand stand;
	Reservation const got = reserve(stand.board, stand.pool(), 10);
	publish(stand.board, stand.pool(), got.first + 2, got.first + 4, 0, wall_always);
	abandon(stand.board, stand.pool(), got.first, got.first + 9);
	EXPECT_EQ(stand.count(JobState::reserved), 0);
	EXPECT_EQ(stand.claim(100).ids, ids_between(got.first + 2, got.first + 4));
	EXPECT_EQ(stand.board.counters.enqueued, 3);
}

TEST(board_enqueue, callbacks_are_idempotent)
{
	Stand stand;
	Reservation const got = reserve(stand.board, stand.pool(), 4);
	publish(stand.board, stand.pool(), got.first, got.first + 3, 0, wall_always);
	Claimed const claimed = stand.claim(2);
	publish(stand.board, stand.pool(), got.first, got.first + 3, 0, wall_always);
	abandon(stand.board, stand.pool(), got.first, got.first + 3);
	EXPECT_EQ(stand.state(got.first), JobState::leased);
	EXPECT_EQ(stand.state(got.first + 3), ready_at(0));
	EXPECT_EQ(stand.claim(10).ids.size(), 2U);
}

TEST(board_enqueue, due_is_compared_with_the_watermark_of_the_moment)
{
	struct Case
	{
		Wall due;
		JobState state;
	};
	for (Case const &row : {Case{wall_always, ready_at(0)},
							{Wall{noon.us - 1}, ready_at(0)},
							{noon, ready_at(0)},
							{Wall{noon.us + 1}, JobState::waiting},
							{wall_never, JobState::waiting}})
	{
		Stand stand;
		JobId const id = stand.enqueue(1, 0, row.due).at(0);
		EXPECT_EQ(stand.state(id), row.state) << row.due.us;
		EXPECT_EQ(stand.board.earliest_due, row.state == JobState::waiting ? row.due : wall_never);
	}
}

TEST(board_enqueue, earliest_due_is_the_least_of_all)
{
	Stand stand;
	for (std::int64_t const later : {500, 300, 700, 301})
		stand.enqueue(1, 0, noon + later);
	EXPECT_EQ(stand.board.earliest_due, noon + 300);
}

TEST(board_enqueue, what_was_withdrawn_is_not_published)
{
	Stand stand;
	Reservation const got = reserve(stand.board, stand.pool(), 5);
	ASSERT_EQ(got.count, 5);
	JobId const last = got.first + 4;
	withdraw(stand.board, stand.pool(), got.first + 1);
	withdraw(stand.board, stand.pool(), last);
	publish(stand.board, stand.pool(), got.first, last, 0, wall_always);
	EXPECT_EQ(stand.board.counters.enqueued, 5);
	EXPECT_EQ(stand.board.counters.cancelled, 2);
	EXPECT_EQ(stand.claim(10).ids, (std::vector<JobId>{got.first, got.first + 2, got.first + 3}));
}

TEST(board_enqueue, only_what_is_reserved_can_be_withdrawn)
{
	Stand stand;
	JobId const ready = stand.enqueue(1).at(0);
	withdraw(stand.board, stand.pool(), ready);
	EXPECT_EQ(stand.state(ready), ready_at(0));
	JobId const leased = stand.claim(1).ids.at(0);
	withdraw(stand.board, stand.pool(), leased);
	EXPECT_EQ(stand.state(leased), JobState::leased);
	EXPECT_EQ(stand.board.counters.cancelled, 0);
}

TEST(board_enqueue, a_commit_over_many_pages_publishes_every_one)
{
	Stand stand;
	Reservation const got = reserve(stand.board, stand.pool(), 10 * ids_per_page);
	ASSERT_EQ(got.count, 10 * ids_per_page);
	publish(stand.board, stand.pool(), got.first, got.first + got.count - 1, 7, wall_always);
	EXPECT_EQ(stand.count(ready_at(7)), 10 * ids_per_page);
	EXPECT_EQ(stand.count(JobState::reserved), 0);
	// Nine whole pages are not stored; the first (id 0 is nobody's) and the last are.
	EXPECT_EQ(stand.pool().in_use(), 5U);
}

} // namespace
} // namespace onceq::core::test
