// SPDX-License-Identifier: PostgreSQL
// A window of the day is open from its begin to just before its end, also past midnight; else one knows how
// long to wait, and has then waited long enough and not a microsecond too long.
#include <gtest/gtest.h>

#include "core/window.hpp"

using namespace onceq::core;

namespace {

constexpr Microseconds hour = 3600 * microseconds_per_second;

TEST(Window, is_open_within)
{
	Window const night{22 * hour, 6 * hour};
	Window const noon{11 * hour, 13 * hour};
	EXPECT_EQ(until_open(noon, 11 * hour), 0);
	EXPECT_EQ(until_open(noon, 13 * hour - 1), 0);
	EXPECT_EQ(until_open(noon, 13 * hour), 22 * hour);
	EXPECT_EQ(until_open(noon, 0), 11 * hour);
	EXPECT_EQ(until_open(night, 22 * hour), 0);
	EXPECT_EQ(until_open(night, 0), 0);
	EXPECT_EQ(until_open(night, 6 * hour - 1), 0);
	EXPECT_EQ(until_open(night, 6 * hour), 16 * hour);
}

TEST(Window, is_open_all_day_by_default)
{
	EXPECT_EQ(until_open({}, 0), 0);
	EXPECT_EQ(until_open({}, microseconds_per_day - 1), 0);
}

TEST(Window, waits_exactly_until_it_opens)
{
	for (Microseconds opens = 0; opens < 24; opens++)
		for (Microseconds closes = 0; closes <= 24; closes++)
			for (Microseconds now = 0; now < 24 && opens != closes; now++)
			{
				Window const window{opens * hour, closes * hour};
				Microseconds const wait = until_open(window, now * hour);
				EXPECT_GE(wait, 0);
				EXPECT_LT(wait, microseconds_per_day);
				EXPECT_EQ(until_open(window, (now * hour + wait) % microseconds_per_day), 0);
				if (wait > 0)
				{
					EXPECT_EQ(until_open(window, (now * hour + wait - 1) % microseconds_per_day), 1);
				}
			}
}

} // namespace
