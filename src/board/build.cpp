// SPDX-License-Identifier: PostgreSQL
#include "board/build.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/settings.hpp"
#include "board/journal.hpp"
#include "store/store.hpp"

extern "C" {
#include <utils/hsearch.h>
#include <utils/memutils.h>
#include <utils/snapmgr.h>
}

namespace onceq::board {

namespace {

// The last failed attempt of a job with a history.
struct FailedJob
{
	core::JobId id; // hash key
	int attempt;
	core::Wall due_at; // wall_never: dead, and blocks its ordering key
	bool ask_history;  // redriven or rescheduled, once at least: no order of the rows tells what came last
};

// What a job is while outcomes are read that has died, but perhaps lives again: no order of the rows tells.
constexpr core::JobState perhaps_dead = core::JobState::seized;

struct Builder
{
	core::Board &board;
	core::FramePool &pool;
	core::Wall now;
	HTAB *failed;
	// Neighbouring jobs in one state, not placed yet.
	core::JobId first;
	core::JobId last;
	core::JobState state;
};

void
place_pending(Builder &builder)
{
	if (builder.first <= builder.last &&
		!core::place(builder.board, builder.pool, builder.first, builder.last, builder.state, false))
		raise_no_state_memory();
	builder.first = 1;
	builder.last = 0;
}

core::JobState
state_when_due(Builder &builder, core::Wall due, int priority)
{
	if (due == core::wall_never)
		return core::JobState::blocked;
	if (due <= builder.now)
		return core::ready_at(priority);
	core::note_due(builder.board, due);
	return core::JobState::waiting;
}

void
add_job(store::JobHead const &job, void *argument)
{
	Builder &builder = *static_cast<Builder *>(argument);
	builder.board.has_keys |= job.has_key;
	core::JobState const state = state_when_due(builder, job.run_at, job.priority);
	if (job.id != builder.last + 1 || state != builder.state || builder.first > builder.last ||
		core::segment_of(job.id) != core::segment_of(builder.first))
	{
		place_pending(builder);
		builder.first = job.id;
		builder.state = state;
	}
	builder.last = job.id;
}

void
note_failed(Builder &builder, store::StoredOutcome const &outcome)
{
	bool found;
	auto *const job = static_cast<FailedJob *>(hash_search(builder.failed, &outcome.first_id, HASH_ENTER, &found));
	bool const is_end = outcome.outcome == store::Outcome::failed || outcome.outcome == store::Outcome::dead;
	job->ask_history = (found && job->ask_history) || !is_end;
	if (!found || outcome.attempt >= job->attempt)
	{
		job->attempt = outcome.attempt;
		job->due_at = outcome.due_at;
	}
}

// Unless it is none: then the job has ended for good.
void
set_state(Builder &builder, core::JobId id, core::JobState state, bool history)
{
	if (builder.board.map.state(builder.pool, id) == core::JobState::none)
		return;
	if (!core::remove(builder.board, builder.pool, id, id) ||
		!core::place(builder.board, builder.pool, id, id, state, history))
		raise_no_state_memory();
}

bool
apply_outcome(store::StoredOutcome const &outcome, void *argument)
{
	Builder &builder = *static_cast<Builder *>(argument);
	bool const dead = outcome.outcome == store::Outcome::dead;
	bool const goes_on = outcome.outcome == store::Outcome::failed || outcome.outcome == store::Outcome::redriven ||
						 outcome.outcome == store::Outcome::rescheduled;
	if (goes_on || (dead && outcome.due_at == core::wall_never))
		note_failed(builder, outcome);
	if (dead)
		set_state(builder, outcome.first_id, perhaps_dead, false);
	else if (!goes_on && !core::remove(builder.board, builder.pool, outcome.first_id, outcome.last_id))
		raise_no_state_memory();
	return true;
}

// Whether the job is dead, and blocks no key; else due_at is what was said of it last.
bool
is_dead(Builder const &builder, int32 queue, FailedJob &job)
{
	if (!job.ask_history)
		return job.due_at != core::wall_never && builder.board.map.state(builder.pool, job.id) == perhaps_dead;
	store::History const history = store::read_history(queue, job.id);
	job.due_at = history.due_at;
	return history.is_finished() && history.due_at != core::wall_never;
}

// Jobs that failed and are unfinished wait for, or have reached, the due time of their next attempt.
void
apply_failed(Builder &builder, int32 queue)
{
	HASH_SEQ_STATUS status;
	hash_seq_init(&status, builder.failed);
	while (auto *const job = static_cast<FailedJob *>(hash_seq_search(&status)))
	{
		if (builder.board.map.state(builder.pool, job->id) == core::JobState::none || is_dead(builder, queue, *job))
			continue;
		store::JobHead head{};
		store::read_head(queue, job->id, head);
		set_state(builder, job->id, state_when_due(builder, job->due_at, head.priority), true);
	}
}

HTAB *
create_failed_jobs()
{
	HASHCTL control{};
	control.keysize = sizeof(core::JobId);
	control.entrysize = sizeof(FailedJob);
	control.hcxt = CurrentMemoryContext;
	return hash_create("onceq failed jobs", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
build_segment(Builder &builder, int32 queue, core::SegmentNumber segment)
{
	builder.failed = create_failed_jobs();
	store::scan_jobs(queue, segment, add_job, &builder);
	place_pending(builder);
	FAULT_POINT("build: after jobs");
	store::scan_outcomes(queue, segment, apply_outcome, &builder);
	apply_failed(builder, queue);
	// Wherever they are: the stay tables have jobs of many segments.
	core::StateMap &map = builder.board.map;
	for (core::JobId id = map.find(builder.pool, perhaps_dead, 1); id != 0;
		 id = map.find(builder.pool, perhaps_dead, id))
		map.move(builder.pool, id, core::last_id_of(core::segment_of(id)), perhaps_dead, core::JobState::none);
	hash_destroy(builder.failed);
}

void
build_all(core::Board &board, std::uint32_t index, catalog::Queue const &queue)
{
	core::Wall const now = base::now_wall();
	core::SegmentNumber const prepared_end = place_live_jobs(board, pool(), now, queue);
	catalog::Ceiling const ceiling = catalog::read_ceiling(queue.id);
	restore_leases(board, index, queue);
	if (started_uncleanly() && !queue.created_here)
		core::hold_back(board, pool(), base::from_ms(base::settings.restart_spread_ms), base::now_monotonic());
	FAULT_POINT("build: before standing");
	// Ids below the ceiling may have been given out: numbering goes on at it. In a queue that this
	// transaction made none were.
	core::JobId const next_id = queue.created_here ? 1 : Max(ceiling.value, board.next_id);
	board.provisional = queue.created_here;
	// What was delivered before the start is not known: the limit of the rate holds across it.
	board.bucket.begin(queue.created_here ? core::monotonic_always : base::now_monotonic());
	core::finish_building(board, next_id, ceiling.value, prepared_end, now);
	board.standing_since = base::now_monotonic();
	board.ceiling_step = ceiling.step;
}

} // namespace

core::SegmentNumber
place_live_jobs(core::Board &board, core::FramePool &frames, core::Wall now, catalog::Queue const &queue)
{
	Builder builder{board, frames, now, nullptr, 1, 0, core::JobState::none};
	core::SegmentNumber prepared_end = 0;
	store::Segments const segments = store::all_segments(queue.id);
	for (int i = 0; i < segments.count; i++)
	{
		store::Segment const &segment = segments.segment[i];
		if (segment.drained_at == core::wall_never)
			build_segment(builder, queue.id, segment.number);
		if (segment.sealed_at != core::wall_never)
			board.next_id = Max(board.next_id, core::first_id_of(segment.number + 1));
		prepared_end = Max(prepared_end, segment.number + 1);
	}
	if (store::has_stay(queue.id))
		build_segment(builder, queue.id, store::stay);
	return prepared_end;
}

void
build_board(core::Board &board, std::uint32_t index, catalog::Queue const &queue)
{
	MemoryContext const context = AllocSetContextCreate(CurrentMemoryContext, "onceq board", ALLOCSET_DEFAULT_SIZES);
	{
		base::MemoryContextScope const memory(context);
		// Newer than whatever the transaction saw first: nothing that is durable may be missed.
		base::SnapshotScope const snapshot(GetLatestSnapshot());
		build_all(board, index, queue);
	}
	MemoryContextDelete(context);
}

} // namespace onceq::board
