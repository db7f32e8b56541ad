// SPDX-License-Identifier: PostgreSQL
// Stragglers: the last unfinished jobs of an old segment are moved to the queue's stay tables, with their
// ids, in the transaction that drops the segment, or leaves what remains of it to the archive, under another name. So
// whoever does not find a segment's tables looks there.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "board/relocate.hpp"
#include "board/transaction.hpp"
#include "store/store.hpp"

namespace onceq::board {

namespace {

constexpr int stragglers_max = 1000; // of a segment; more are no stragglers

struct Jobs
{
	core::JobId *id;
	int count;
};

void
take_note(core::Seized const &seized, void *argument)
{
	Jobs &jobs = *static_cast<Jobs *>(argument);
	for (core::JobId id = seized.first; id <= seized.last && jobs.count < stragglers_max; id++)
		jobs.id[jobs.count++] = id;
}

// Whether few are left, and all of them in nobody's hands.
bool
is_movable(Handle const &handle, core::SegmentNumber number)
{
	Locked board(handle.index, LW_SHARED);
	core::JobId const live = board->map.live(pool(), number);
	return live <= stragglers_max && live == board->map.at_rest(pool(), number);
}

bool
all_are_seized(Handle const &handle, core::SegmentNumber number, int count)
{
	Locked board(handle.index, LW_SHARED);
	return board->map.live(pool(), number) == count && board->map.at_rest(pool(), number) == 0;
}

// Until the end of the transaction, when they are where they were.
Jobs
borrow_all(catalog::Queue const &queue, core::SegmentNumber number)
{
	Jobs jobs{static_cast<core::JobId *>(palloc(sizeof(core::JobId) * stragglers_max)), 0};
	core::JobId const first = Max(core::first_id_of(number), core::JobId{1});
	core::JobId const last = core::last_id_of(number);
	borrow_jobs(queue, core::JobState::waiting, first, last, take_note, &jobs);
	for (int priority = 0; priority <= core::priority_max; priority++)
		borrow_jobs(queue, core::ready_at(priority), first, last, take_note, &jobs);
	return jobs;
}

// What has been done may be looked up for the retention.
core::Wall
kept_since(catalog::Queue const &queue, core::Wall now)
{
	return now + -queue.retention;
}

// Until the end of the transaction, so that nobody redrives what is deleted. false: it has not ended on the board, or
// a dead one was redriven since it was read.
bool
borrow_ended(catalog::Queue const &queue, Handle const &handle, store::OldEnd const &end, core::Wall before)
{
	for (core::JobId id = end.first_id; id <= end.last_id; id++)
		if (!borrow_ended_job(handle, id))
			return false;
	if (end.outcome != store::Outcome::dead)
		return true;
	store::History const history = store::read_history(queue.id, end.first_id);
	return history.is_finished() && history.at < before;
}

} // namespace

bool
has_stragglers(catalog::Queue const &queue, Handle const &board, store::Segment const &segment, core::Wall now)
{
	core::Microseconds const age = now.us - segment.sealed_at.us;
	return age >= Max(queue.retention, queue.segment_age) && is_movable(board, segment.number) &&
		   !store::has_ends_since(queue.id, segment.number, kept_since(queue, now));
}

bool
relocate_stragglers(catalog::Queue const &queue, Handle const &board, store::Segment const &segment, core::Wall now)
{
	Jobs const jobs = borrow_all(queue, segment.number);
	FAULT_POINT("relocate: after seize");
	// Who holds its lock knows that every callback that concerns it has run, and that no job of it ends any more.
	if (!all_are_seized(board, segment.number, jobs.count) || !store::lock_for_drop(queue.id, segment.number) ||
		!all_are_seized(board, segment.number, jobs.count) ||
		store::has_ends_since(queue.id, segment.number, kept_since(queue, now)))
		return false;
	store::move_to_stay(queue.id, segment.number, jobs.id, jobs.count);
	FAULT_POINT("relocate: after copy");
	if (queue.has_archive)
		store::leave_remains(queue.id, segment.number, now);
	else
		store::drop_segment(queue.id, segment.number);
	FAULT_POINT("relocate: after drop");
	return true;
}

int
drop_remains(catalog::Queue const &queue, int at_most)
{
	store::Segments const remains = store::all_remains(queue.id);
	int drops = 0;
	for (int i = 0; i < remains.count && drops < at_most; i++)
		if (store::Segment const &old = remains.segment[i];
			(queue.dropped || !queue.has_archive || old.archived_at != core::wall_never) &&
			store::lock_for_drop(queue.id, old.number))
		{
			store::drop_segment(queue.id, old.number);
			drops++;
		}
	return drops;
}

int
take_ended_stragglers(catalog::Queue const &queue, Handle const &board, core::Wall now, store::OldEnd *end)
{
	core::Wall const before = now + -queue.retention;
	int const found = store::read_old_ends(queue.id, before, end, ended_stragglers_max);
	int taken = 0;
	for (int i = 0; i < found; i++)
		if (borrow_ended(queue, board, end[i], before))
			end[taken++] = end[i];
	return taken;
}

bool
has_ended_stragglers(catalog::Queue const &queue, core::Wall now)
{
	Handle board;
	if (!store::has_stay(queue.id) || !try_open(queue, board))
		return false;
	auto *const end = static_cast<store::OldEnd *>(palloc(sizeof(store::OldEnd) * ended_stragglers_max));
	int const found = store::read_old_ends(queue.id, now + -queue.retention, end, ended_stragglers_max);
	Locked locked(board.index, LW_SHARED);
	bool has = false;
	for (int i = 0; i < found && !has && locked.stands_for(board.key); i++)
		has = locked->map.state(pool(), end[i].first_id) == core::JobState::none;
	return has;
}

namespace {

void
delete_ended(catalog::Queue const &queue, Handle const &board, core::Wall now)
{
	if (queue.has_archive || !store::has_stay(queue.id))
		return;
	auto *const ends = static_cast<store::OldEnd *>(palloc(sizeof(store::OldEnd) * ended_stragglers_max));
	int const taken = take_ended_stragglers(queue, board, now, ends);
	store::delete_moved(queue.id, ends, taken);
	FAULT_POINT("relocate: after delete");
	pfree(ends);
}

} // namespace

void
keep_stay(catalog::Queue const &queue, Handle const &board, store::Segments const &segments, core::Wall now)
{
	delete_ended(queue, board, now);

	// Memory of segments that are gone, once their last straggler has ended.
	Locked locked(board.index);
	if (!locked.stands_for(board.key))
		return;
	core::SegmentNumber const open = core::segment_of(locked->next_id);
	for (core::SegmentNumber n = locked->map.next_segment(pool(), 0); n >= 0 && n < open;
		 n = locked->map.next_segment(pool(), n + 1))
	{
		bool listed = false;
		for (int i = 0; i < segments.count; i++)
			listed |= segments.segment[i].number == n;
		if (!listed && locked->map.is_empty(pool(), n))
			locked->map.forget(pool(), n);
	}
}

} // namespace onceq::board
