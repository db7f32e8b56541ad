// SPDX-License-Identifier: PostgreSQL
// Proves that times add up without overflow: what would pass an end stays at that end.
#include "core/time.hpp"

#include <gtest/gtest.h>

#include <type_traits>

namespace onceq::core::test {
namespace {

constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();

TEST(time, sums_stay_within_their_ends)
{
	struct Case
	{
		std::int64_t time;
		Microseconds span;
		std::int64_t sum;
	};
	for (Case const &row : {Case{0, 0, 0},
							{5, -7, -2},
							{highest, 1, highest},
							{highest, highest, highest},
							{lowest, -1, lowest},
							{lowest, lowest, lowest},
							{highest, -1, highest - 1},
							{lowest, highest, -1},
							{highest - 3, 4, highest},
							{lowest + 3, -4, lowest}})
	{
		EXPECT_EQ(saturating_add(row.time, row.span), row.sum);
		EXPECT_EQ((Wall{row.time} + row.span).us, row.sum);
		EXPECT_EQ((Monotonic{row.time} + row.span).us, row.sum);
	}
}

TEST(time, always_comes_first_and_never_last)
{
	EXPECT_LT(wall_always, Wall{0});
	EXPECT_LT(Wall{0}, wall_never);
	EXPECT_LT(Monotonic{0}, monotonic_never);
	EXPECT_EQ(wall_never + 1, wall_never);
	EXPECT_EQ(monotonic_never + microseconds_per_second, monotonic_never);
}

TEST(time, the_two_kinds_do_not_mix)
{
	static_assert(!std::is_convertible_v<Wall, Monotonic> && !std::is_convertible_v<Monotonic, Wall>);
	static_assert(!std::is_convertible_v<std::int64_t, Wall> && !std::is_convertible_v<std::int64_t, Monotonic>);
}

} // namespace
} // namespace onceq::core::test
