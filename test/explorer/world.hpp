// SPDX-License-Identifier: PostgreSQL
// The memory of the server that a model runs over: a real board, frame pool and lease table; and what
// of it makes one state differ from another, in a few bytes, from which it can be built again.
#pragma once

#include "core/board.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <new>

namespace onceq::explorer {

using namespace core;

inline constexpr int jobs_max = 2;
inline constexpr int slots = 3;

using Jobs = std::uint8_t; // a set: bit j is job j

constexpr Jobs
bit(int job)
{
	return static_cast<Jobs>(1 << job);
}

constexpr bool
has(Jobs jobs, int job)
{
	return (jobs >> job) & 1;
}

// Times as a model counts them: 0 is always, 255 never.
using Time = std::uint8_t;

Wall wall_of(Time time);
Time time_of(Wall wall);

struct LeaseView
{
	std::uint8_t token; // 0: the slot is free; the random part of the real one
	LeaseState state;
	LeaseJournal journal;
	Jobs jobs; // in ascending order: a run each
	Jobs held;
	Jobs pinned;
	Jobs released;
	Jobs cancelled;
	std::array<std::uint8_t, jobs_max> attempt;

	friend bool operator==(LeaseView const &, LeaseView const &) = default;
};

struct BoardView
{
	std::array<JobState, jobs_max> job;
	Jobs history;
	std::uint8_t next; // of next_id: how many jobs are below it
	std::uint8_t hint; // of lowest_ready[0]: 0, or 1 + how many jobs are below it
	Time watermark;
	Time promoted_to;
	Time promoting_to;
	Time earliest_due;
	std::uint8_t leases;
	std::array<LeaseView, slots> lease;

	friend bool operator==(BoardView const &, BoardView const &) = default;
};

class World
{
  public:
	// The jobs have the ids from base on; the pool is just large enough for them.
	explicit World(JobId base, std::uint32_t frames = 5);

	// Copies the bytes: the structures hold indexes and no pointers.
	void assign(World const &other);

	void build(BoardView const &view);
	BoardView view() const;

	// An empty board to be filled from the tables, as after a start.
	void begin_building();

	Board &
	board() const
	{
		return *reinterpret_cast<Board *>(bytes());
	}
	FramePool &
	pool() const
	{
		return *reinterpret_cast<FramePool *>(bytes() + pool_at_);
	}
	LeaseTable &
	table() const
	{
		return *reinterpret_cast<LeaseTable *>(bytes() + table_at_);
	}

	JobId
	id(int job) const
	{
		return base_ + job;
	}
	int
	job_of(JobId id) const
	{
		return static_cast<int>(id - base_);
	}
	JobState
	state(int job) const
	{
		return board().map.state(pool(), id(job));
	}
	bool
	history(int job) const
	{
		return board().map.history(pool(), id(job));
	}

	// A provisional lease, in the lowest free slot, so that the order of the free ones makes no difference.
	LeaseSlot &grant(std::uint8_t random);
	LeaseSlot &restore(int slot_index, std::uint8_t random);
	void
	close(LeaseSlot &lease)
	{
		close_lease(board(), pool(), table(), lease);
	}

	LeaseSlot &
	slot(int index) const
	{
		return table().slot(static_cast<std::uint32_t>(index));
	}
	Token token(int slot_index, std::uint8_t random) const;

	// The jobs by their numbers in the lease; those that are not of it are left out.
	JobSet numbers(LeaseSlot const &lease, Jobs jobs) const;
	Jobs jobs_of(LeaseSlot const &lease, JobSet const &set) const;

  private:
	std::byte *
	bytes() const
	{
		return static_cast<std::byte *>(memory_.get());
	}
	void build_lease(int index, LeaseView const &view);
	LeaseView view_lease(LeaseSlot const &lease) const;

	struct Free
	{
		void
		operator()(void *memory) const
		{
			::operator delete (memory, std::align_val_t{64});
		}
	};

	JobId base_;
	std::uint32_t frames_;
	std::size_t pool_at_;
	std::size_t table_at_;
	std::size_t size_;
	std::unique_ptr<void, Free> memory_;
};

} // namespace onceq::explorer
