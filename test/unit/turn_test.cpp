// SPDX-License-Identifier: PostgreSQL
// Proves that queues get their turn by weight: an order holds each of them once, and among those that have
// work, whichever they are, each comes first in proportion to its weight.
#include "core/turn.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace onceq::core::test {
namespace {

std::vector<int>
order_of(std::vector<int> const &weights, std::uint64_t random)
{
	std::vector<int> order(weights.size(), -1);
	order_by_lot(weights.data(), static_cast<int>(weights.size()), random, order.data());
	return order;
}

// How often each queue is the first of those with work.
std::vector<int>
turns_of(std::vector<int> const &weights, std::vector<bool> const &has_work, int claims)
{
	std::mt19937_64 dice(7);
	std::vector<int> turns(weights.size(), 0);
	for (int i = 0; i < claims; i++)
		for (int const queue : order_of(weights, dice()))
			if (has_work[static_cast<std::size_t>(queue)])
			{
				turns[static_cast<std::size_t>(queue)]++;
				break;
			}
	return turns;
}

TEST(turn, every_queue_has_one_place)
{
	std::mt19937_64 dice(3);
	for (int count = 1; count <= turn_queues_max; count++)
	{
		std::vector<int> weights;
		for (int i = 0; i < count; i++)
			weights.push_back(1 + static_cast<int>(dice() % weight_max));
		std::vector<int> order = order_of(weights, dice());
		std::sort(order.begin(), order.end());
		for (int i = 0; i < count; i++)
			ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
	}
}

TEST(turn, the_same_lots_give_the_same_order)
{
	EXPECT_EQ(order_of({5, 1, 9, 9}, 42), order_of({5, 1, 9, 9}, 42));
}

TEST(turn, shares_follow_the_weights)
{
	constexpr int claims = 100000;
	std::vector<int> const turns = turns_of({1, 2, 7}, {true, true, true}, claims);
	EXPECT_NEAR(turns[0], claims / 10, claims / 100);
	EXPECT_NEAR(turns[1], claims / 5, claims / 100);
	EXPECT_NEAR(turns[2], claims * 7 / 10, claims / 100);
}

TEST(turn, a_queue_without_work_leaves_the_others_their_shares)
{
	constexpr int claims = 100000;
	std::vector<int> const turns = turns_of({1, 1000, 3}, {true, false, true}, claims);
	EXPECT_NEAR(turns[0], claims / 4, claims / 100);
	EXPECT_EQ(turns[1], 0);
	EXPECT_NEAR(turns[2], claims * 3 / 4, claims / 100);
}

TEST(turn, the_least_weight_is_served_beside_the_greatest)
{
	std::vector<int> const turns = turns_of({weight_max, 1}, {true, true}, 100000);
	EXPECT_GT(turns[1], 50);
	EXPECT_LT(turns[1], 150);
}

} // namespace
} // namespace onceq::core::test
