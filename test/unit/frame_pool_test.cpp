// SPDX-License-Identifier: PostgreSQL
// Proves that the pool gives each frame to one taker at a time, zeroed, within its bounds, and leaves
// as many to others as the taker says.
#include "core/frame_pool.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

namespace onceq::core::test {
namespace {

struct Frame
{
	std::byte bytes[frame_size];
};

TEST(frame_pool, gives_every_frame_once_and_then_none)
{
	for (std::uint32_t const frames : {0U, 1U, 2U, 100U})
	{
		PoolMemory pool(frames);
		EXPECT_EQ(pool->capacity(), frames);
		std::set<FrameIndex> taken;
		for (std::uint32_t i = 0; i < frames; i++)
		{
			FrameIndex const frame = pool->take();
			ASSERT_LT(frame, frames);
			taken.insert(frame);
			EXPECT_EQ(pool->in_use(), i + 1);
		}
		EXPECT_EQ(taken.size(), frames);
		EXPECT_EQ(pool->take(), no_frame);
		EXPECT_EQ(pool->in_use(), frames);
	}
}

TEST(frame_pool, a_frame_is_zeroed_whatever_was_in_it)
{
	PoolMemory pool(3);
	for (int round = 0; round < 10; round++)
	{
		FrameIndex const frame = pool->take();
		Frame &content = pool->at<Frame>(frame);
		EXPECT_TRUE(std::ranges::all_of(content.bytes, [](std::byte byte) { return byte == std::byte{0}; }));
		std::memset(content.bytes, 0xAB, frame_size);
		pool->give_back(frame);
	}
}

TEST(frame_pool, frames_lie_apart_within_the_memory_asked_for)
{
	// The sanitizer sees a byte beyond the end; here, one over another.
	PoolMemory pool(50);
	std::vector<FrameIndex> frames;
	for (FrameIndex frame = pool->take(); frame != no_frame; frame = pool->take())
	{
		std::memset(pool->at<Frame>(frame).bytes, static_cast<int>(frame), frame_size);
		frames.push_back(frame);
	}
	for (FrameIndex const frame : frames)
		for (std::byte const byte : pool->at<Frame>(frame).bytes)
			ASSERT_EQ(byte, static_cast<std::byte>(frame));
}

TEST(frame_pool, frames_are_aligned_for_a_cache_line)
{
	PoolMemory pool(5);
	for (FrameIndex frame = 0; frame < 5; frame++)
		EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&pool->at<Frame>(frame)) % 64, 0U);
}

TEST(frame_pool, leaves_as_many_as_the_taker_says)
{
	PoolMemory pool(10);
	int taken = 0;
	while (pool->take(3) != no_frame)
		taken++;
	EXPECT_EQ(taken, 7);
	EXPECT_EQ(pool->take(3), no_frame);
	EXPECT_NE(pool->take(2), no_frame);
	EXPECT_NE(pool->take(), no_frame);
	EXPECT_NE(pool->take(), no_frame);
	EXPECT_EQ(pool->take(), no_frame);
	EXPECT_EQ(PoolMemory(4)->take(4), no_frame);
	EXPECT_EQ(PoolMemory(4)->take(0xFFFF), no_frame);
}

TEST(frame_pool, agrees_with_a_set_through_random_use)
{
	Dice dice(31);
	PoolMemory pool(64);
	std::vector<FrameIndex> mine;
	for (int step = 0; step < 100'000; step++)
	{
		bool const take = dice.chance(50 + static_cast<int>(40 * (step / 1000 % 2 == 0 ? 1 : -1)));
		if (take)
		{
			FrameIndex const frame = pool->take();
			ASSERT_EQ(frame == no_frame, mine.size() == 64);
			ASSERT_EQ(std::ranges::count(mine, frame), 0);
			if (frame != no_frame)
				mine.push_back(frame);
		}
		else if (!mine.empty())
		{
			std::swap(mine.back(), mine[static_cast<std::size_t>(dice.below(static_cast<std::int64_t>(mine.size())))]);
			pool->give_back(mine.back());
			mine.pop_back();
		}
		ASSERT_EQ(pool->in_use(), mine.size());
	}
}

} // namespace
} // namespace onceq::core::test
