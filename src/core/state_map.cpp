// SPDX-License-Identifier: PostgreSQL
#include "core/state_map.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include <algorithm>
#include <iterator>

namespace onceq::core {

namespace {

// What a directory knows of a page: the frame it is stored in, or the state all its jobs share.
class PageEntry
{
  public:
	static constexpr PageEntry
	stored(FrameIndex frame) noexcept
	{
		return PageEntry{frame | stored_flag};
	}

	static constexpr PageEntry
	uniform(JobState state, bool history) noexcept
	{
		return PageEntry{static_cast<std::uint32_t>(state) | (history ? history_flag : 0)};
	}

	constexpr bool
	is_stored() const noexcept
	{
		return value_ & stored_flag;
	}
	constexpr FrameIndex
	frame() const noexcept
	{
		return value_ & ~stored_flag;
	}
	constexpr JobState
	state() const noexcept
	{
		return static_cast<JobState>(value_ & 0xF);
	}
	constexpr bool
	history() const noexcept
	{
		return value_ & history_flag;
	}

  private:
	static constexpr std::uint32_t stored_flag = 0x8000'0000;
	static constexpr std::uint32_t history_flag = 0x10;

	explicit constexpr PageEntry(std::uint32_t value) noexcept : value_(value) {}

	std::uint32_t value_;
};

struct Node
{
	FrameIndex below_plus_one[entries_per_node]; // 0: none, as in a fresh frame

	FrameIndex
	below(std::size_t entry) const noexcept
	{
		return below_plus_one[entry] - 1; // 0 - 1 is no_frame
	}

