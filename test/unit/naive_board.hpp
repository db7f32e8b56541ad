// SPDX-License-Identifier: PostgreSQL
// What a board should be after any history of steps, kept in a map from id to state and a list of
// leases; and the comparison of the two.
#pragma once

#include "board_fixture.hpp"
#include "naive_map.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>

namespace onceq::core::test {

struct Course
{
	std::uint64_t seed;
	std::uint32_t frames;
	int steps;
	bool starved;
	std::span<std::uint8_t const> bytes = {};
};

inline void
PrintTo(Course const &course, std::ostream *out)
{
	*out << "seed " << course.seed << ", " << course.frames << " frames";
}

// A lease, its jobs by number.
struct Lease
{
	LeaseSlot *slot;
	Token token;
	std::vector<JobId> ids;
	std::vector<int> priority;
	JobSet held;
	JobSet pinned;   // by a commit under way
	JobSet released; // and pinned, until the journal is clear
	bool lost;
};

class NaiveBoard
{
  public:
	explicit NaiveBoard(Course const &course)
		: course_(course), dice_(course.seed, course.bytes), stand_(course.frames, 16, ids_per_segment - 5000)
	{
		next_id_ = stand_.board.next_id;
	}

	bool
	has_bytes() const
	{
		return dice_.has_bytes();
	}

	void
	compare()
	{
		ASSERT_EQ(stand_.board.next_id, next_id_);
		std::map<JobState, std::int64_t> counts;
		for (auto const &[id, job] : jobs_)
		{
			ASSERT_EQ(stand_.state(id), job.state) << id;
			ASSERT_EQ(stand_.board.map.history(stand_.pool(), id), job.history) << id;
			counts[job.state]++;
		}
		for (int value = 1; value < job_state_count; value++)
			ASSERT_EQ(stand_.count(static_cast<JobState>(value)), counts[static_cast<JobState>(value)]);
		for (int priority = 0; priority <= priority_max; priority++)
			ASSERT_EQ(stand_.board.map.find(stand_.pool(), ready_at(priority), stand_.board.lowest_ready[priority]),
					  stand_.board.map.find(stand_.pool(), ready_at(priority), 0))
				<< "a hint hides a job of priority " << priority;
		if (!course_.starved)
		{
			ASSERT_EQ(stand_.pool().in_use(), frames_needed());
		}
		ASSERT_EQ(stand_.table().in_use(), leases_.size());
		ASSERT_EQ(stand_.board.leases, static_cast<std::int32_t>(leases_.size()));
	}

  protected:
	std::uint32_t
	frames_needed() const
	{
		std::map<JobId, std::map<std::pair<JobState, bool>, int>> pages;
		for (auto const &[id, job] : jobs_)
			pages[id / ids_per_page][{job.state, job.history}]++;
		std::size_t frames = touched_.empty() ? 0 : 2;
		for (auto const &[page, kinds] : pages)
		{
			auto const &[kind, count] = *kinds.begin();
			frames += kinds.size() > 1 || count < ids_per_page || keeps_page(kind.first);
		}
		for (Lease const &lease : leases_)
			frames += lease.slot->overflow != no_frame;
		return static_cast<std::uint32_t>(frames + touched_.size());
	}

	void
	set(JobId id, JobState state)
	{
		if (state != JobState::none)
		{
			jobs_[id].state = state;
			return;
		}
		jobs_.erase(id);
		due_.erase(id);
	}

	JobState
	available(int priority, Wall due) const
	{
		return due <= stand_.board.watermark ? ready_at(priority) : JobState::waiting;
	}

	Wall
	random_due()
	{
		return dice_.chance(70) ? wall_always : stand_.board.watermark + dice_.between(-10, 40);
	}

	JobSet
	some_of(JobSet const &set)
	{
		int const percent = dice_.chance(30) ? 100 : static_cast<int>(dice_.below(100));
		JobSet some{};
		for (int job = set.next(0, lease_jobs_max, true); job < lease_jobs_max;
			 job = set.next(job + 1, lease_jobs_max, true))
			if (dice_.chance(percent))
				some.add(job);
		return some;
	}

	template <typename T>
	T &
	any(std::vector<T> &list)
	{
		return list[static_cast<std::size_t>(dice_.below(static_cast<std::int64_t>(list.size())))];
	}

	// The first count ready jobs, as they should be claimed.
	std::vector<JobId>
	next_ready(std::size_t count) const
	{
		std::array<std::vector<JobId>, priority_max + 1> ready;
		for (auto const &[id, job] : jobs_)
			if (is_ready(job.state) && ready[static_cast<std::size_t>(priority_of(job.state))].size() < count)
				ready[static_cast<std::size_t>(priority_of(job.state))].push_back(id);
		std::vector<JobId> ids;
		for (std::size_t priority = priority_max + 1; priority-- > 0;)
			ids.insert(ids.end(), ready[priority].begin(), ready[priority].end());
		ids.resize(std::min(ids.size(), count));
		return ids;
	}

	Course course_;
	Dice dice_;
	Stand stand_;
	std::map<JobId, NaiveJob> jobs_; // those that are not none
	std::map<JobId, Wall> due_;
	std::set<SegmentNumber> touched_;
	std::vector<Reservation> reservations_;
	std::vector<Lease> leases_;
	std::vector<Seized> seized_;
	JobId next_id_;
};

} // namespace onceq::core::test
