// SPDX-License-Identifier: PostgreSQL
// cancel: an administrator, or the application itself, ends a job that nobody shall do any more. A job that is
// scheduled or ready is seized at once. One that is running stays with its holder until this transaction
// commits, and is then ended as the holder would end it: asked for now, pinned at PRE_COMMIT. So of the
// cancellation and the holder's ack at most one commits.
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/transaction.hpp"
#include "delivery/selection.hpp"
#include "store/store.hpp"

extern "C" {
#include <funcapi.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

namespace {

// What became of the wish to cancel a job.
enum class Cancelled : char
{
	yes,
	ended,
	in_other_hands
};

bool
is_available(core::JobState state)
{
	return state == core::JobState::waiting || state == core::JobState::blocked || core::is_ready(state);
}

void
append_cancelled(int32 queue, core::JobId id, int attempt, char const *worker)
{
	store::NewOutcome row{};
	row.first_id = id;
	row.last_id = id;
	row.outcome = store::Outcome::cancelled;
	row.attempt = attempt;
	row.worker = worker;
	FAULT_POINT("cancel: after ask");
	store::append_outcomes(queue, &row, 1);
	FAULT_POINT("cancel: after insert");
}

// The lease that holds the job, which it alone is copied of; false: none does.
bool
copy_lease_of(board::Handle const &handle, core::JobId id, board::LeaseCopy &copy, core::LeaseState &state)
{
	board::Locked board(handle.index, LW_SHARED);
	int number = 0;
	core::LeaseSlot *const lease =
		board.stands_for(handle.key) ? board::find_lease_of(handle.index, id, number) : nullptr;
	if (lease == nullptr)
		return false;
	core::JobSet job{};
	job.add(number);
	state = lease->state.load(std::memory_order_relaxed);
	board::copy_lease(handle, *lease, job - lease->pinned, copy);
	return true;
}

Cancelled
cancel_running(catalog::Queue const &queue, core::JobId id)
{
	board::Handle const handle = board::open(queue);
	auto *const lease = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	core::LeaseState state;
	Cancelled cancelled = Cancelled::ended;                      // by this transaction
	bool const found = copy_lease_of(handle, id, *lease, state); // else it has just left its lease
	bool const held = found && (state == core::LeaseState::held || state == core::LeaseState::lost);
	if (!held || lease->jobs.empty())
		cancelled = Cancelled::in_other_hands;
	else if (core::JobSet const job = lease->jobs - board::asked_to_end(lease->token); !job.empty())
	{
		int attempt = 0;
		lease->runs().for_each(job, [&](core::LeasedIds const &ids) { attempt = ids.attempt; });
		board::end_at_commit(handle, lease->token, job, core::Ending::cancelled, core::wall_always);
		append_cancelled(queue.id, id, attempt, lease->holder.worker);
		cancelled = Cancelled::yes;
	}
	pfree(lease);
	return cancelled;
}

// A job in the hands of a transaction: this one may have ended it; one that is not committed yet is no job.
Cancelled
judge_owned(catalog::Queue const &queue, core::JobId id)
{
	store::JobHead job;
	bool const unfinished = store::read_head(queue.id, id, job) && !store::read_history(queue.id, id).is_finished();
	return unfinished ? Cancelled::in_other_hands : Cancelled::ended;
}

Cancelled
cancel_job(catalog::Queue const &queue, core::JobId id)
{
	core::JobState is;
	if (board::seize_job_if(queue, id, is_available, is) != nullptr)
	{
		append_cancelled(queue.id, id, 0, nullptr);
		return Cancelled::yes;
	}
	if (is == core::JobState::leased)
		return cancel_running(queue, id);
	return is == core::JobState::none ? Cancelled::ended : judge_owned(queue, id);
}

// ---- many jobs

struct CancelJobs
{
	catalog::Queue const &queue;
	States states;
};

// Of a job that was blocked. One that is dead and blocks its ordering key is not meant: it goes back.
bool
keep_if_dead(catalog::Queue const &queue, core::JobId id, board::Entry *seized)
{
	bool const dead = store::read_history(queue.id, id).is_finished();
	if (dead)
		board::give_back(seized);
	return dead;
}

bool
cancel_selected(core::JobId id, void *argument)
{
	CancelJobs const &jobs = *static_cast<CancelJobs *>(argument);
	core::JobState is;
	board::Entry *const seized = board::seize_job_if(jobs.queue, id, availability(jobs.states), is);
	if (seized == nullptr)
		return is == core::JobState::leased && jobs.states.running && cancel_running(jobs.queue, id) == Cancelled::yes;
	if (is == core::JobState::blocked && keep_if_dead(jobs.queue, id, seized))
		return false;
	append_cancelled(jobs.queue.id, id, 0, nullptr);
	return true;
}

} // namespace

void
raise_in_other_hands(core::JobId id)
{
	ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					errmsg("job " INT64_FORMAT " is being changed by a transaction that has not ended", id),
					errhint("Try again.")));
	pg_unreachable();
}

// cancel(queue, id) returns bool
ONCEQ_FUNCTION(onceq_cancel)
{
	base::require_writable("onceq.cancel()");
	require_argument(fcinfo, 0, "queue");
	require_argument(fcinfo, 1, "id");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_purge);
	core::JobId const id = PG_GETARG_INT64(1);
	Cancelled const cancelled = id > 0 ? cancel_job(queue, id) : Cancelled::ended;
	if (cancelled == Cancelled::in_other_hands)
		raise_in_other_hands(id);
	PG_RETURN_BOOL(cancelled == Cancelled::yes);
}

// cancel_jobs(queue, state, ids … count) returns bigint
ONCEQ_FUNCTION(onceq_cancel_jobs)
{
	base::require_writable("onceq.cancel_jobs()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_purge);
	CancelJobs jobs{queue, states_argument(fcinfo, 1, true)};
	Selection const selection = selection_argument(fcinfo, 2, queue);
	PG_RETURN_INT64(change_unfinished(queue, jobs.states, selection, cancel_selected, &jobs));
}

// cancelled(token) returns setof bigint: what others have taken out of the lease, or are just committing to.
ONCEQ_FUNCTION(onceq_cancelled)
{
	base::require_claimable("onceq.cancelled()");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	require_argument(fcinfo, 0, "token");
	auto *const lease = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	catalog::Queue queue;
	look_up_lease(PG_GETARG_INT64(0), *lease, queue);
	catalog::require_privilege(queue, catalog::may_claim);
	lease->runs().for_each(lease->cancelled, [&](core::LeasedIds const &ids) {
		for (core::JobId id = ids.first; id <= ids.last; id++)
		{
			Datum value = Int64GetDatum(id);
			bool null = false;
			tuplestore_putvalues(result->setResult, result->setDesc, &value, &null);
		}
	});
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
