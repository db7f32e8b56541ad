// SPDX-License-Identifier: PostgreSQL
// Proves that a list of waiters gives them back in the order they came, whoever leaves in between: by
// comparison with a std::list under random steps, several lists sharing the nodes.
#include "core/wait_list.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <vector>

namespace onceq::core::test {
namespace {

TEST(wait_list, first_come_first_served)
{
	WaitNode nodes[3] = {};
	WaitList list;
	list.initialise();
	EXPECT_TRUE(list.empty());
	EXPECT_EQ(list.pop(nodes), no_index);
	for (std::uint32_t const index : {2U, 0U, 1U})
		list.push(nodes, index);
	EXPECT_FALSE(list.empty());
	for (std::uint32_t const index : {2U, 0U, 1U})
		EXPECT_EQ(list.pop(nodes), index);
	EXPECT_TRUE(list.empty());
}

TEST(wait_list, behaves_like_a_list)
{
	constexpr std::uint32_t node_count = 12;
	std::mt19937 dice(1);
	WaitNode nodes[node_count] = {};
	WaitList list[2];
	std::list<std::uint32_t> model[2];
	for (WaitList &each : list)
		each.initialise();
	for (int step = 0; step < 20000; step++)
	{
		std::uint32_t const which = dice() % 2;
		std::uint32_t const index = which * node_count / 2 + dice() % (node_count / 2);
		std::list<std::uint32_t> &expected = model[which];
		ASSERT_EQ(nodes[index].listed, std::count(expected.begin(), expected.end(), index) == 1);
		if (dice() % 3 == 0)
		{
			ASSERT_EQ(list[which].pop(nodes), expected.empty() ? no_index : expected.front());
			if (!expected.empty())
				expected.pop_front();
		}
		else if (nodes[index].listed)
		{
			list[which].remove(nodes, index);
			expected.remove(index);
		}
		else
		{
			list[which].push(nodes, index);
			expected.push_back(index);
		}
		ASSERT_EQ(list[which].empty(), expected.empty());
	}
}

} // namespace
} // namespace onceq::core::test
