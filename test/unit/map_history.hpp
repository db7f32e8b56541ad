// SPDX-License-Identifier: PostgreSQL
// A history of a state map beside that of a map from id to state: each step is taken by both, and
// each answer is the same.
#pragma once

#include "core/state_map.hpp"

#include "naive_map.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

namespace onceq::core::test {

struct MapCourse
{
	std::uint64_t seed;
	std::uint32_t frames;
	int steps;
	std::span<std::uint8_t const> bytes = {};
};

inline void
PrintTo(MapCourse const &course, std::ostream *out)
{
	*out << "seed " << course.seed << ", " << course.frames << " frames";
}

class MapHistory
{
  public:
	explicit MapHistory(MapCourse const &course)
		: dice_(course.seed, course.bytes), pool_(course.frames), naive_(course.frames)
	{
		map_.initialise();
	}

	bool
	has_bytes() const
	{
		return dice_.has_bytes();
	}

	void
	step()
	{
		JobId const first = random_id();
		JobId const last = std::min(last_id_of(segment_of(first)), first + dice_.below(dice_.chance(15) ? 9000 : 300));
		switch (dice_.below(20))
		{
			case 0:
				mark(first, last);
				break;
			case 1:
				forget(segment_of(first));
				break;
			case 2:
				whole_pages(first, last);
				break;
			default:
				change(first, last);
		}
		ask(first);
		ASSERT_EQ(pool_->in_use(), naive_.in_use());
	}

	void
	compare_everything()
	{
		for (int value = 0; value < job_state_count; value++)
			ASSERT_EQ(map_.count(static_cast<JobState>(value)), naive_.count(static_cast<JobState>(value)));
		for (auto const &[page, jobs] : naive_.pages())
			for (std::size_t slot = 0; slot < ids_per_page; slot++)
			{
				JobId const id = NaiveMap::id_of(page, slot);
				ASSERT_EQ(map_.state(*pool_, id), jobs[slot].state) << id;
				ASSERT_EQ(map_.history(*pool_, id), jobs[slot].history) << id;
			}
	}

	void
	clear()
	{
		map_.clear(*pool_);
		naive_.clear();
		ASSERT_EQ(pool_->in_use(), 0U);
	}

  private:
	// Near the borders of a few pages of a few segments, two of which share a place in the ring.
	JobId
	random_id()
	{
		static constexpr SegmentNumber segments[] = {
			0, 0, 1, 511, 512, segments_per_root, segment_span_max - 1, segment_span_max};
		static constexpr JobId pages[] = {0, 0, 1, 2, 3, pages_per_segment - 1};
		JobId const page = first_id_of(segments[dice_.below(8)]) + pages[dice_.below(6)] * ids_per_page;
		return page + (dice_.chance(30) ? dice_.below(2) * (ids_per_page - 1) : dice_.below(ids_per_page));
	}

	JobState
	random_state()
	{
		return static_cast<JobState>(dice_.below(dice_.chance(20) ? job_state_count : 5));
	}

	void
	change(JobId first, JobId last)
	{
		JobState const from = random_state();
		JobState const to = random_state();
		if (dice_.chance(60))
		{
			JobId const stored = naive_.store(first, last);
			ASSERT_EQ(map_.store(*pool_, first, last), stored) << first << " to " << last;
		}
		ASSERT_EQ(map_.move(*pool_, first, last, from, to), naive_.move(first, last, from, to));
	}

	// So that pages that are not stored, in other states than none, are common.
	void
	whole_pages(JobId first, JobId last)
	{
		JobId const low = first & ~JobId{ids_per_page - 1};
		JobId const high = last | (ids_per_page - 1);
		JobState const to = random_state();
		for (int from = 0; from < job_state_count; from++)
			ASSERT_EQ(map_.move(*pool_, low, high, static_cast<JobState>(from), to),
					  naive_.move(low, high, static_cast<JobState>(from), to));
	}

	void
	mark(JobId first, JobId last)
	{
		JobId const stored = naive_.store(first, last);
		ASSERT_EQ(map_.store(*pool_, first, last), stored);
		if (stored < last)
			return;
		map_.mark_history(*pool_, first, last);
		naive_.mark_history(first, last);
	}

	void
	forget(SegmentNumber segment)
	{
		bool const empty = naive_.is_empty(segment);
		ASSERT_EQ(map_.is_empty(*pool_, segment), empty);
		if (!empty && dice_.chance(90))
			return;
		for (int from = 1; from < job_state_count && !empty; from++)
		{
			map_.move(*pool_, first_id_of(segment), last_id_of(segment), static_cast<JobState>(from), JobState::none);
			naive_.move(first_id_of(segment), last_id_of(segment), static_cast<JobState>(from), JobState::none);
		}
		map_.forget(*pool_, segment);
		naive_.forget(segment);
	}

	void
	ask(JobId id)
	{
		ASSERT_EQ(map_.state(*pool_, id), naive_.state(id));
		ASSERT_EQ(map_.history(*pool_, id), naive_.history(id));
		int const limit = static_cast<int>(dice_.below(3000));
		ASSERT_EQ(map_.run_length(*pool_, id, limit), naive_.run_length(id, limit));
		if (JobState const state = random_state(); state != JobState::none)
		{
			ASSERT_EQ(map_.find(*pool_, state, id), naive_.find(state, id)) << state << " from " << id;
		}
	}

	Dice dice_;
	PoolMemory pool_;
	NaiveMap naive_;
	StateMap map_;
};

} // namespace onceq::core::test
