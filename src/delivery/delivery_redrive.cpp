// SPDX-License-Identifier: PostgreSQL
// redrive: dead jobs live again, with all their attempts before them. Whoever redrives a job owns it first, like
// everybody: it is seized although it has ended, and looked at again then. It may be of a segment that is drained:
// the lock on its outcomes keeps the segment from being dropped, or marked drained, until the transaction has ended.
// It may have outlived its segment: whoever deletes its row owns it, too.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/transaction.hpp"
#include "delivery/selection.hpp"
#include "store/store.hpp"

namespace onceq::delivery {

namespace {

constexpr int rate_max = 1000000;
constexpr int candidates_per_look = 1000;

struct Redrive
{
	catalog::Queue const &queue;
	int rate; // jobs per second; 0: all at once
	core::Wall start;
	core::SegmentNumber reopened; // -1: none
	int64 done;
};

// blocked: dead, and in the way of its ordering key; or a job of a key that waits, which is no matter here.
bool
may_have_ended(core::JobState state)
{
	return state == core::JobState::none || state == core::JobState::blocked;
}

core::Wall
next_due(Redrive const &redrive)
{
	if (redrive.rate == 0 || redrive.done < redrive.rate)
		return core::wall_always;
	return redrive.start + redrive.done / redrive.rate * core::microseconds_per_second;
}

bool
may_live_again(store::History const &history)
{
	return history.any && history.last == store::Outcome::dead && history.failed_attempts < core::attempt_max;
}

// The segment stays, and is not drained; false: it is gone.
bool
reopen(Redrive &redrive, core::SegmentNumber segment)
{
	if (redrive.reopened == segment)
		return true;
	if (!store::reopen_segment(redrive.queue.id, segment))
		return false;
	FAULT_POINT("redrive: after reopen");
	redrive.reopened = segment;
	return true;
}

void
append_redriven(Redrive const &redrive, core::JobId id, int attempt, core::Wall due)
{
	store::NewOutcome row{};
	row.first_id = id;
	row.last_id = id;
	row.outcome = store::Outcome::redriven;
	row.attempt = attempt;
	row.due_at = due;
	FAULT_POINT("redrive: after seize");
	store::append_outcomes(redrive.queue.id, &row, 1);
	FAULT_POINT("redrive: after insert");
}

// false: it is not dead, or somebody else changes it. is: its state on the board.
bool
redrive_job(Redrive &redrive, core::JobId id, core::JobState &is)
{
	int32 const queue = redrive.queue.id;
	is = core::JobState::none;
	// Looked at first without owning it: most of what is asked for may live again already.
	if (!may_live_again(store::read_history(queue, id)) || !reopen(redrive, core::segment_of(id)))
		return false;
	board::Entry *const seized = board::seize_job_if(redrive.queue, id, may_have_ended, is);
	if (seized == nullptr)
		return false;
	store::History const history = store::read_history(queue, id);
	store::JobHead job;
	if (!may_live_again(history) || !store::read_head(queue, id, job))
	{
		board::give_back(seized); // others redrove it meanwhile, and it has ended again, or waits for its key's turn
		return false;
	}
	core::Wall const due = next_due(redrive);
	append_redriven(redrive, id, history.failed_attempts, due);
	board::revive_at_commit(seized, job.priority, due);
	redrive.done++;
	return true;
}

bool
redrive_listed(core::JobId id, void *argument)
{
	core::JobState is;
	return redrive_job(*static_cast<Redrive *>(argument), id, is);
}

// ---- many of them

struct Candidates
{
	core::JobId id[candidates_per_look];
	int count;
};

bool
add_candidate(core::JobId id, void *argument)
{
	Candidates &candidates = *static_cast<Candidates *>(argument);
	if (candidates.count == 0 || candidates.id[candidates.count - 1] != id)
		candidates.id[candidates.count++] = id;
	return candidates.count < candidates_per_look;
}

void
redrive_part(Redrive &redrive, store::Part const &part, Selection const &selection, Candidates &candidates)
{
	core::JobId const last = Min(part.last, selection.last);
	for (core::JobId from = part.first; from <= last && redrive.done < selection.count;)
	{
		candidates.count = 0;
		store::read_dead(redrive.queue.id, part.tables, from, last, add_candidate, &candidates);
		if (candidates.count == 0)
			return;
		Selection listed = selection;
		listed.ids = candidates.id;
		listed.id_count = candidates.count;
		listed.count = static_cast<int>(selection.count - redrive.done);
		change_listed(redrive.queue, listed, redrive_listed, &redrive);
		from = candidates.id[candidates.count - 1] + 1;
	}
}

void
redrive_selected(Redrive &redrive, Selection const &selection)
{
	auto *const candidates = static_cast<Candidates *>(palloc(sizeof(Candidates)));
	store::Parts const parts = store::all_parts(redrive.queue.id, selection.first);
	for (int i = 0; i < parts.count && redrive.done < selection.count; i++)
		redrive_part(redrive, parts.part[i], selection, *candidates);
	pfree(candidates);
}

void
redrive_one(Redrive &redrive, core::JobId id)
{
	core::JobState is;
	if (id < 1 || redrive_job(redrive, id, is))
		return;
	if (is == core::JobState::seized)
		raise_in_other_hands(id);
	store::History const history = store::read_history(redrive.queue.id, id);
	if (history.any && history.last == store::Outcome::dead && history.failed_attempts >= core::attempt_max)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("job " INT64_FORMAT " has been tried too often", id),
				 errdetail("A job can have %d attempts at most.", core::attempt_max), errhint("Enqueue a new job.")));
}

} // namespace

// redrive(queue, id, count, rate) returns bigint
ONCEQ_FUNCTION(onceq_redrive)
{
	base::require_writable("onceq.redrive()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_operator("redrive dead jobs");
	int const count = ranged_argument(fcinfo, 2, "count", selection_count_max, selection_count_max);
	Redrive redrive{queue, ranged_argument(fcinfo, 3, "rate", rate_max, 0), base::now_wall(), -1, 0};
	if (PG_ARGISNULL(1))
		redrive_selected(redrive, all_jobs(count));
	else
		redrive_one(redrive, PG_GETARG_INT64(1));
	PG_RETURN_INT64(redrive.done);
}

// redrive_jobs(queue, ids … count, rate) returns bigint
ONCEQ_FUNCTION(onceq_redrive_jobs)
{
	base::require_writable("onceq.redrive_jobs()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_operator("redrive dead jobs");
	Selection const selection = selection_argument(fcinfo, 1, queue);
	Redrive redrive{queue, ranged_argument(fcinfo, 12, "rate", rate_max, 0), base::now_wall(), -1, 0};
	if (selection.ids != nullptr)
		change_listed(queue, selection, redrive_listed, &redrive);
	else
		redrive_selected(redrive, selection);
	PG_RETURN_INT64(redrive.done);
}

} // namespace onceq::delivery
