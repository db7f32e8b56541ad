// SPDX-License-Identifier: PostgreSQL
#include "core/segment_plan.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/subtransaction.hpp"
#include "board/each_queue.hpp"
#include "board/relocate.hpp"
#include "board/transaction.hpp"
#include "board/upkeep.hpp"
#include "notify/notify.hpp"
#include "store/store.hpp"

extern "C" {
#include <storage/lmgr.h>
}

namespace onceq::board {

namespace {

constexpr core::Microseconds second = core::microseconds_per_second;
constexpr core::Microseconds idle_room = 10 * second;
constexpr core::Microseconds idle_segments = 30 * second;
// A segment has a dozen relations, each of which is locked from when it is made or dropped until the round of all
// queues commits.
constexpr int changes_per_queue = 8;
constexpr int changes_per_round = 32;
// What keeps stragglers from being moved, a long look at their tables or a full disk, may last; and whoever gives them
// back wakes the worker.
constexpr core::Microseconds pause_after_failure = 10 * second;

// Of all queues together.
struct Round
{
	int changes_left;
	bool relocates;
};
constinit Round round{};
constinit core::Monotonic relocations_rest_until = core::monotonic_always; // of the worker

// Facts of a board, read in one hold of B.
struct Room
{
	core::JobId next_id;
	core::JobId ceiling;
	core::SegmentNumber prepared_end;
	bool low;
};

Room
look_at(Handle const &handle)
{
	Locked board(handle.index, LW_SHARED);
	return {board->next_id, board->id_ceiling, board->prepared_end, core::is_room_low(*board)};
}

// One session at a time looks after a queue; nobody waits for it.
bool
lock_upkeep(catalog::Queue const &queue)
{
	return ConditionalLockRelationOid(queue.anchor, ShareUpdateExclusiveLock);
}

void
raise_ceiling(catalog::Queue const &queue, Handle const &board, core::JobId above)
{
	catalog::Ceiling const old = catalog::read_ceiling(queue.id);
	core::Microseconds const since = base::now_wall().us - old.raised_at.us;
	core::JobId const step = core::next_ceiling_step(old.step, Max(since, 0));
	core::JobId const value = Max(old.value, above) + step;
	catalog::raise_ceiling(queue.id, value, step);
	FAULT_POINT("room: after ceiling");
	change_at_commit(board, Change::ceiling_raised, value);
}

void
prepare_segments(catalog::Queue const &queue, Handle const &board, core::SegmentNumber from, core::SegmentNumber end)
{
	for (core::SegmentNumber number = from; number < end; number++)
	{
		store::create_segment(queue.id, number);
		FAULT_POINT("room: after segment");
		change_at_commit(board, Change::segment_prepared, number + 1);
	}
}

core::Microseconds
keep_room_of(catalog::Queue const &queue)
{
	Handle board;
	if (!try_open(queue, board) || !look_at(board).low || !lock_upkeep(queue))
		return idle_room;
	Room const room = look_at(board); // whoever had the lock may have made room
	catalog::Ceiling const durable = catalog::read_ceiling(queue.id);
	if (core::ceiling_is_low(room.next_id, room.ceiling, durable.step))
		raise_ceiling(queue, board, room.next_id);
	prepare_segments(queue, board, room.prepared_end, core::wanted_prepared_end(room.next_id));
	return second;
}

// ---- segments

bool
wants_seal(catalog::Queue const &queue, Handle const &handle, store::Segment const &segment, core::Wall opened_at,
		   core::Wall now)
{
	core::JobId given;
	core::JobId live;
	{
		Locked board(handle.index, LW_SHARED);
		given = board->next_id - Max(core::first_id_of(segment.number), core::JobId{1});
		live = board->map.live(pool(), segment.number);
	}
	return core::should_seal(now.us - opened_at.us, queue.segment_age, given > live);
}

void
seal_segment(catalog::Queue const &queue, Handle const &board, core::SegmentNumber number, core::Wall now)
{
	Room const room = look_at(board);
	core::JobId const next_id = core::first_id_of(number + 1);
	prepare_segments(queue, board, room.prepared_end, number + 2);
	if (core::ceiling_is_low(next_id, room.ceiling, core::ceiling_step_min))
		raise_ceiling(queue, board, next_id);
	store::mark_sealed(queue.id, number, now);
	FAULT_POINT("segments: after seal");
	change_at_commit(board, Change::segment_sealed, number);
}

bool
is_drained(Handle const &handle, core::SegmentNumber number)
{
	Locked board(handle.index, LW_SHARED);
	return core::is_drained(*board, pool(), number);
}

// A step for a segment that takes a lock and looks again: undone if it returns false, so that nobody waits for a lock
// that is of no use any more.
struct Step
{
	catalog::Queue const &queue;
	Handle const &board;
	store::Segment const &segment;
	core::Wall now;
};

// Locked: a redrive under way would bring a job back that is gone from the board.
bool
drain(void *argument)
{
	auto const &[queue, board, segment, now] = *static_cast<Step *>(argument);
	if (!store::lock_for_drain(queue.id, segment.number) || !is_drained(board, segment.number))
		return false;
	FAULT_POINT("segments: before drained");
	store::mark_drained(queue.id, segment.number, now);
	change_at_commit(board, Change::segment_forgotten, segment.number);
	return true;
}

bool
try_drain(Step &step)
{
	return is_drained(step.board, step.segment.number) && base::do_or_undo(drain, &step);
}

// Who holds its lock knows that every callback that concerns it has run, and nobody can touch it any more: only then
// its emptiness is final.
bool
drop(void *argument)
{
	auto const &[queue, board, segment, now] = *static_cast<Step *>(argument);
	if (!store::lock_for_drop(queue.id, segment.number) || !is_drained(board, segment.number))
		return false;
	FAULT_POINT("segments: before drop");
	store::drop_segment(queue.id, segment.number);
	// A redrive that was rolled back may have left a trace of it.
	change_at_commit(board, Change::segment_forgotten, segment.number);
	FAULT_POINT("segments: after drop");
	return true;
}

bool
relocate(void *argument)
{
	auto const &[queue, board, segment, now] = *static_cast<Step *>(argument);
	return relocate_stragglers(queue, board, segment, now);
}

bool
try_relocate(Step &step)
{
	if (!round.relocates || !has_stragglers(step.queue, step.board, step.segment, step.now))
		return false;
	core::Monotonic const before = relocations_rest_until;
	relocations_rest_until = base::now_monotonic() + pause_after_failure; // by an error, too
	if (!base::do_or_undo(relocate, &step))
		return false;
	relocations_rest_until = before;
	return true;
}

// One step of the life of a segment, if it is time for it. Whether it took locks that last until the round is over.
bool
keep_segment(Step &step, core::SegmentNumber open_number, core::Wall opened_at)
{
	auto const &[queue, board, segment, now] = step;
	bool const is_sealed = segment.sealed_at != core::wall_never;
	if (!is_sealed && segment.number < open_number)
		store::mark_sealed(queue.id, segment.number, now);
	else if (segment.number == open_number &&
			 wants_seal(queue, board, segment, Max(opened_at, segment.created_at), now))
	{
		seal_segment(queue, board, segment.number, now);
		return true;
	}
	else if (is_sealed && segment.drained_at == core::wall_never)
		return !try_drain(step) && try_relocate(step);
	else if (segment.drained_at != core::wall_never &&
			 core::should_drop(now.us - segment.drained_at.us, queue.retention) &&
			 (!queue.has_archive || segment.archived_at != core::wall_never))
		return base::do_or_undo(drop, &step);
	return false;
}

core::Microseconds
keep_segments_of_live(catalog::Queue const &queue)
{
	Handle board;
	if (!try_open(queue, board))
		return second;
	core::Wall const now = base::now_wall();
	core::SegmentNumber const open_number = core::segment_of(look_at(board).next_id);
	core::Wall opened_at = core::wall_always;
	int const most = Min(changes_per_queue, round.changes_left);
	int changes = 0;
	store::Segments const segments = store::all_segments(queue.id);
	for (int i = 0; i < segments.count && changes < most; i++)
	{
		store::Segment const &segment = segments.segment[i];
		Step step{queue, board, segment, now};
		changes += keep_segment(step, open_number, opened_at);
		opened_at = segment.sealed_at != core::wall_never ? segment.sealed_at : now;
	}
	changes += drop_remains(queue, most - changes);
	round.changes_left -= changes;
	keep_stay(queue, board, segments, now);
	return changes == most ? second : Min(idle_segments, Max(second, queue.segment_age / 10));
}

// A dropped queue goes segment by segment, as locks allow, and its catalog rows last.
core::Microseconds
remove_dropped(catalog::Queue const &queue)
{
	int const most = Min(changes_per_queue, round.changes_left);
	int changes = 0;
	store::Segments const segments = store::all_segments(queue.id);
	for (int i = 0; i < segments.count && changes < most; i++)
		if (store::lock_for_drop(queue.id, segments.segment[i].number))
		{
			store::drop_segment(queue.id, segments.segment[i].number);
			changes++;
		}
	int left = segments.count - changes;
	changes += drop_remains(queue, most - changes);
	left += store::all_remains(queue.id).count;
	round.changes_left -= changes;
	if (left > 0 || round.changes_left == 0)
		return second;
	round.changes_left--;
	if (store::has_stay(queue.id))
	{
		if (!store::lock_for_drop(queue.id, store::stay))
			return second;
		store::drop_stay(queue.id);
	}
	if (!catalog::forget_queue(queue.id))
		return second;
	// With the last segment's lock in hand no transaction is left that could touch the board.
	Handle board;
	if (find(queue, board))
		change_at_commit(board, Change::board_freed, 0);
	return idle_segments;
}

core::Microseconds
keep_segments_of(catalog::Queue const &queue)
{
	if (!lock_upkeep(queue))
		return second;
	return queue.dropped ? remove_dropped(queue) : keep_segments_of_live(queue);
}

// DROP EXTENSION and CREATE EXTENSION leave boards of queues that are gone.
bool
queue_exists(core::BoardKey const &key)
{
	catalog::Queue const *const queue = catalog::find_queue(key.queue);
	return queue != nullptr && queue->incarnation == key.incarnation;
}

} // namespace

core::Microseconds
keep_room()
{
	return for_each_queue("preparing room", keep_room_of, idle_room);
}

core::Microseconds
keep_segments()
{
	if (!catalog::is_refused())
		reap_boards(MyDatabaseId, queue_exists);
	bool const is_worker = notify::worker_pid(MyDatabaseId) == MyProcPid;
	round = {changes_per_round, !is_worker || base::now_monotonic() >= relocations_rest_until};
	return for_each_queue("keeping segments", keep_segments_of, idle_segments);
}

} // namespace onceq::board
