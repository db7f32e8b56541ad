// SPDX-License-Identifier: PostgreSQL
// Proves the token bucket against a list of all deliveries: never more than the burst and what flowed in
// since, and always as much as that; and that a board lets no more jobs run than its limits say.
#include "core/limits.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

namespace onceq::core::test {
namespace {

constexpr Microseconds second = microseconds_per_second;

TokenBucket
full_bucket()
{
	TokenBucket bucket;
	bucket.begin(monotonic_always);
	return bucket;
}

TEST(token_bucket, gives_the_burst_at_once_and_then_the_rate)
{
	TokenBucket bucket = full_bucket();
	Rate const rate{10, 5, second};
	EXPECT_EQ(bucket.available(rate, Monotonic{0}), 5);
	bucket.take(5);
	EXPECT_EQ(bucket.available(rate, Monotonic{0}), 0);
	EXPECT_EQ(bucket.wait(), second / 10);
	EXPECT_EQ(bucket.available(rate, Monotonic{second / 10 - 1}), 0);
	EXPECT_EQ(bucket.wait(), 1);
	EXPECT_EQ(bucket.available(rate, Monotonic{second / 10}), 1);
	EXPECT_EQ(bucket.wait(), 0);
	EXPECT_EQ(bucket.available(rate, Monotonic{100 * second}), 5);
}

TEST(token_bucket, takes_no_notice_of_a_time_before_the_last)
{
	TokenBucket bucket = full_bucket();
	Rate const rate{1, 1, second};
	EXPECT_EQ(bucket.available(rate, Monotonic{50 * second}), 1);
	bucket.take(1);
	EXPECT_EQ(bucket.available(rate, Monotonic{10 * second}), 0);
	EXPECT_EQ(bucket.available(rate, Monotonic{51 * second - 1}), 0);
	EXPECT_EQ(bucket.available(rate, Monotonic{51 * second}), 1);
}

TEST(token_bucket, that_was_empty_fills_from_then_on)
{
	TokenBucket bucket;
	bucket.begin(Monotonic{7 * second});
	Rate const rate{2, 10, second};
	EXPECT_EQ(bucket.available(rate, Monotonic{9 * second}), 4);
	bucket.open();
	EXPECT_EQ(bucket.available(rate, Monotonic{10 * second}), 6);
}

TEST(token_bucket, what_was_not_delivered_in_the_end_comes_back)
{
	TokenBucket bucket = full_bucket();
	Rate const rate{1, 3, second};
	ASSERT_EQ(bucket.available(rate, Monotonic{0}), 3);
	bucket.take(3);
	bucket.give_back(2);
	EXPECT_EQ(bucket.available(rate, Monotonic{0}), 2);
	bucket.give_back(100);
	EXPECT_EQ(bucket.available(rate, Monotonic{0}), 3);
}

TEST(token_bucket, keeps_whole_jobs_when_the_rate_changes)
{
	TokenBucket bucket = full_bucket();
	ASSERT_EQ(bucket.available(Rate{10, 8, second}, Monotonic{0}), 8);
	bucket.take(2);
	EXPECT_EQ(bucket.available(Rate{3, 100, 60 * second}, Monotonic{0}), 6);
	EXPECT_EQ(bucket.available(Rate{3, 4, second}, Monotonic{0}), 4);
}

TEST(token_bucket, bears_the_extremes)
{
	for (std::int32_t const limit : {1, rate_limit_max})
		for (std::int32_t const burst : {1, rate_limit_max})
			for (Microseconds const period : {Microseconds{1000}, rate_period_max})
			{
				TokenBucket bucket = full_bucket();
				Rate const rate{limit, burst, period};
				Monotonic const late{INT64_MAX / 2};
				EXPECT_EQ(bucket.available(rate, late), burst);
				bucket.take(burst);
				EXPECT_EQ(bucket.available(rate, late), 0);
				EXPECT_EQ(bucket.available(rate, late + bucket.wait()),
						  std::min(burst, std::max(1, static_cast<int>(limit / period))));
				EXPECT_EQ(bucket.available(rate, monotonic_never), burst);
			}
}

// In no span of time more than the burst and what flows in during it; and nothing is withheld.
TEST(token_bucket, agrees_with_a_list_of_deliveries)
{
	for (std::uint64_t seed = 1; seed <= 20; seed++)
	{
		Dice dice(seed);
		Rate const rate{static_cast<std::int32_t>(dice.between(1, 20)), static_cast<std::int32_t>(dice.between(1, 20)),
						dice.between(1000, 3 * second)};
		TokenBucket bucket = full_bucket();
		Monotonic now{dice.below(second)};
		// tokens × period, counted since the bucket was last full
		std::int64_t level = rate.burst * rate.period;
		for (int step = 0; step < 2000; step++)
		{
			Microseconds const passed =
				dice.chance(10) ? dice.below(10 * second) : dice.below(rate.period / rate.limit + 2);
			now = now + passed;
			level = std::min(level + passed * rate.limit, rate.burst * rate.period);
			int const available = bucket.available(rate, now);
			ASSERT_EQ(available, level / rate.period);
			int const taken = static_cast<int>(dice.between(0, available));
			bucket.take(taken);
			level -= taken * rate.period;
		}
	}
}

// ---- a board

TEST(limits, let_no_more_jobs_run_than_allowed)
{
	Stand stand;
	stand.enqueue(10);
	Limits const limits{4, {}};
	EXPECT_EQ(allowed(stand.board, limits, 3, Monotonic{0}), 3);
	EXPECT_FALSE(stand.board.ends_are_awaited);
	Claimed const first = stand.claim(3);
	EXPECT_EQ(allowed(stand.board, limits, 3, Monotonic{0}), 1);
	EXPECT_TRUE(stand.board.ends_are_awaited);
	stand.claim(1);
	EXPECT_EQ(allowed(stand.board, limits, 3, Monotonic{0}), 0);
	ASSERT_TRUE(stand.finish(first));
	EXPECT_EQ(allowed(stand.board, limits, 9, Monotonic{0}), 3);
	EXPECT_EQ(allowed(stand.board, Limits{}, 9, Monotonic{0}), 9);
}

TEST(limits, lowered_while_more_run_let_none_start)
{
	Stand stand;
	stand.enqueue(10);
	stand.claim(5);
	EXPECT_EQ(allowed(stand.board, Limits{2, {}}, 1, Monotonic{0}), 0);
}

TEST(limits, count_deliveries_and_not_what_was_taken_in_vain)
{
	Stand stand;
	stand.enqueue(10);
	Limits const limits{0, {1, 6, second}};
	ASSERT_EQ(allowed(stand.board, limits, 9, Monotonic{0}), 6);
	Claimed const taken = stand.take_ready(4);
	EXPECT_EQ(allowed(stand.board, limits, 9, Monotonic{0}), 2);
	Findings findings{{}, {}, {}, wall_never};
	findings.absent.add(0);
	settle(stand.board, stand.pool(), *taken.lease, findings);
	EXPECT_EQ(allowed(stand.board, limits, 9, Monotonic{0}), 3);
	give_back(stand.board, stand.pool(), stand.table(), *taken.lease, taken.lease->held);
	EXPECT_EQ(allowed(stand.board, limits, 9, Monotonic{0}), 6);
	Claimed const delivered = stand.claim(4);
	give_back(stand.board, stand.pool(), stand.table(), *delivered.lease, delivered.lease->held);
	EXPECT_EQ(allowed(stand.board, limits, 9, Monotonic{0}), 2);
}

} // namespace
} // namespace onceq::core::test
