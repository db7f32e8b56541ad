// SPDX-License-Identifier: PostgreSQL
// A standing board with its pool and its lease table, and the protocol's steps in the order in which
// an undisturbed producer or consumer takes them.
#pragma once

#include "support.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace onceq::core::test {

inline constexpr Wall noon{1'000'000};

struct Claimed
{
	LeaseSlot *lease = nullptr;
	Token token = no_token;
	std::vector<JobId> ids;
	Refusal refusal = Refusal::none;

	JobSet
	all() const
	{
		return JobSet::first(static_cast<int>(ids.size()));
	}
};

class Stand
{
  public:
	explicit Stand(std::uint32_t frames = 256, std::uint32_t slots = 32, JobId first_id = 1)
		: pool_memory_(frames), table_memory_(slots)
	{
		begin_building(board, BoardKey{5, 1, 99});
		finish_building(board, first_id, JobId{1} << 40, segment_of(first_id) + 100, noon);
	}

	FramePool &
	pool()
	{
		return *pool_memory_;
	}
	LeaseTable &
	table()
	{
		return *table_memory_;
	}

	// Reserves as often as it takes and publishes at once; what was refused is not enqueued.
	std::vector<JobId>
	enqueue(int count, int priority = 0, Wall due = wall_always)
	{
		std::vector<JobId> ids;
		while (static_cast<int>(ids.size()) < count)
		{
			Reservation const got = reserve(board, pool(), count - static_cast<int>(ids.size()));
			if (got.count == 0)
				break;
			publish(board, pool(), got.first, got.first + got.count - 1, priority, due);
			for (int i = 0; i < got.count; i++)
				ids.push_back(got.first + i);
		}
		return ids;
	}

	LeaseSlot *
	open()
	{
		return open_lease(board, table(), 0, ++random_, LeaseHolder{}, leases_max);
	}

	// As a build does it.
	LeaseSlot *
	restore(Token token)
	{
		LeaseSlot *const lease = table().restore(0, token, LeaseHolder{});
		board.leases += lease != nullptr;
		return lease;
	}

	// Up to and without the settling.
	Claimed
	take_ready(int count)
	{
		Claimed claimed;
		claimed.lease = open();
		if (claimed.lease == nullptr)
			return claimed;
		claimed.token = claimed.lease->token.load();
		int const taken = take(board, pool(), *claimed.lease, count, claimed.refusal);
		for (int index = 0; index < claimed.lease->run_count; index++)
		{
			LeasedIds const run = run_at(pool(), *claimed.lease, index);
			for (JobId id = run.first; id <= run.last; id++)
				claimed.ids.push_back(id);
		}
		if (taken != static_cast<int>(claimed.ids.size()))
			std::abort();
		if (claimed.ids.empty())
			close_lease(board, pool(), table(), *claimed.lease);
		return claimed;
	}

	Claimed
	claim(int count, Monotonic deadline = Monotonic{100})
	{
		Claimed claimed = take_ready(count);
		if (!claimed.ids.empty())
		{
			settle(board, pool(), *claimed.lease, Findings{{}, {}, {}, wall_never});
			hold(board, *claimed.lease, deadline);
		}
		return claimed;
	}

	// All of it, in a transaction of its own: false when the lease is lost.
	bool
	finish(Claimed const &claimed, Ending ending = Ending::succeeded, Wall due = wall_always)
	{
		JobSet const jobs = claimed.lease->held;
		if (!may_end(*claimed.lease, claimed.token, jobs) || !pin(*claimed.lease, claimed.token, jobs))
			return false;
		end(board, pool(), table(), *claimed.lease, jobs, ending, due);
		return true;
	}

	bool
	expire(LeaseSlot &lease, Monotonic now)
	{
		if (!may_expire(lease, now))
			return false;
		begin_expiry(lease, table().index_of(lease), ++random_);
		end(board, pool(), table(), lease, lease.held, Ending::failed, wall_always);
		return true;
	}

	JobState
	state(JobId id)
	{
		return board.map.state(pool(), id);
	}
	std::int64_t
	count(JobState state) const
	{
		return board.map.count(state);
	}

	// Leaves nothing free; what was taken comes back with release_frames().
	void
	use_up_frames(std::uint32_t left = 0)
	{
		while (pool().capacity() - pool().in_use() > left)
			used_up_.push_back(pool().take());
	}

	void
	release_frames()
	{
		for (FrameIndex const frame : std::exchange(used_up_, {}))
			pool().give_back(frame);
	}

	Board board;
	std::int32_t leases_max = 1000;

  private:
	PoolMemory pool_memory_;
	TableMemory table_memory_;
	std::uint64_t random_ = 1000;
	std::vector<FrameIndex> used_up_;
};

// first … last, as a list.
inline std::vector<JobId>
ids_between(JobId first, JobId last)
{
	std::vector<JobId> ids;
	for (JobId id = first; id <= last; id++)
		ids.push_back(id);
	return ids;
}

} // namespace onceq::core::test
