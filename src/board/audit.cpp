// SPDX-License-Identifier: PostgreSQL
// The board is built a second time, privately, from a fresh snapshot, and compared. Whatever looks
// different is suspicious only: jobs come and go meanwhile. So each suspicious job that nobody owns is
// taken out of everybody's reach first (seized), then read again, then given the state it should have.
#include <algorithm>
#include <new>

#include "board/audit.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/settings.hpp"
#include "board/build.hpp"
#include "board/each_queue.hpp"
#include "board/transaction.hpp"
#include "store/store.hpp"

extern "C" {
#include <utils/hsearch.h>
#include <utils/memutils.h>
}

namespace onceq::board {

namespace {

constexpr int suspects_max = 1024;

struct Suspect
{
	core::JobId id;
	Entry *seized;
	core::JobState was;
	bool exists;
	bool ended;
	store::JobHead head;
};

struct Audit
{
	catalog::Queue const &queue;
	Handle handle;
	core::Board *expected;
	core::FramePool *frames;
	core::Wall promoted_to; // when it began
	VisitDifference visit;
	void *argument;
	Suspect suspects[suspects_max]; // of one segment, by ascending id
	int count;
};

// Whether a job whose turn it is not, or might not be, is ready or blocked depends on what happened last. And it may be
// so before its time, by an earlier due time or a clock that was set back: a claim sends it back.
bool
is_as_expected(core::JobState is, core::JobState expected)
{
	bool const is_blocked = is == core::JobState::blocked;
	return is == expected || (is_blocked && core::is_ready(expected)) ||
		   ((is_blocked || core::is_ready(is)) && expected == core::JobState::waiting);
}

bool
mark_ended(store::End const &end, void *argument)
{
	Audit &audit = *static_cast<Audit *>(argument);
	for (int i = 0; i < audit.count; i++)
		if (end.first_id <= audit.suspects[i].id && audit.suspects[i].id <= end.last_id)
			audit.suspects[i].ended = true;
	return true;
}

void
settle_suspect(Audit &audit, Suspect const &suspect)
{
	store::History const history = store::read_history(audit.queue.id, suspect.id);
	// Dead, and blocks its ordering key: that is a state of its own.
	bool const blocks = history.last == store::Outcome::dead && history.due_at == core::wall_never;
	bool const live = suspect.exists && !suspect.ended && (!history.is_finished() || blocks);
	core::Wall const due = history.due(suspect.head.run_at);
	// A commit may have made it ready by the clock, above the watermark.
	core::JobState const is = settle_job(suspect.seized, live, history.any, suspect.head.priority,
										 due <= base::now_wall() ? core::wall_always : due);
	bool const due_meanwhile = suspect.was == core::JobState::waiting && core::is_ready(is) && due > audit.promoted_to;
	if (!is_as_expected(suspect.was, is) && !due_meanwhile)
		audit.visit({suspect.id, suspect.was, is}, audit.argument);
}

// Reads all suspects, which are seized and of one segment, and settles them.
void
settle_suspects(Audit &audit)
{
	if (audit.count == 0)
		return;
	FAULT_POINT("audit: after seize");
	for (int i = 0; i < audit.count; i++)
		audit.suspects[i].exists = store::read_head(audit.queue.id, audit.suspects[i].id, audit.suspects[i].head);
	store::read_ends(audit.queue.id, core::segment_of(audit.suspects[0].id), mark_ended, &audit);
	for (int i = 0; i < audit.count; i++)
		settle_suspect(audit, audit.suspects[i]);
	audit.count = 0;
}

void
suspect_jobs(Audit &audit, core::JobId first, int length)
{
	for (core::JobId id = first; id < first + length; id++)
	{
		Suspect suspect{id, nullptr, core::JobState::none, false, false, {}};
		suspect.seized = seize_job(audit.handle, id, suspect.was);
		if (suspect.seized == nullptr)
			continue;
		audit.suspects[audit.count++] = suspect;
		if (audit.count == suspects_max)
			settle_suspects(audit);
	}
}

void
compare_segment(Audit &audit, core::SegmentNumber segment)
{
	for (core::JobId id = core::first_id_of(segment); id <= core::last_id_of(segment);)
	{
		CHECK_FOR_INTERRUPTS();
		core::JobState const expected = audit.expected->map.state(*audit.frames, id);
		int length = audit.expected->map.run_length(*audit.frames, id, core::ids_per_page);
		core::JobState is;
		bool held_back;
		{
			Locked board(audit.handle.index, LW_SHARED);
			is = board->map.state(pool(), id);
			held_back = is == core::JobState::waiting && core::may_be_held_back(*board, id);
			length = std::min(length, board->map.run_length(pool(), id, core::ids_per_page));
		}
		if (!is_as_expected(is, expected) && !core::keeps_page(is) && !(held_back && core::is_ready(expected)))
			suspect_jobs(audit, id, length);
		id += length;
	}
	settle_suspects(audit);
}

// The next one that either of the boards has jobs of.
core::SegmentNumber
next_segment(Audit const &audit, core::SegmentNumber from)
{
	core::SegmentNumber const expected = audit.expected->map.next_segment(*audit.frames, from);
	Locked board(audit.handle.index, LW_SHARED);
	core::SegmentNumber const is = board->map.next_segment(pool(), from);
	return expected < 0 ? is : is < 0 ? expected : std::min(expected, is);
}

void
compare(Audit &audit)
{
	// Not the watermark: what is due since then may have been promoted, or not yet.
	{
		Locked board(audit.handle.index, LW_SHARED);
		audit.promoted_to = board->promoted_to;
	}
	base::SnapshotScope const snapshot(GetLatestSnapshot());
	core::begin_building(*audit.expected, audit.handle.key);
	place_live_jobs(*audit.expected, *audit.frames, audit.promoted_to, audit.queue);
	for (core::SegmentNumber next = next_segment(audit, 0); next >= 0; next = next_segment(audit, next + 1))
		compare_segment(audit, next);
}

} // namespace

void
audit_board(catalog::Queue const &queue, VisitDifference visit, void *argument)
{
	Handle const handle = open(queue);
	MemoryContext const context = AllocSetContextCreate(CurrentMemoryContext, "onceq audit", ALLOCSET_DEFAULT_SIZES);
	{
		base::MemoryContextScope const memory(context);
		std::uint32_t const frames = pool().capacity();
		void *const raw = MemoryContextAllocHuge(context, core::FramePool::size_for(frames) + PG_CACHE_LINE_SIZE);
		auto *const audit = static_cast<Audit *>(palloc0(sizeof(Audit)));
		new (audit) Audit{queue, handle, nullptr, nullptr, core::wall_never, visit, argument, {}, 0};
		audit->expected = static_cast<core::Board *>(palloc0(sizeof(core::Board)));
		audit->frames = core::FramePool::create(reinterpret_cast<void *>(CACHELINEALIGN(raw)), frames);
		compare(*audit);
	}
	MemoryContextDelete(context);
}

namespace {

// The worker has other duties: at 2^20 jobs each, two are read within a second.
constexpr int undrained_segments_max = 2;

void
log_difference(Difference const &difference, void *argument)
{
	catalog::Queue const &queue = *static_cast<catalog::Queue const *>(argument);
	ereport(LOG, (errmsg("state of job " INT64_FORMAT " of queue \"%s\" was wrong and has been repaired", difference.id,
						 queue.name),
				  errdetail("It was %d and is %d.", static_cast<int>(difference.board),
							static_cast<int>(difference.stored))));
}

core::Microseconds
audit_quietly(catalog::Queue const &queue)
{
	store::Segments const segments = store::all_segments(queue.id);
	int undrained = 0;
	for (int i = 0; i < segments.count; i++)
		undrained += segments.segment[i].drained_at == core::wall_never;
	if (!queue.dropped && undrained <= undrained_segments_max)
		audit_board(queue, log_difference, const_cast<catalog::Queue *>(&queue));
	return PG_INT64_MAX;
}

} // namespace

core::Microseconds
audit_boards()
{
	static core::Monotonic next = core::monotonic_never;

	core::Microseconds const interval = base::settings.audit_interval_s * core::microseconds_per_second;
	core::Monotonic const now = base::now_monotonic();
	if (interval == 0 || next == core::monotonic_never)
		next = now + interval; // not at the start, when all was just built
	if (interval > 0 && now >= next)
	{
		for_each_queue("audit", audit_quietly, interval);
		next = now + interval;
	}
	return interval > 0 ? Max(next.us - now.us, int64{0}) : 3600 * core::microseconds_per_second;
}

} // namespace onceq::board