	bool
	is_empty() const noexcept
	{
		return std::all_of(std::begin(below_plus_one), std::end(below_plus_one),
						   [](FrameIndex frame) { return frame == 0; });
	}
};

// Where a segment is in its ring: the root, the entry in that, the entry in the node below.
struct Place
{
	std::size_t root;
	std::size_t upper;
	std::size_t lower;
};

constexpr Place
place_of(SegmentNumber segment) noexcept
{
	auto const place = static_cast<std::size_t>(segment % segment_span_max);
	return {place / segments_per_root, place / entries_per_node % entries_per_node, place % entries_per_node};
}

constexpr int
page_of(JobId id) noexcept
{
	return static_cast<int>((id & (ids_per_segment - 1)) >> ids_per_page_log2);
}

constexpr int
slot_of(JobId id) noexcept
{
	return static_cast<int>(id & (ids_per_page - 1));
}

constexpr JobId
last_of_page(JobId id) noexcept
{
	return id | (ids_per_page - 1);
}

} // namespace

struct StateMap::Directory
{
	PageEntry entry[pages_per_segment]; // all zero: every page uniform, none
	std::int32_t count[job_state_count];
};

void
StateMap::initialise() noexcept
{
	std::fill_n(root_, segment_roots, no_frame);
	std::fill_n(count_, job_state_count, 0);
	oldest_ = 0;
	newest_ = -1;
}

void
StateMap::clear(FramePool &pool) noexcept
{
	for (SegmentNumber segment = next_segment(pool, 0); segment >= 0; segment = next_segment(pool, segment + 1))
	{
		give_pages_back(pool, segment);
		prune(pool, segment);
	}
	initialise();
}

JobId
StateMap::store(FramePool &pool, JobId first, JobId last, std::uint32_t leave) noexcept
{
	ONCEQ_ASSERT(segment_of(first) == segment_of(last));
	Directory *const found = add_directory(pool, segment_of(first), leave);
	if (found == nullptr)
		return first - 1;
	for (int page = page_of(first); page <= page_of(last); page++)
		if (store_page(pool, *found, page, leave) == nullptr)
			return std::max(first, first_id_of(segment_of(first)) + (JobId{page} << ids_per_page_log2)) - 1;
	return last;
}

int
StateMap::move(FramePool &pool, JobId first, JobId last, JobState from, JobState to) noexcept
{
	ONCEQ_ASSERT(segment_of(first) == segment_of(last));
	Directory *const found = directory(pool, segment_of(first));
	if (found == nullptr)
		return 0;
	int moved = 0;
	for (JobId id = first; id <= last; id = last_of_page(id) + 1)
		moved +=
			move_in_page(pool, *found, page_of(id), slot_of(id), slot_of(std::min(last, last_of_page(id))), from, to);
	found->count[static_cast<int>(from)] -= moved;
	found->count[static_cast<int>(to)] += moved;
	count_[static_cast<int>(from)] -= moved;
	count_[static_cast<int>(to)] += moved;
	return moved;
}

void
StateMap::mark_history(FramePool &pool, JobId first, JobId last) noexcept
{
	Directory *const found = directory(pool, segment_of(first));
	for (JobId id = first; found != nullptr && id <= last; id = last_of_page(id) + 1)
	{
		PageEntry const entry = found->entry[page_of(id)];
		ONCEQ_ASSERT(entry.is_stored());
		pool.at<Page>(entry.frame()).mark_history(slot_of(id), slot_of(std::min(last, last_of_page(id))));
	}
}

JobId
StateMap::find(FramePool &pool, JobState state, JobId start) const noexcept
{
	if (count(state) == 0)
		return 0;
	JobId from = std::max(start, first_id_of(oldest_));
	for (SegmentNumber segment = next_segment(pool, segment_of(from)); segment >= 0;
		 segment = next_segment(pool, segment + 1))
	{
		Directory *const found = directory(pool, segment);
		if (found->count[static_cast<int>(state)] == 0)
			continue;
		for (JobId id = std::max(from, first_id_of(segment)); id <= last_id_of(segment); id = last_of_page(id) + 1)
		{
			PageEntry const entry = found->entry[page_of(id)];
			if (!entry.is_stored())
			{
				if (entry.state() == state)
					return id;
				continue;
			}
			int const slot = pool.at<Page>(entry.frame()).find(state, slot_of(id));
			if (slot >= 0)
				return (id & ~JobId{ids_per_page - 1}) + slot;
		}
	}
	return 0;
}

int
StateMap::run_length(FramePool &pool, JobId start, int limit) const noexcept
{
	Directory *const found = directory(pool, segment_of(start));
	int const room = std::min(limit, ids_per_page - slot_of(start));
	if (found == nullptr)
		return room;
	PageEntry const entry = found->entry[page_of(start)];
	return entry.is_stored() ? pool.at<Page>(entry.frame()).run_length(slot_of(start), room) : room;
}

JobState
StateMap::state(FramePool &pool, JobId id) const noexcept
{
	Directory *const found = directory(pool, segment_of(id));
	if (found == nullptr)
		return JobState::none;
	PageEntry const entry = found->entry[page_of(id)];
	return entry.is_stored() ? pool.at<Page>(entry.frame()).state(slot_of(id)) : entry.state();
}

bool
StateMap::history(FramePool &pool, JobId id) const noexcept
{
	Directory *const found = directory(pool, segment_of(id));
	if (found == nullptr)
		return false;
	PageEntry const entry = found->entry[page_of(id)];
	return entry.is_stored() ? pool.at<Page>(entry.frame()).history(slot_of(id)) : entry.history();
}

bool
StateMap::is_empty(FramePool &pool, SegmentNumber segment) const noexcept
{
	Directory *const found = directory(pool, segment);
	return found == nullptr || found->count[static_cast<int>(JobState::none)] == ids_per_segment;
}

JobId
StateMap::live(FramePool &pool, SegmentNumber segment) const noexcept
{
	Directory *const found = directory(pool, segment);
	return found == nullptr ? 0 : ids_per_segment - found->count[static_cast<int>(JobState::none)];
}

JobId
StateMap::at_rest(FramePool &pool, SegmentNumber segment) const noexcept
{
	Directory *const found = directory(pool, segment);
	if (found == nullptr)
		return 0;
	JobId jobs = found->count[static_cast<int>(JobState::waiting)];
	for (int priority = 0; priority <= priority_max; priority++)
		jobs += found->count[static_cast<int>(ready_at(priority))];
	return jobs;
}

SegmentNumber
StateMap::next_segment(FramePool &pool, SegmentNumber from) const noexcept
{
	return nearest(pool, std::max(from, oldest_), 1);
}

void
StateMap::forget(FramePool &pool, SegmentNumber segment) noexcept
{
	if (directory(pool, segment) == nullptr)
		return;
	ONCEQ_ASSERT(is_empty(pool, segment));
	give_pages_back(pool, segment);
	prune(pool, segment);
	count_[static_cast<int>(JobState::none)] -= ids_per_segment;
	SegmentNumber const oldest = nearest(pool, oldest_, 1);
	newest_ = nearest(pool, newest_, -1);
	oldest_ = oldest < 0 ? 0 : oldest;
}

void
StateMap::give_pages_back(FramePool &pool, SegmentNumber segment) noexcept
{
	for (PageEntry const &entry : directory(pool, segment)->entry)
		if (entry.is_stored())
			pool.give_back(entry.frame());
}

StateMap::Path
StateMap::path_to(FramePool &pool, SegmentNumber segment) const noexcept
{
	Place const place = place_of(segment);
	Path path{root_[place.root], no_frame, no_frame};
	if (path.upper != no_frame)
		path.lower = pool.at<Node>(path.upper).below(place.upper);
	if (path.lower != no_frame)
		path.directory = pool.at<Node>(path.lower).below(place.lower);
	return path;
}

// The frame of a new directory; no_frame: there is no memory, and nothing is changed.
FrameIndex
StateMap::add_path(FramePool &pool, SegmentNumber segment, std::uint32_t leave) noexcept
{
	Place const place = place_of(segment);
	Path path = path_to(pool, segment);
	if (path.upper == no_frame)
		path.upper = root_[place.root] = pool.take(leave);
	if (path.upper != no_frame && path.lower == no_frame)
	{
		path.lower = pool.take(leave);
		pool.at<Node>(path.upper).below_plus_one[place.upper] = path.lower + 1;
	}
	if (path.lower != no_frame)
	{
		path.directory = pool.take(leave);
		pool.at<Node>(path.lower).below_plus_one[place.lower] = path.directory + 1;
	}
	if (path.directory == no_frame)
		prune(pool, segment);
	return path.directory;
}

// Gives the frame of the directory back, if there is one, and those above it that note nothing else.
void
StateMap::prune(FramePool &pool, SegmentNumber segment) noexcept
{
	Place const place = place_of(segment);
	Path const path = path_to(pool, segment);
	if (path.directory != no_frame)
	{
		pool.give_back(path.directory);
		pool.at<Node>(path.lower).below_plus_one[place.lower] = 0;
	}
	if (path.lower != no_frame && pool.at<Node>(path.lower).is_empty())
	{
		pool.give_back(path.lower);
		pool.at<Node>(path.upper).below_plus_one[place.upper] = 0;
	}
	if (path.upper != no_frame && pool.at<Node>(path.upper).is_empty())
	{
		pool.give_back(path.upper);
		root_[place.root] = no_frame;
	}
}

SegmentNumber
StateMap::nearest(FramePool &pool, SegmentNumber from, int direction) const noexcept
{
	SegmentNumber segment = from;
	while (oldest_ <= segment && segment <= newest_)
	{
		Path const path = path_to(pool, segment);
		if (path.directory != no_frame)
			return segment;
		SegmentNumber const missing = path.upper == no_frame   ? segments_per_root
									  : path.lower == no_frame ? entries_per_node
															   : 1;
		SegmentNumber const first = segment - segment % missing;
		segment = direction > 0 ? first + missing : first - 1;
	}
	return -1;
}

StateMap::Directory *
StateMap::directory(FramePool &pool, SegmentNumber segment) const noexcept
{
	if (segment < oldest_ || segment > newest_)
		return nullptr;
	FrameIndex const frame = path_to(pool, segment).directory;
	return frame == no_frame ? nullptr : &pool.at<Directory>(frame);
}

StateMap::Directory *
StateMap::add_directory(FramePool &pool, SegmentNumber segment, std::uint32_t leave) noexcept
{
	if (Directory *const found = directory(pool, segment); found != nullptr)
		return found;
	bool const first = newest_ < oldest_;
	SegmentNumber const oldest = first ? segment : std::min(oldest_, segment);
	SegmentNumber const newest = first ? segment : std::max(newest_, segment);
	if (newest - oldest >= segment_span_max)
		return nullptr;

	FrameIndex const frame = add_path(pool, segment, leave);
	if (frame == no_frame)
		return nullptr;
	oldest_ = oldest;
	newest_ = newest;
	Directory &added = pool.at<Directory>(frame);
	added.count[static_cast<int>(JobState::none)] = ids_per_segment;
	count_[static_cast<int>(JobState::none)] += ids_per_segment;
	return &added;
}

Page *
StateMap::store_page(FramePool &pool, Directory &directory, int page, std::uint32_t leave) noexcept
{
	PageEntry &entry = directory.entry[page];
	if (entry.is_stored())
		return &pool.at<Page>(entry.frame());
	FrameIndex const frame = pool.take(leave);
	if (frame == no_frame)
		return nullptr;
	Page &stored = pool.at<Page>(frame);
	stored.fill(entry.state(), entry.history());
	entry = PageEntry::stored(frame);
	return &stored;
}

int
StateMap::move_in_page(FramePool &pool, Directory &directory, int page, int first, int last, JobState from,
					   JobState to) noexcept
{
	PageEntry &entry = directory.entry[page];
	if (entry.is_stored())
	{
		int const moved = pool.at<Page>(entry.frame()).move(first, last, from, to);
		if (moved > 0)
			collapse(pool, directory, page);
		return moved;
	}
	bool const whole = first == 0 && last == ids_per_page - 1;
	if (entry.state() != from || !whole || keeps_page(to))
		return 0;
	entry = PageEntry::uniform(to, entry.history() && to != JobState::none);
	return ids_per_page;
}

void
StateMap::collapse(FramePool &pool, Directory &directory, int page) noexcept
{
	PageEntry &entry = directory.entry[page];
	Page const &stored = pool.at<Page>(entry.frame());
	JobState const state = stored.state(0);
	if (keeps_page(state) || !stored.is_uniform())
		return;
	bool const history = stored.history(0);
	pool.give_back(entry.frame());
	entry = PageEntry::uniform(state, history);
}

} // namespace onceq::core
