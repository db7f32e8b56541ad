// SPDX-License-Identifier: PostgreSQL
// The states of all jobs of a queue, by id: segments of 2^20 ids, pages of 2^11.
//
// A page whose jobs are all alike, none of them in the hands of a transaction or a lease, is not
// stored: its directory entry says what they are. So memory follows the active part of a queue and
// not its backlog. A page that is stored stays so while any of its jobs is reserved, leased or
// seized; therefore leaving these states never needs memory.
//
// Requires, for every function: the lock of the board that owns the map.
#pragma once

#include "core/frame_pool.hpp"
#include "core/page.hpp"

namespace onceq::core {

using SegmentNumber = std::int64_t;

inline constexpr int ids_per_segment_log2 = 20;
inline constexpr JobId ids_per_segment = JobId{1} << ids_per_segment_log2;
inline constexpr int pages_per_segment = 1 << (ids_per_segment_log2 - ids_per_page_log2);

// Segments with live jobs of one queue, oldest to newest, at once: more than two million million jobs. Where none live,
// between an old straggler and the rest, no memory is taken.
inline constexpr int segment_roots = 8;
inline constexpr int entries_per_node = 512;
inline constexpr SegmentNumber segments_per_root = entries_per_node * entries_per_node;
inline constexpr SegmentNumber segment_span_max = segment_roots * segments_per_root;

constexpr SegmentNumber
segment_of(JobId id) noexcept
{
	return id >> ids_per_segment_log2;
}

constexpr JobId
first_id_of(SegmentNumber segment) noexcept
{
	return segment << ids_per_segment_log2;
}

constexpr JobId
last_id_of(SegmentNumber segment) noexcept
{
	return first_id_of(segment + 1) - 1;
}

class StateMap
{
  public:
	void initialise() noexcept;

	// Gives all frames back.
	void clear(FramePool &pool) noexcept;

	// Stores the pages of first … last, all of one segment. Returns the last id whose page is stored:
	// less than last, or first - 1, when the pool is used up or the queue spans too many segments.
	// So many frames are left to others.
	JobId store(FramePool &pool, JobId first, JobId last, std::uint32_t leave = 0) noexcept;

	// Moves those of first … last (of one segment) that are in state from; returns how many.
	// A page that is neither stored nor moved whole is left as it is.
	int move(FramePool &pool, JobId first, JobId last, JobState from, JobState to) noexcept;

	// Marks first … last, whose pages are stored, as having outcomes to look up.
	void mark_history(FramePool &pool, JobId first, JobId last) noexcept;

	// The lowest id at or after start in this state; 0: none.
	JobId find(FramePool &pool, JobState state, JobId start) const noexcept;

	// How many ids from start on, at most limit and of start's page, share its state and history mark.
	int run_length(FramePool &pool, JobId start, int limit) const noexcept;

	JobState state(FramePool &pool, JobId id) const noexcept;
	bool history(FramePool &pool, JobId id) const noexcept;

	// Jobs in this state.
	std::int64_t
	count(JobState state) const noexcept
	{
		return count_[static_cast<int>(state)];
	}

	// No job of a segment before it is in any state but none.
	SegmentNumber
	oldest() const noexcept
	{
		return oldest_;
	}

	// Whether no job of the segment is in any state but none.
	bool is_empty(FramePool &pool, SegmentNumber segment) const noexcept;

	// Jobs of the segment in any state but none.
	JobId live(FramePool &pool, SegmentNumber segment) const noexcept;

	// Those of them that are ready or waiting, in nobody's hands.
	JobId at_rest(FramePool &pool, SegmentNumber segment) const noexcept;

	// The first segment at or after this one that takes memory; -1: none.
	SegmentNumber next_segment(FramePool &pool, SegmentNumber from) const noexcept;

	// Gives the frames of an empty segment back.
	void forget(FramePool &pool, SegmentNumber segment) noexcept;

  private:
	struct Directory;

	// Where the frame of a segment is noted: a root, an entry of it, an entry of that; no_frame: none is below.
	struct Path
	{
		FrameIndex upper;
		FrameIndex lower;
		FrameIndex directory;
	};
	Path path_to(FramePool &pool, SegmentNumber segment) const noexcept;
	FrameIndex add_path(FramePool &pool, SegmentNumber segment, std::uint32_t leave) noexcept;
	void prune(FramePool &pool, SegmentNumber segment) noexcept;
	void give_pages_back(FramePool &pool, SegmentNumber segment) noexcept;

	// The first segment that takes memory, from this one on, upwards (1) or downwards (-1); -1: none.
	SegmentNumber nearest(FramePool &pool, SegmentNumber from, int direction) const noexcept;
	Directory *directory(FramePool &pool, SegmentNumber segment) const noexcept;
	Directory *add_directory(FramePool &pool, SegmentNumber segment, std::uint32_t leave) noexcept;
	Page *store_page(FramePool &pool, Directory &directory, int page, std::uint32_t leave) noexcept;
	int move_in_page(FramePool &pool, Directory &directory, int page, int first, int last, JobState from,
					 JobState to) noexcept;
	void collapse(FramePool &pool, Directory &directory, int page) noexcept;

	// Directories of segments oldest_ … newest_, in a ring by number, two nodes below a root; newest_ < oldest_: none.
	FrameIndex root_[segment_roots];
	SegmentNumber oldest_;
	SegmentNumber newest_;
	std::int64_t count_[job_state_count];
};

} // namespace onceq::core
