// SPDX-License-Identifier: PostgreSQL
// Proves the borders of the state map: pages and segments, what is stored and what is not, what a
// used-up pool refuses, and how segments come and go. Random histories: state_map_model_test.cpp.
#include "core/state_map.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

namespace onceq::core::test {
namespace {

constexpr JobId page_size = ids_per_page;

struct Map
{
	explicit Map(std::uint32_t frames = 64) : pool(frames) { map.initialise(); }

	JobId
	store(JobId first, JobId last)
	{
		return map.store(*pool, first, last);
	}
	int
	move(JobId first, JobId last, JobState from, JobState to)
	{
		return map.move(*pool, first, last, from, to);
	}
	JobState
	state(JobId id)
	{
		return map.state(*pool, id);
	}
	JobId
	find(JobState state, JobId start)
	{
		return map.find(*pool, state, start);
	}

	PoolMemory pool;
	StateMap map;
};

TEST(state_map, knows_nothing_of_ids_it_never_saw)
{
	Map map;
	for (JobId const id : {JobId{0}, JobId{1}, ids_per_segment, JobId{1} << 40})
	{
		EXPECT_EQ(map.state(id), JobState::none);
		EXPECT_FALSE(map.map.history(*map.pool, id));
	}
	EXPECT_EQ(map.find(ready_at(0), 0), 0);
	EXPECT_EQ(map.move(1, 10, JobState::none, JobState::reserved), 0);
	EXPECT_TRUE(map.map.is_empty(*map.pool, 7));
	EXPECT_EQ(map.pool->in_use(), 0U);
}

TEST(state_map, a_page_that_is_not_stored_moves_only_as_a_whole)
{
	Map map;
	map.store(1, 1); // the directory, and page 0
	EXPECT_EQ(map.pool->in_use(), 4U);
	EXPECT_EQ(map.move(page_size, page_size, JobState::none, JobState::waiting), 0);
	EXPECT_EQ(map.move(page_size, 2 * page_size - 2, JobState::none, JobState::waiting), 0);
	EXPECT_EQ(map.move(page_size + 1, 2 * page_size - 1, JobState::none, JobState::waiting), 0);
	EXPECT_EQ(map.move(page_size, 2 * page_size - 1, JobState::none, JobState::waiting), page_size);
	EXPECT_EQ(map.pool->in_use(), 4U);
	EXPECT_EQ(map.map.count(JobState::waiting), page_size);
}

TEST(state_map, a_page_that_is_not_stored_never_enters_a_state_that_keeps_its_page)
{
	Map map;
	map.store(1, 1);
	for (JobState const state : {JobState::reserved, JobState::leased, JobState::seized})
		EXPECT_EQ(map.move(page_size, 2 * page_size - 1, JobState::none, state), 0) << state;
}

TEST(state_map, a_page_is_given_back_when_all_its_jobs_are_alike)
{
	for (int value = 1; value < job_state_count; value++)
	{
		auto const state = static_cast<JobState>(value);
		Map map;
		map.store(0, 0);
		map.move(0, page_size - 2, JobState::none, state);
		EXPECT_EQ(map.pool->in_use(), 4U);
		map.move(page_size - 1, page_size - 1, JobState::none, state);
		EXPECT_EQ(map.pool->in_use(), keeps_page(state) ? 4U : 3U) << state;
		EXPECT_EQ(map.state(0), state);
		EXPECT_EQ(map.state(page_size - 1), state);
	}
}

TEST(state_map, a_history_mark_keeps_a_page_until_all_have_one_or_none)
{
	Map map;
	map.store(0, 0);
	map.map.mark_history(*map.pool, 5, 5);
	map.move(0, page_size - 1, JobState::none, ready_at(0));
	EXPECT_EQ(map.pool->in_use(), 4U);
	map.map.mark_history(*map.pool, 0, page_size - 1);
	map.move(0, page_size - 1, ready_at(0), ready_at(1));
	EXPECT_EQ(map.pool->in_use(), 3U);
	EXPECT_TRUE(map.map.history(*map.pool, 77));
	EXPECT_EQ(map.move(0, page_size - 1, ready_at(1), JobState::none), page_size);
	EXPECT_FALSE(map.map.history(*map.pool, 77));
}

TEST(state_map, marks_history_over_the_border_of_two_pages)
{
	Map map;
	map.store(page_size - 1, page_size);
	map.map.mark_history(*map.pool, page_size - 1, page_size);
	EXPECT_FALSE(map.map.history(*map.pool, page_size - 2));
	EXPECT_TRUE(map.map.history(*map.pool, page_size - 1));
	EXPECT_TRUE(map.map.history(*map.pool, page_size));
	EXPECT_FALSE(map.map.history(*map.pool, page_size + 1));
}

TEST(state_map, finds_over_the_borders_of_pages_and_segments)
{
	Map map;
	JobId const ids[] = {1, page_size - 1, page_size, ids_per_segment - 1, ids_per_segment, 3 * ids_per_segment + 5};
	for (JobId const id : ids)
	{
		ASSERT_EQ(map.store(id, id), id);
		ASSERT_EQ(map.move(id, id, JobState::none, JobState::waiting), 1);
	}
	JobId start = 0;
	for (JobId const id : ids)
	{
		EXPECT_EQ(map.find(JobState::waiting, start), id);
		EXPECT_EQ(map.find(JobState::waiting, id), id);
		start = id + 1;
	}
	EXPECT_EQ(map.find(JobState::waiting, start), 0);
	EXPECT_EQ(map.find(JobState::waiting, 100 * ids_per_segment), 0);
}

TEST(state_map, finds_a_job_of_a_page_that_is_not_stored_from_its_middle)
{
	Map map;
	map.store(0, 0);
	map.move(page_size, 2 * page_size - 1, JobState::none, ready_at(4));
	EXPECT_EQ(map.find(ready_at(4), 0), page_size);
	EXPECT_EQ(map.find(ready_at(4), page_size + 100), page_size + 100);
	EXPECT_EQ(map.find(ready_at(4), 2 * page_size), 0);
	EXPECT_EQ(map.map.run_length(*map.pool, page_size + 100, 5000), page_size - 100);
	EXPECT_EQ(map.map.run_length(*map.pool, page_size + 100, 50), 50);
}

TEST(state_map, stores_as_far_as_the_pool_reaches)
{
	// Three frames for nodes and directory; so k - 3 pages of the ten asked for.
	for (std::uint32_t frames = 0; frames < 15; frames++)
	{
		Map map(frames);
		JobId const expected = frames < 4 ? 99 : std::min<JobId>(page_size * (frames - 3) - 1, 10 * page_size - 1);
		EXPECT_EQ(map.store(100, 10 * page_size - 1), expected) << frames << " frames";
		EXPECT_EQ(map.move(100, std::max<JobId>(expected, 100), JobState::none, JobState::reserved), expected - 99);
	}
}

TEST(state_map, refuses_a_span_of_segments_it_has_no_room_for)
{
	Map map;
	SegmentNumber const low = 3;
	ASSERT_EQ(map.store(first_id_of(low), first_id_of(low)), first_id_of(low));
	JobId const far = first_id_of(low + segment_span_max);
	EXPECT_EQ(map.store(far, far), far - 1);
	JobId const near = last_id_of(low + segment_span_max - 1);
	EXPECT_EQ(map.store(near, near), near);
	EXPECT_EQ(map.store(first_id_of(low - 1), first_id_of(low - 1)), first_id_of(low - 1) - 1);
	EXPECT_EQ(map.state(near), JobState::none);
}

TEST(state_map, goes_round_its_ring_of_segments)
{
	Map map(16);
	SegmentNumber const step = segment_span_max / 41;
	for (SegmentNumber segment = 0; segment < 3 * segment_span_max; segment += step)
	{
		JobId const id = first_id_of(segment) + 7;
		ASSERT_EQ(map.store(id, id), id) << segment;
		ASSERT_EQ(map.move(id, id, JobState::none, ready_at(0)), 1);
		if (segment > 0)
		{
			JobId const before = first_id_of(segment - step) + 7;
			ASSERT_EQ(map.find(ready_at(0), 0), before);
			ASSERT_EQ(map.move(before, before, ready_at(0), JobState::none), 1);
			map.map.forget(*map.pool, segment - step);
		}
		ASSERT_EQ(map.find(ready_at(0), 0), id);
		ASSERT_EQ(map.map.count(JobState::none), ids_per_segment - 1);
		// One segment's directory and page, and two nodes.
		ASSERT_EQ(map.pool->in_use(), 4U);
	}
}

TEST(state_map, keeps_old_jobs_far_from_the_others_in_little_memory)
{
	Map map(64);
	SegmentNumber const open = segment_span_max - 1;
	SegmentNumber const old[] = {0, 3, 700, segments_per_root + 5, 4 * segments_per_root};
	for (SegmentNumber const segment : old)
	{
		JobId const id = first_id_of(segment) + 9;
		ASSERT_EQ(map.store(id, id), id);
		ASSERT_EQ(map.move(id, id, JobState::none, JobState::waiting), 1);
	}
	JobId const newest = first_id_of(open);
	ASSERT_EQ(map.store(newest, newest), newest);
	ASSERT_EQ(map.move(newest, newest, JobState::none, JobState::waiting), 1);
	// A directory and a page each, and nodes: 4 roots, 5 below them.
	EXPECT_EQ(map.pool->in_use(), 6U * 2U + 4U + 5U);
	JobId next = 0;
	for (SegmentNumber const segment : old)
	{
		JobId const id = map.find(JobState::waiting, next);
		ASSERT_EQ(id, first_id_of(segment) + 9);
		ASSERT_EQ(map.map.next_segment(*map.pool, segment_of(next)), segment);
		next = last_id_of(segment) + 1;
	}
	EXPECT_EQ(map.find(JobState::waiting, next), newest);
	// The newest one goes first, then the oldest: what is left is found, and in reach.
	for (SegmentNumber const segment : {open, SegmentNumber{0}, SegmentNumber{700}})
	{
		JobId const id = map.find(JobState::waiting, first_id_of(segment));
		map.move(id, id, JobState::waiting, JobState::none);
		map.map.forget(*map.pool, segment);
	}
	EXPECT_EQ(map.map.oldest(), 3);
	JobId const far = first_id_of(3 + segment_span_max);
	EXPECT_EQ(map.store(far, far), far - 1);
	EXPECT_EQ(map.store(far - 1, far - 1), far - 1);
}

TEST(state_map, forgets_segments_in_any_order)
{
	Map map;
	for (SegmentNumber segment = 10; segment < 15; segment++)
		map.store(first_id_of(segment), first_id_of(segment));
	for (SegmentNumber const segment : {12, 10, 14, 11, 99})
		map.map.forget(*map.pool, segment);
	EXPECT_EQ(map.map.count(JobState::none), ids_per_segment);
	map.map.forget(*map.pool, 13);
	EXPECT_EQ(map.map.count(JobState::none), 0);
	EXPECT_EQ(map.pool->in_use(), 0U);
	EXPECT_EQ(map.store(first_id_of(2), first_id_of(2)), first_id_of(2));
	map.map.clear(*map.pool);
	EXPECT_EQ(map.pool->in_use(), 0U);
}

TEST(state_map, clear_gives_every_frame_back)
{
	Map map;
	for (SegmentNumber const segment : {0, 1, 600, 4000})
		map.store(first_id_of(segment) + 2000, first_id_of(segment) + 5000);
	EXPECT_EQ(map.pool->in_use(), 1U + 3U + 4U * 4U);
	map.map.clear(*map.pool);
	EXPECT_EQ(map.pool->in_use(), 0U);
	EXPECT_EQ(map.map.count(JobState::none), 0);
}

TEST(state_map, a_segment_with_any_job_is_not_empty)
{
	Map map;
	for (int value = 1; value < job_state_count; value++)
	{
		auto const state = static_cast<JobState>(value);
		ASSERT_EQ(map.store(9, 9), 9);
		map.move(9, 9, JobState::none, state);
		EXPECT_FALSE(map.map.is_empty(*map.pool, 0)) << state;
		map.move(9, 9, state, JobState::none);
		EXPECT_TRUE(map.map.is_empty(*map.pool, 0)) << state;
	}
}

} // namespace
} // namespace onceq::core::test
