// SPDX-License-Identifier: PostgreSQL
// Proves that the stack of free indexes gives each index once, the last returned first.
#include "core/index_stack.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace onceq::core::test {
namespace {

struct Filled
{
	explicit Filled(std::uint32_t count) : links(std::make_unique<IndexStack::Link[]>(count))
	{
		stack.fill(links.get(), count);
	}

	std::uint32_t
	pop()
	{
		return stack.pop(links.get());
	}
	void
	push(std::uint32_t index)
	{
		stack.push(links.get(), index);
	}

	std::unique_ptr<IndexStack::Link[]> links;
	IndexStack stack;
};

TEST(index_stack, an_empty_one_gives_none)
{
	Filled filled(0);
	EXPECT_EQ(filled.pop(), no_index);
	EXPECT_EQ(filled.stack.in_use(), 0U);
}

TEST(index_stack, gives_the_lowest_first_and_each_once)
{
	Filled filled(5);
	for (std::uint32_t i = 0; i < 5; i++)
		EXPECT_EQ(filled.pop(), i);
	EXPECT_EQ(filled.pop(), no_index);
	EXPECT_EQ(filled.stack.in_use(), 5U);
}

TEST(index_stack, gives_what_came_back_last)
{
	Filled filled(4);
	for (int i = 0; i < 4; i++)
		filled.pop();
	for (std::uint32_t const index : {2U, 0U, 3U})
		filled.push(index);
	EXPECT_EQ(filled.stack.in_use(), 1U);
	for (std::uint32_t const index : {3U, 0U, 2U, no_index})
		EXPECT_EQ(filled.pop(), index);
}

TEST(index_stack, fill_begins_anew)
{
	Filled filled(3);
	filled.pop();
	filled.pop();
	filled.stack.fill(filled.links.get(), 3);
	EXPECT_EQ(filled.stack.in_use(), 0U);
	for (std::uint32_t i = 0; i < 3; i++)
		EXPECT_EQ(filled.pop(), i);
}

TEST(index_stack, agrees_with_a_list_through_random_use)
{
	Dice dice(8);
	Filled filled(40);
	std::vector<std::uint32_t> free;
	for (std::uint32_t i = 40; i-- > 0;)
		free.push_back(i);
	std::vector<std::uint32_t> used;
	for (int step = 0; step < 200'000; step++)
	{
		if (dice.chance(50))
		{
			std::uint32_t const expected = free.empty() ? no_index : free.back();
			ASSERT_EQ(filled.pop(), expected);
			if (expected == no_index)
				continue;
			free.pop_back();
			used.push_back(expected);
		}
		else if (!used.empty())
		{
			std::swap(used.back(), used[static_cast<std::size_t>(dice.below(static_cast<std::int64_t>(used.size())))]);
			filled.push(used.back());
			free.push_back(used.back());
			used.pop_back();
		}
		ASSERT_EQ(filled.stack.in_use(), used.size());
	}
}

} // namespace
} // namespace onceq::core::test
