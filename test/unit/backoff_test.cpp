// SPDX-License-Identifier: PostgreSQL
// Proves the wait before the next attempt: it grows by the factor, is spread evenly by the jitter, and
// is never negative and never above the maximum, whatever the options.
#include "core/backoff.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace onceq::core::test {
namespace {

constexpr Microseconds second = microseconds_per_second;
constexpr Microseconds longest = std::numeric_limits<Microseconds>::max();

struct Case
{
	Backoff backoff;
	int failed_attempts;
	double random;
	Microseconds delay;
};

TEST(backoff, grows_by_the_factor_up_to_the_maximum)
{
	constexpr Backoff usual{1 * second, 2, 3600 * second, 0};
	for (Case const &row : {Case{usual, 1, 0, 1 * second},
							{usual, 2, 0, 2 * second},
							{usual, 3, 0, 4 * second},
							{usual, 12, 0, 2048 * second},
							{usual, 13, 0, 3600 * second},
							{usual, 4095, 0, 3600 * second},
							{usual, 0, 0, 1 * second},
							{usual, -3, 0, 1 * second},
							{{10 * second, 1, 60 * second, 0}, 50, 0, 10 * second},
							{{10 * second, 3, 5 * second, 0}, 1, 0, 5 * second},
							{{16 * second, 0.5, 60 * second, 0}, 3, 0, 4 * second}})
		EXPECT_EQ(backoff_delay(row.backoff, row.failed_attempts, row.random), row.delay) << row.failed_attempts;
}

TEST(backoff, is_spread_to_both_sides)
{
	constexpr Backoff spread{10 * second, 2, 3600 * second, 0.1};
	EXPECT_EQ(backoff_delay(spread, 1, 0), 9 * second);
	EXPECT_EQ(backoff_delay(spread, 1, 0.5), 10 * second);
	EXPECT_NEAR(static_cast<double>(backoff_delay(spread, 1, 1 - 1e-9)), 11e6, 1);
	EXPECT_EQ(backoff_delay(Backoff{10 * second, 2, 10 * second, 0.5}, 9, 0.99), 10 * second);
	EXPECT_EQ(backoff_delay(Backoff{10 * second, 2, 3600 * second, 1}, 1, 0), 0);
}

TEST(backoff, no_option_leads_out_of_the_bounds)
{
	for (Case const &row : {
			 Case{{0, 2, 3600 * second, 0.1}, 1, 0.5, 0},
			 {{0, 2, 3600 * second, 0.1}, 4095, 0.5, 0}, // nothing, grown beyond all bounds
			 {{0, 1e300, 3600 * second, 0.1}, 4095, 0.5, 0},
			 {{second, 1e300, longest, 0.1}, 4095, 0.5, longest},
			 {{longest, 2, longest, 1}, 3, 0.999, longest},
			 {{longest, 2, longest, 0}, 1, 0, longest},
			 {{second, 2, 0, 0.1}, 5, 0.5, 0},
			 {{second, 2, 10 * second, 5}, 1, 0, 0}, // a jitter of more than all
			 {{second, 0, 10 * second, 0}, 2, 0, 0},
		 })
		EXPECT_EQ(backoff_delay(row.backoff, row.failed_attempts, row.random), row.delay);
}

TEST(backoff, stays_within_its_bounds_for_random_options)
{
	Dice dice(36);
	auto const share = [&] { return static_cast<double>(dice.below(1'000'000)) / 1e6; };
	for (int i = 0; i < 200'000; i++)
	{
		Backoff const backoff{dice.below(dice.chance(10) ? longest : 100 * second),
							  share() * (dice.chance(10) ? 1e9 : 4),
							  dice.below(dice.chance(10) ? longest : 10'000 * second), share()};
		Microseconds const delay = backoff_delay(backoff, static_cast<int>(dice.between(1, 4095)), share());
		ASSERT_GE(delay, 0);
		ASSERT_LE(delay, backoff.max);
	}
}

} // namespace
} // namespace onceq::core::test
