// SPDX-License-Identifier: PostgreSQL
// Proves that boards under locks of their own may share a pool that is used up again and again: what
// one board has begun does not fail half way because another one took the last frame meanwhile.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace onceq::core::test {
namespace {

// Another board, which takes what it gets and gives it back.
class Rival
{
  public:
	explicit Rival(FramePool &pool) : thread_([this, &pool] { run(pool); }) {}
	~Rival()
	{
		stop_ = true;
		thread_.join();
	}

  private:
	void
	run(FramePool &pool)
	{
		while (!stop_)
			for (FrameIndex frame = pool.take(); frame != no_frame; frame = no_frame)
				pool.give_back(frame);
	}

	std::atomic<bool> stop_ = false;
	std::thread thread_;
};

TEST(board_threads, a_lease_is_restored_whole_or_not_at_all)
{
	Stand stand(64, 8, ids_per_segment);
	stand.enqueue(1); // the only job of its page
	stand.use_up_frames();
	Rival const rival(stand.pool());
	for (int round = 0; round < 100'000; round++)
	{
		LeaseSlot *const lease = stand.open();
		ASSERT_TRUE(restore_run(stand.board, stand.pool(), *lease, ids_per_segment, ids_per_segment, 0, 2));
		ASSERT_EQ(stand.state(ids_per_segment), JobState::leased) << "round " << round;
		give_back(stand.board, stand.pool(), stand.table(), *lease, lease->held);
		ASSERT_EQ(stand.state(ids_per_segment), ready_at(0));
	}
}

TEST(board_threads, deliveries_go_on_while_a_rival_takes_every_frame_there_is)
{
	Stand stand(16, 8, ids_per_segment);
	std::size_t enqueued = 0;
	std::size_t delivered = 0;
	{
		Rival const rival(stand.pool());
		for (int round = 0; round < 3000; round++)
		{
			enqueued += stand.enqueue(7 + round % 50, round % 10).size();
			Claimed const claimed = stand.claim(40);
			delivered += claimed.ids.size();
			if (!claimed.ids.empty())
			{
				ASSERT_TRUE(stand.finish(claimed));
			}
		}
	}
	for (Claimed claimed = stand.claim(1000); !claimed.ids.empty(); claimed = stand.claim(1000))
	{
		delivered += claimed.ids.size();
		ASSERT_TRUE(stand.finish(claimed));
	}
	EXPECT_EQ(delivered, enqueued);
}

} // namespace
} // namespace onceq::core::test
