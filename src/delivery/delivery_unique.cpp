// SPDX-License-Identifier: PostgreSQL
// Unique jobs: who has a key is asked of the board, under the key's lock, when somebody enqueues under it.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/transaction.hpp"
#include "delivery/unique.hpp"

extern "C" {
#include <access/transam.h>
#include <access/xact.h>
#include <miscadmin.h>
#include <storage/lmgr.h>
#include <utils/snapmgr.h>
}

namespace onceq::delivery {

namespace {

// How long a producer that wants to replace a job lets maintenance have it: that many looks, so far apart.
constexpr int looks_max = 1000;
constexpr core::Microseconds between_looks = 1000;

enum class Has
{
	nobody,     // the key, or it is there for the taking: the last job is finished and its time is over
	finished,   // a finished job, for some time yet
	own,        // a job that this transaction enqueued
	committing, // a job whose transaction has committed, but not told the board yet
	waiting,    // a job that is ready or waits to be
	seized,     // a job that is in the hands of maintenance
	running,    // a job that is leased
};

// An enqueue under a key.
struct Attempt
{
	catalog::Queue const &queue;
	Unique const &unique;
	board::Handle board;
};

core::JobState
state_of(catalog::Queue const &queue, board::Handle const &handle, core::JobId id)
{
	bool stands;
	core::JobState state;
	{
		board::Locked board(handle.index, LW_SHARED);
		stands = board.stands_for(handle.key);
		state = stands ? board->map.state(board::pool(), id) : core::JobState::none;
	}
	if (!stands)
		board::raise_no_such_queue(queue);
	return state;
}

Has
who_has(catalog::Queue const &queue, board::Handle const &handle, store::KeyRow const &row)
{
	if (!row.found)
		return Has::nobody;
	core::JobState const state = state_of(queue, handle, row.job);
	bool const held = state == core::JobState::leased || state == core::JobState::seized;
	if (state == core::JobState::none || (held && board::finishes_job(handle, row.job)))
		return row.kept_until > base::now_wall() ? Has::finished : Has::nobody;
	if (state == core::JobState::reserved)
		return TransactionIdIsCurrentTransactionId(row.xmin) ? Has::own : Has::committing;
	if (state == core::JobState::seized)
		return Has::seized;
	return state == core::JobState::leased ? Has::running : Has::waiting;
}

// To act upon a job that the transaction's own snapshot does not show would be against its isolation level.
void
require_visible(store::KeyRow const &row)
{
	if (IsolationUsesXactSnapshot() && TransactionIdIsNormal(row.xmin) &&
		!TransactionIdIsCurrentTransactionId(row.xmin) && XidInMVCCSnapshot(row.xmin, GetTransactionSnapshot()))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to a concurrent enqueue under the "
							   "same unique key"),
						errhint("Run the transaction again.")));
}

// If another transaction changes the row its end decides: gives the key's lock back, and waits for that.
bool
let_others_end(Attempt const &attempt, store::KeyRow const &row)
{
	TransactionId const other = row.changed_by;
	if (!TransactionIdIsValid(other))
		return false;
	store::unlock_key(attempt.unique.key);
	XactLockTableWait(other, nullptr, nullptr, XLTW_None);
	return true;
}

core::Wall
due_of(int32 queue, core::JobId id)
{
	store::JobHead job{id, core::wall_always, 0, false};
	store::read_head(queue, id, job);
	return store::read_history(queue, id).due(job.run_at);
}

// The new job takes the place of one that this transaction owns: reserved, or seized.
core::JobId
replace_job(Attempt const &attempt, core::JobId old, store::NewJob &job)
{
	int32 const queue = attempt.queue.id;
	if (attempt.unique.mode == UniqueMode::replace)
	{
		core::Wall const due = due_of(queue, old);
		job.run_at = due > base::now_wall() ? due : core::wall_always;
	}
	core::JobId const id = insert_job(attempt.queue, job);
	char detail[64];
	snprintf(detail, sizeof(detail), "replaced by job " INT64_FORMAT, static_cast<int64>(id));
	store::NewOutcome row{};
	row.first_id = old;
	row.last_id = old;
	row.outcome = store::Outcome::cancelled;
	row.detail = cstring_to_text(detail);
	store::append_outcomes(queue, &row, 1);
	FAULT_POINT("unique: after replace");
	return id;
}

bool
is_available(core::JobState state)
{
	return state == core::JobState::waiting || state == core::JobState::blocked || core::is_ready(state);
}

enum class Verdict
{
	added,
	suppressed,
	again
};

