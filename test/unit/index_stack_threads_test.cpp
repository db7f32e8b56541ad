// SPDX-License-Identifier: PostgreSQL
// Proves that of several threads no two ever hold the same index, also when an index leaves the stack
// and comes back between a look at its top and the exchange; and that none is lost.
#include "core/index_stack.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace onceq::core::test {
namespace {

constexpr std::uint32_t indexes = 4; // few, so that the same ones come and go

TEST(index_stack_threads, no_index_has_two_holders)
{
	IndexStack::Link links[indexes];
	IndexStack stack;
	stack.fill(links, indexes);
	std::atomic<int> holders[indexes] = {};
	std::atomic<int> wrong = 0;
	auto const use = [&](std::uint64_t seed) {
		Dice dice(seed);
		std::vector<std::uint32_t> mine;
		for (int step = 0; step < 200'000; step++)
			if (dice.chance(55))
			{
				std::uint32_t const index = stack.pop(links);
				if (index == no_index)
					continue;
				wrong += holders[index].fetch_add(1) != 0;
				mine.push_back(index);
			}
			else if (!mine.empty())
			{
				holders[mine.back()].fetch_sub(1);
				stack.push(links, mine.back());
				mine.pop_back();
			}
		for (std::uint32_t const index : mine)
		{
			holders[index].fetch_sub(1);
			stack.push(links, index);
		}
	};
	std::vector<std::thread> threads;
	for (std::uint64_t seed = 1; seed <= 3; seed++)
		threads.emplace_back(use, seed);
	for (std::thread &thread : threads)
		thread.join();
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(stack.in_use(), 0U);
	for (std::uint32_t i = 0; i < indexes; i++)
		EXPECT_NE(stack.pop(links), no_index);
	EXPECT_EQ(stack.pop(links), no_index);
}

} // namespace
} // namespace onceq::core::test
