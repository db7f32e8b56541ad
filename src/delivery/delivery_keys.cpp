// SPDX-License-Identifier: PostgreSQL
#include "base/fault.hpp"
#include "base/settings.hpp"
#include "board/each_queue.hpp"
#include "board/waiters.hpp"
#include "delivery/keys.hpp"

extern "C" {
#include <storage/ipc.h>
}

namespace onceq::delivery {

namespace {

constexpr int batch = 128;
constexpr int looks_per_round = 1024;

// The jobs of a key by id, batch by batch. judge returns whether it wants more.
struct Walk
{
	catalog::Queue const &queue;
	board::Handle board;
	bool (*judge)(Walk &walk, void *argument);
	void *argument;
	core::KeyedJob job[batch];
	int count;
	bool ended; // by judge
};

bool
judge_batch(Walk &walk)
{
	walk.ended = !walk.judge(walk, walk.argument);
	walk.count = 0;
	return !walk.ended;
}

bool
visit_keyed_job(core::JobId id, int priority, void *argument)
{
	Walk &walk = *static_cast<Walk *>(argument);
	walk.job[walk.count++] = {id, priority};
	return walk.count < batch || judge_batch(walk);
}

// The next segment with unfinished jobs; -1: none.
core::SegmentNumber
next_live(board::Handle const &handle, core::SegmentNumber from)
{
	board::Locked board(handle.index, LW_SHARED);
	core::SegmentNumber segment = board->map.next_segment(board::pool(), from);
	while (segment >= 0 && board->map.live(board::pool(), segment) == 0)
		segment = board->map.next_segment(board::pool(), segment + 1);
	return segment;
}

void
walk_key(Walk &walk, core::KeyHash key, core::JobId first, core::JobId last)
{
	core::SegmentNumber const newest = core::segment_of(last);
	for (core::SegmentNumber segment = next_live(walk.board, core::segment_of(first));
		 segment >= 0 && segment <= newest && !walk.ended; segment = next_live(walk.board, segment + 1))
		store::read_jobs_of_key(walk.queue.id, segment, key, first, last, visit_keyed_job, &walk);
	if (walk.count > 0)
		judge_batch(walk);
}

// ---- the claim

struct TurnWalk
{
	core::LeaseSlot &lease;
	core::Token token;
	int number;
	core::JobId id;
	core::KeyWalk walk;
	core::Turn turn;
};

// The next of the lower jobs.
bool
check_turn(Walk &walk, void *argument)
{
	TurnWalk &mine = *static_cast<TurnWalk *>(argument);
	board::Locked board(walk.board.index);
	// Without the lease the claim will fail: the queue was dropped.
	mine.turn = core::owns(mine.lease, mine.token) ? core::check_turn(*board, board::pool(), mine.lease, mine.number,
																	  mine.id, mine.walk, walk.job, walk.count)
												   : core::Turn::busy;
	return mine.turn == core::Turn::granted;
}

// ---- who is next

struct PendingLook
{
	board::Handle board;
	core::KeyLook look;
	core::JobId last;
};

bool
look_at_batch(Walk &walk, void *argument)
{
	core::KeyLook &look = static_cast<PendingLook *>(argument)->look;
	for (int index = 0;;)
	{
		core::LookStep step;
		{
			board::Locked board(walk.board.index);
			step = core::look_at(*board, board::pool(), look, walk.job, walk.count, index);
		}
		if (step == core::LookStep::ask)
		{
			core::KeyedJob const &job = walk.job[index++];
			bool const dead = store::read_history(walk.queue.id, job.id).is_finished();
			board::Locked board(walk.board.index);
			step = core::answer_look(*board, board::pool(), look, job, dead);
			if (step == core::LookStep::more)
				continue;
		}
		return step == core::LookStep::more;
	}
}

// It was not finished: somebody else has to.
void
look_again(int, Datum argument)
{
	PendingLook const &pending = *reinterpret_cast<PendingLook *>(DatumGetPointer(argument));
	board::Locked board(pending.board.index);
	if (board.stands_for(pending.board.key))
		core::doubt_key(*board, board::pool(), pending.look.walk.key);
}

void
read_key(catalog::Queue const &queue, PendingLook &pending)
{
	FAULT_POINT("turns: before look");
	Walk walk{queue, pending.board, look_at_batch, &pending, {}, 0, false};
	walk_key(walk, pending.look.walk.key, pending.look.walk.from, pending.last);
	FAULT_POINT("turns: after look");
	board::Locked board(pending.board.index);
	core::finish_walk(*board, board::pool(), pending.look.walk);
}

void
look_at_key(catalog::Queue const &queue, PendingLook &pending)
{
	PG_ENSURE_ERROR_CLEANUP(look_again, PointerGetDatum(&pending));
	{
		read_key(queue, pending);
	}
	PG_END_ENSURE_ERROR_CLEANUP(look_again, PointerGetDatum(&pending));
}

// ---- keys that blocked jobs may wait for in vain

struct Doubt
{
	board::Handle board;
};

bool
doubt_job(store::Job const &job, void *argument)
{
	board::Handle const &handle = static_cast<Doubt *>(argument)->board;
	if (job.ordering_key == nullptr)
		return true;
	core::KeyHash const key = store::hash_of_key(job.ordering_key);
	board::Locked board(handle.index);
	if (board.stands_for(handle.key))
		core::doubt_key(*board, board::pool(), key);
	return true;
}

void
doubt_again(int, Datum argument)
{
	board::Handle const &handle = reinterpret_cast<Doubt *>(DatumGetPointer(argument))->board;
	board::Locked board(handle.index);
	board->keys_are_in_doubt |= board.stands_for(handle.key);
}

// The next blocked jobs at or after start, neighbours; first 0: none.
core::Seized
next_blocked(board::Handle const &handle, core::JobId start)
{
	board::Locked board(handle.index, LW_SHARED);
	core::JobId const first =
		board.stands_for(handle.key) ? board->map.find(board::pool(), core::JobState::blocked, start) : 0;
	int const length = first != 0 ? board->map.run_length(board::pool(), first, core::ids_per_page) : 0;
	return {first, first + length - 1, core::JobState::blocked};
}

void
doubt_keys(catalog::Queue const &queue, Doubt &doubt)
{
	for (core::Seized run = next_blocked(doubt.board, 1); run.first != 0; run = next_blocked(doubt.board, run.last + 1))
	{
		CHECK_FOR_INTERRUPTS();
		store::read_jobs(queue.id, run.first, run.last, doubt_job, &doubt);
	}
}

void
clear_doubts(catalog::Queue const &queue, board::Handle const &handle)
{
	Doubt doubt{handle};
	{
		board::Locked board(handle.index);
		if (!board.stands_for(handle.key))
			return;
		core::set_key_limit(*board, key_limit(queue));
		if (!board->keys_are_in_doubt)
			return;
		board->keys_are_in_doubt = false;
	}
	PG_ENSURE_ERROR_CLEANUP(doubt_again, PointerGetDatum(&doubt));
	{
		FAULT_POINT("turns: in doubt");
		doubt_keys(queue, doubt);
	}
	PG_END_ENSURE_ERROR_CLEANUP(doubt_again, PointerGetDatum(&doubt));
}

core::Microseconds
move_keys_on_of(catalog::Queue const &queue)
{
	core::Microseconds const nap = base::from_ms(base::settings.worker_naptime_ms);
	board::Handle handle;
	if (!board::find(queue, handle))
		return nap;
	clear_doubts(queue, handle);
	return look_at_keys(queue, handle, looks_per_round) < looks_per_round ? nap : 0;
}

} // namespace

core::Turn
take_turn(catalog::Queue const &queue, board::Handle const &handle, core::LeaseSlot &lease, core::Token token,
		  int number, store::Job const &job)
{
	int const limit = key_limit(queue);
	TurnWalk mine{lease, token, number, job.id, {}, core::Turn::busy};
	core::KeyHash const key = store::hash_of_key(job.ordering_key);
	{
		board::Locked board(handle.index);
		if (!core::owns(lease, token))
			return core::Turn::busy;
		mine.turn = core::begin_turn(*board, board::pool(), lease, number, job.id, key, limit, mine.walk);
	}
	if (mine.turn != core::Turn::granted || limit > 1)
		return mine.turn;
	FAULT_POINT("turns: after begin");
	Walk walk{queue, handle, check_turn, &mine, {}, 0, false};
	walk_key(walk, key, mine.walk.from, job.id - 1);
	if (mine.turn == core::Turn::granted)
	{
		board::Locked board(handle.index);
		core::finish_walk(*board, board::pool(), mine.walk);
	}
	return mine.turn;
}

int
look_at_keys(catalog::Queue const &queue, board::Handle const &handle, int at_most)
{
	int looks = 0;
	for (; looks < at_most; looks++)
	{
		PendingLook pending{handle, {}, 0};
		{
			board::Locked board(handle.index);
			if (!board.stands_for(handle.key) ||
				!core::begin_look(*board, board::pool(), key_limit(queue), pending.look))
				break;
			pending.last = board->next_id - 1;
		}
		look_at_key(queue, pending);
		CHECK_FOR_INTERRUPTS();
	}
	board::wake_claimers(handle.index, looks);
	return looks;
}

core::Microseconds
move_keys_on()
{
	return board::for_each_queue("looking at ordering keys", move_keys_on_of,
								 base::from_ms(base::settings.worker_naptime_ms));
}

} // namespace onceq::delivery