// Under the key's lock. job.id is set when it was added.
Verdict
enqueue_locked(Attempt const &attempt, Has has, store::KeyRow const &row, store::NewJob &job)
{
	if (has != Has::nobody)
		require_visible(row);
	core::JobState was;
	if (has == Has::nobody)
		insert_job(attempt.queue, job);
	else if (attempt.unique.mode == UniqueMode::skip || has == Has::running || has == Has::finished)
		return Verdict::suppressed;
	else if (has == Has::own)
	{
		board::withdraw_at_commit(attempt.board, row.job);
		replace_job(attempt, row.job, job);
	}
	else if (has == Has::waiting && board::seize_job_if(attempt.queue, row.job, is_available, was) != nullptr)
		replace_job(attempt, row.job, job);
	else
		return Verdict::again;
	core::Microseconds const span = attempt.unique.span;
	store::write_key(attempt.unique.key, row, job.id, span > 0 ? base::now_wall() + span : core::wall_always);
	FAULT_POINT("unique: after write");
	return Verdict::added;
}

// What keeps a job from being replaced goes away by itself: a commit that is almost over, a claim, maintenance.
// false: it takes too long.
bool
wait_for_board(Has has, store::KeyRow const &row, int &looks)
{
	if (has == Has::committing && TransactionIdIsNormal(row.xmin))
		XactLockTableWait(row.xmin, nullptr, nullptr, XLTW_None);
	if (++looks > looks_max)
		return false;
	pg_usleep(between_looks);
	return true;
}

} // namespace

store::UniqueKey
key_argument(FunctionCallInfo fcinfo, int number, catalog::Queue const &queue)
{
	text const *const key = PG_GETARG_TEXT_PP(number);
	int const length = static_cast<int>(VARSIZE_ANY_EXHDR(key));
	if (length < 1 || length > store::unique_key_length_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unique_key is too short or too long"),
						errdetail("It has %d bytes; 1 to %d are allowed.", length, store::unique_key_length_max),
						errhint("Use a hash of what is longer.")));
	return {queue.id, key};
}

bool
unique_argument(FunctionCallInfo fcinfo, int number, catalog::Queue const &queue, Unique &unique)
{
	if (PG_ARGISNULL(number))
		return false;
	unique.key = key_argument(fcinfo, number, queue);
	require_argument(fcinfo, number + 1, "unique_mode");
	char const *const mode = text_to_cstring(PG_GETARG_TEXT_PP(number + 1));
	if (strcmp(mode, "skip") == 0)
		unique.mode = UniqueMode::skip;
	else if (strcmp(mode, "replace") == 0)
		unique.mode = UniqueMode::replace;
	else if (strcmp(mode, "debounce") == 0)
		unique.mode = UniqueMode::debounce;
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unique_mode must be 'skip', 'replace' or 'debounce'")));
	unique.span = PG_ARGISNULL(number + 2)
					  ? 0
					  : base::microseconds_of(PG_GETARG_INTERVAL_P(number + 2), "unique_for", 0, delay_max);
	return true;
}

core::JobId
enqueue_unique(catalog::Queue const &queue, Unique const &unique, store::NewJob &job)
{
	Attempt const attempt{queue, unique, board::open(queue)};
	if (unique.mode == UniqueMode::skip)
	{
		// Most duplicates end here, without a lock and without a write.
		store::KeyRow const row = store::look_up_key(unique.key);
		if (who_has(queue, attempt.board, row) != Has::nobody)
		{
			require_visible(row);
			return 0;
		}
	}
	for (int looks = 0;;)
	{
		CHECK_FOR_INTERRUPTS();
		store::lock_key(unique.key);
		FAULT_POINT("unique: after lock");
		store::KeyRow const row = store::read_key(unique.key);
		if (let_others_end(attempt, row))
			continue;
		Has const has = who_has(queue, attempt.board, row);
		Verdict const verdict = enqueue_locked(attempt, has, row, job);
		store::unlock_key(unique.key);
		if (verdict == Verdict::added)
			return job.id;
		if (verdict == Verdict::suppressed || !wait_for_board(has, row, looks))
			return 0;
	}
}

// find_unique(queue, unique_key) returns bigint
ONCEQ_FUNCTION(onceq_find_unique)
{
	base::require_claimable("onceq.find_unique()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_enqueue | catalog::may_look);
	require_argument(fcinfo, 1, "unique_key");
	store::UniqueKey const key = key_argument(fcinfo, 1, queue);
	board::Handle const board = board::open(queue);
	for (core::JobId previous = 0;;)
	{
		CHECK_FOR_INTERRUPTS();
		store::KeyRow const row = store::look_up_key(key);
		if (who_has(queue, board, row) != Has::nobody)
			PG_RETURN_INT64(row.job);
		// It may have been replaced since its row was read.
		if (!row.found || row.job == previous)
			PG_RETURN_NULL();
		previous = row.job;
	}
}

} // namespace onceq::delivery
