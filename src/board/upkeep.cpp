// SPDX-License-Identifier: PostgreSQL
#include "core/segment_plan.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "board/each_queue.hpp"
#include "board/relocate.hpp"
#include "board/transaction.hpp"
#include "board/upkeep.hpp"
#include "store/store.hpp"

extern "C" {
#include <storage/lmgr.h>
}

namespace onceq::board {

namespace {

constexpr core::Microseconds second = core::microseconds_per_second;
constexpr core::Microseconds idle_room = 10 * second;
constexpr core::Microseconds idle_segments = 30 * second;
// A segment has a dozen relations, each of which is locked until the drop commits.
constexpr int drops_per_round = 8;

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

// Whether it was dropped. Who holds its lock knows that every callback that concerns it has run, and
// nobody can touch it any more: only then its emptiness is final.
bool
try_drop(catalog::Queue const &queue, Handle const &board, core::SegmentNumber number)
{
	if (!store::lock_for_drop(queue.id, number) || !is_drained(board, number))
		return false;
	FAULT_POINT("segments: before drop");
	store::drop_segment(queue.id, number);
	// A redrive that was rolled back may have left a trace of it.
	change_at_commit(board, Change::segment_forgotten, number);
	FAULT_POINT("segments: after drop");
	return true;
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
	int drops = 0;
	store::Segments const segments = store::all_segments(queue.id);
	for (int i = 0; i < segments.count; i++)
	{
		store::Segment const &segment = segments.segment[i];
		if (segment.number < open_number && segment.sealed_at == core::wall_never)
			store::mark_sealed(queue.id, segment.number, now);
		else if (segment.number == open_number &&
				 wants_seal(queue, board, segment, Max(opened_at, segment.created_at), now))
			seal_segment(queue, board, segment.number, now);
		else if (segment.sealed_at != core::wall_never && segment.drained_at == core::wall_never)
		{
			// Locked: a redrive under way would bring a job back that is gone from the board.
			if (is_drained(board, segment.number) && store::lock_for_drain(queue.id, segment.number) &&
				is_drained(board, segment.number))
			{
				FAULT_POINT("segments: before drained");
				store::mark_drained(queue.id, segment.number, now);
				change_at_commit(board, Change::segment_forgotten, segment.number);
			}
			else if (drops < drops_per_round)
				drops += relocate_stragglers(queue, board, segment, now);
		}
		else if (segment.drained_at != core::wall_never && drops < drops_per_round &&
				 core::should_drop(now.us - segment.drained_at.us, queue.retention) &&
				 (!queue.has_archive || segment.archived_at != core::wall_never))
			drops += try_drop(queue, board, segment.number);
		opened_at = segment.sealed_at != core::wall_never ? segment.sealed_at : now;
	}
	drops += drop_remains(queue, drops_per_round - drops);
	keep_stay(queue, board, segments, now);
	return drops == drops_per_round ? second : Min(idle_segments, Max(second, queue.segment_age / 10));
}

// A dropped queue goes segment by segment, as locks allow, and its catalog rows last.
core::Microseconds
remove_dropped(catalog::Queue const &queue)
{
	store::Segments const segments = store::all_segments(queue.id);
	int left = segments.count;
	for (int i = 0; i < segments.count && segments.count - left < drops_per_round; i++)
		if (store::lock_for_drop(queue.id, segments.segment[i].number))
		{
			store::drop_segment(queue.id, segments.segment[i].number);
			left--;
		}
	drop_remains(queue, drops_per_round);
	left += store::all_remains(queue.id).count;
	if (left == 0 && store::has_stay(queue.id))
	{
		if (!store::lock_for_drop(queue.id, store::stay))
			return second;
		store::drop_stay(queue.id);
	}
	if (left > 0)
		return second;
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
	return for_each_queue("keeping segments", keep_segments_of, idle_segments);
}

} // namespace onceq::board
