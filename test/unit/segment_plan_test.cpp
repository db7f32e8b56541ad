// SPDX-License-Identifier: PostgreSQL
// Proves when ids are raised, segments prepared, sealed and dropped, at the borders of each rule; and
// that a queue of any pace never stands at its ceiling when the worker keeps up.
#include "core/segment_plan.hpp"

#include <gtest/gtest.h>

namespace onceq::core::test {
namespace {

constexpr Microseconds second = microseconds_per_second;

TEST(segment_plan, the_ceiling_is_low_when_half_a_step_is_left)
{
	struct Case
	{
		JobId next_id, ceiling, step;
		bool low;
	};
	for (Case const &row : {Case{1, 4097, 4096, false},
							{2049, 4097, 4096, false},
							{2050, 4097, 4096, true},
							{4097, 4097, 4096, true},
							{9000, 4097, 4096, true},
							{0, 0, 4096, true}})
		EXPECT_EQ(ceiling_is_low(row.next_id, row.ceiling, row.step), row.low) << row.next_id;
}

TEST(segment_plan, the_step_follows_the_pace_within_its_bounds)
{
	struct Case
	{
		JobId step;
		Microseconds since;
		JobId next;
	};
	for (Case const &row : {Case{4096, 0, 8192},
							{4096, second - 1, 8192},
							{4096, second, 4096},
							{8192, 60 * second, 8192},
							{8192, 60 * second + 1, 4096},
							{4096, 3600 * second, 4096},
							{ceiling_step_max, 0, ceiling_step_max},
							{ceiling_step_max / 2, 0, ceiling_step_max},
							{ceiling_step_max, 61 * second, ceiling_step_max / 2}})
		EXPECT_EQ(next_ceiling_step(row.step, row.since), row.next) << row.step << " after " << row.since;
}

TEST(segment_plan, two_segments_are_prepared_from_a_quarter_on)
{
	JobId const quarter = ids_per_segment / 4;
	struct Case
	{
		JobId next_id;
		SegmentNumber end;
	};
	for (Case const &row : {Case{1, 1},
							{quarter - 1, 1},
							{quarter, 3},
							{ids_per_segment - 1, 3},
							{ids_per_segment, 2},
							{ids_per_segment + quarter - 1, 2},
							{ids_per_segment + quarter, 4},
							{100 * ids_per_segment + quarter, 103}})
		EXPECT_EQ(wanted_prepared_end(row.next_id), row.end) << row.next_id;
}

TEST(segment_plan, an_old_segment_is_sealed_only_if_it_holds_finished_jobs)
{
	EXPECT_TRUE(should_seal(10, 10, true));
	EXPECT_FALSE(should_seal(9, 10, true));
	EXPECT_FALSE(should_seal(1000, 10, false));
	EXPECT_TRUE(should_seal(0, 0, true));
}

TEST(segment_plan, a_drained_segment_is_kept_for_the_retention)
{
	EXPECT_FALSE(should_drop(9, 10));
	EXPECT_TRUE(should_drop(10, 10));
	EXPECT_TRUE(should_drop(0, 0));
}

TEST(segment_plan, a_steady_queue_never_meets_its_ceiling)
{
	// The worker looks once a second; the queue takes so many ids between two looks.
	for (JobId const pace : {1, 1000, 2000, 20'000, 300'000})
	{
		JobId next_id = 1;
		JobId ceiling = 1 + ceiling_step_max;
		JobId step = ceiling_step_max;
		Microseconds raised = 0;
		for (Microseconds now = 0; now < 600 * second; now += second)
		{
			next_id += pace;
			ASSERT_LT(next_id, ceiling) << pace << " at " << now / second;
			if (!ceiling_is_low(next_id, ceiling, step))
				continue;
			step = next_ceiling_step(step, now - raised);
			ceiling += step;
			raised = now;
		}
	}
}

} // namespace
} // namespace onceq::core::test
