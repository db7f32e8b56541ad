// SPDX-License-Identifier: PostgreSQL
// Proves that of several threads which use the pool at once each has its frames for itself, and finds
// them zeroed, although another thread wrote to them a moment ago.
#include "core/frame_pool.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace onceq::core::test {
namespace {

struct Frame
{
	std::uint64_t word[frame_size / 8];
};

void
use(FramePool &pool, std::uint64_t name, std::atomic<int> &wrong)
{
	Dice dice(name);
	std::vector<FrameIndex> mine;
	for (int step = 0; step < 30'000; step++)
	{
		if (dice.chance(50))
		{
			FrameIndex const frame = pool.take();
			if (frame == no_frame)
				continue;
			for (std::uint64_t &word : pool.at<Frame>(frame).word)
			{
				wrong += word != 0;
				word = name;
			}
			mine.push_back(frame);
		}
		else if (!mine.empty())
		{
			for (std::uint64_t const word : pool.at<Frame>(mine.back()).word)
				wrong += word != name;
			pool.give_back(mine.back());
			mine.pop_back();
		}
	}
	for (FrameIndex const frame : mine)
		pool.give_back(frame);
}

TEST(frame_pool_threads, nobody_finds_anothers_writing_in_a_frame)
{
	PoolMemory pool(6);
	std::atomic<int> wrong = 0;
	std::vector<std::thread> threads;
	for (std::uint64_t name = 1; name <= 3; name++)
		threads.emplace_back([&, name] { use(*pool, name, wrong); });
	for (std::thread &thread : threads)
		thread.join();
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(pool->in_use(), 0U);
	for (int i = 0; i < 6; i++)
		EXPECT_NE(pool->take(), no_frame) << "a frame was lost";
}

} // namespace
} // namespace onceq::core::test
