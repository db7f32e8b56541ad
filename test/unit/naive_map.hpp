// SPDX-License-Identifier: PostgreSQL
// The state map as one would write it without a thought for memory or speed: a state and a mark for
// each id of each page ever touched. It also counts the frames that the real map should use.
#pragma once

#include "support.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace onceq::core::test {

struct NaiveJob
{
	JobState state = JobState::none;
	bool history = false;

	friend bool operator==(NaiveJob const &, NaiveJob const &) = default;
};

class NaiveMap
{
  public:
	explicit NaiveMap(std::uint32_t frames) : frames_(frames) {}

	JobId
	store(JobId first, JobId last)
	{
		if (!add_directory(segment_of(first)))
			return first - 1;
		for (JobId page = page_number(first); page <= page_number(last); page++)
		{
			if (stored_.contains(page))
				continue;
			if (in_use() == frames_)
				return std::max(first, page << ids_per_page_log2) - 1;
			stored_.insert(page);
		}
		return last;
	}

	int
	move(JobId first, JobId last, JobState from, JobState to)
	{
		int moved = 0;
		for (JobId page = page_number(first); page <= page_number(last); page++)
		{
			JobId const low = std::max(first, page << ids_per_page_log2);
			JobId const high = std::min(last, ((page + 1) << ids_per_page_log2) - 1);
			bool const whole = high - low + 1 == ids_per_page;
			if (!directories_.contains(segment_of(low)) || (!stored_.contains(page) && (!whole || keeps_page(to))))
				continue;
			moved += move_in_page(page, low, high, from, to);
		}
		return moved;
	}

	void
	mark_history(JobId first, JobId last)
	{
		for (JobId id = first; id <= last; id++)
			at(id).history = true;
	}

	JobState
	state(JobId id) const
	{
		return job(id).state;
	}
	bool
	history(JobId id) const
	{
		return job(id).history;
	}

	// Only for states other than none.
	JobId
	find(JobState state, JobId start) const
	{
		for (auto page = pages_.lower_bound(page_number(start)); page != pages_.end(); ++page)
			for (std::size_t slot = 0; slot < ids_per_page; slot++)
				if (JobId const id = id_of(page->first, slot); id >= start && page->second[slot].state == state)
					return id;
		return 0;
	}

	int
	run_length(JobId start, int limit) const
	{
		auto const slot = static_cast<int>(start % ids_per_page);
		int const room = std::min(limit, ids_per_page - slot);
		auto const page = pages_.find(page_number(start));
		if (page == pages_.end())
			return room;
		auto const first = page->second.begin() + slot;
		auto const end = first + room;
		return static_cast<int>(std::find_if(first, end, [&](NaiveJob const &job) { return job != *first; }) - first);
	}

	std::int64_t
	count(JobState state) const
	{
		auto counted = static_cast<std::int64_t>(directories_.size()) * ids_per_segment;
		for (auto const &[page, jobs] : pages_)
			counted -= std::ranges::count_if(jobs, [](NaiveJob const &job) { return job.state != JobState::none; });
		if (state == JobState::none)
			return counted;
		counted = 0;
		for (auto const &[page, jobs] : pages_)
			counted += std::ranges::count(jobs, state, &NaiveJob::state);
		return counted;
	}

	bool
	is_empty(SegmentNumber segment) const
	{
		for (auto const &[page, jobs] : pages_)
			if (segment_of(page << ids_per_page_log2) == segment)
				for (NaiveJob const &job : jobs)
					if (job.state != JobState::none)
						return false;
		return true;
	}

	void
	forget(SegmentNumber segment)
	{
		auto const of_segment = [&](JobId page) { return segment_of(page << ids_per_page_log2) == segment; };
		std::erase_if(pages_, [&](auto const &page) { return of_segment(page.first); });
		std::erase_if(stored_, of_segment);
		directories_.erase(segment);
	}

	void
	clear()
	{
		pages_.clear();
		stored_.clear();
		directories_.clear();
	}

	std::uint32_t
	in_use() const
	{
		return static_cast<std::uint32_t>(stored_.size() + directories_.size() + nodes(entries_per_node) +
										  nodes(segments_per_root));
	}

	std::set<SegmentNumber> const &
	directories() const
	{
		return directories_;
	}
	std::map<JobId, std::vector<NaiveJob>> const &
	pages() const
	{
		return pages_;
	}

	static JobId
	page_number(JobId id)
	{
		return id >> ids_per_page_log2;
	}
	static JobId
	id_of(JobId page, std::size_t slot)
	{
		return (page << ids_per_page_log2) + static_cast<JobId>(slot);
	}

	NaiveJob
	job(JobId id) const
	{
		auto const page = pages_.find(page_number(id));
		return page == pages_.end() ? NaiveJob{} : page->second[static_cast<std::size_t>(id % ids_per_page)];
	}

  private:
	// Groups of so many segments that have a directory.
	std::size_t
	nodes(SegmentNumber segments) const
	{
		std::set<SegmentNumber> groups;
		for (SegmentNumber const segment : directories_)
			groups.insert(segment % segment_span_max / segments);
		return groups.size();
	}

	NaiveJob &
	at(JobId id)
	{
		auto const page = pages_.try_emplace(page_number(id), ids_per_page).first;
		return page->second[static_cast<std::size_t>(id % ids_per_page)];
	}

	bool
	add_directory(SegmentNumber segment)
	{
		if (directories_.contains(segment))
			return true;
		if (!directories_.empty() &&
			std::max(*directories_.rbegin(), segment) - std::min(*directories_.begin(), segment) >= segment_span_max)
			return false;
		directories_.insert(segment);
		if (in_use() <= frames_)
			return true;
		directories_.erase(segment);
		return false;
	}

	// A page that is not stored has jobs all alike: it moves as a whole or not at all.
	int
	move_in_page(JobId page, JobId low, JobId high, JobState from, JobState to)
	{
		auto const jobs = pages_.try_emplace(page, ids_per_page).first->second.begin();
		int moved = 0;
		for (auto job = jobs + low % ids_per_page; job <= jobs + high % ids_per_page; ++job)
			if (job->state == from)
			{
				job->state = to;
				job->history = job->history && to != JobState::none;
				moved++;
			}
		JobId const first = page << ids_per_page_log2;
		if (moved > 0 && !keeps_page(jobs->state) && run_length(first, ids_per_page) == ids_per_page)
			stored_.erase(page);
		return moved;
	}

	std::uint32_t frames_;
	std::map<JobId, std::vector<NaiveJob>> pages_;
	std::set<JobId> stored_;
	std::set<SegmentNumber> directories_;
};

} // namespace onceq::core::test
