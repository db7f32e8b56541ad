// SPDX-License-Identifier: PostgreSQL
// cancel: an administrator, or the application itself, ends a job that nobody shall do any more. A job that is
// scheduled or ready is seized at once. One that is running stays with its holder until this transaction
// commits, and is then ended as the holder would end it: asked for now, pinned at PRE_COMMIT. So of the
// cancellation and the holder's ack at most one commits.
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/transaction.hpp"
#include "delivery/delivery.hpp"
#include "store/store.hpp"

extern "C" {
#include <funcapi.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

namespace {

bool
is_available(core::JobState state)
{
	return state == core::JobState::waiting || state == core::JobState::blocked || core::is_ready(state);
}

bool
note_row(store::Job const &, void *argument)
{
	*static_cast<bool *>(argument) = true;
	return false;
}

void
append_cancelled(int32 queue, core::JobId id, int attempt, char const *worker)
{
	store::NewOutcome row{};
	row.first_id = id;
	row.last_id = id;
	row.outcome = store::Outcome::cancelled;
	row.attempt = attempt;
	row.due_at = core::wall_always;
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

// false: this transaction has ended it, or it is not running any more.
bool
cancel_running(catalog::Queue const &queue, core::JobId id)
{
	board::Handle const handle = board::open(queue);
	auto *const lease = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	core::LeaseState state;
	bool cancelled = false;
	if (!copy_lease_of(handle, id, *lease, state))
		raise_in_other_hands(id); // it has just left its lease
	bool const held = state == core::LeaseState::held || state == core::LeaseState::lost;
	if (!held || lease->jobs.empty())
		raise_in_other_hands(id);
	if (core::JobSet const job = lease->jobs - board::asked_to_end(lease->token); !job.empty())
	{
		int attempt = 0;
		lease->runs().for_each(job, [&](core::LeasedIds const &ids) { attempt = ids.attempt; });
		board::end_at_commit(handle, lease->token, job, core::Ending::cancelled, core::wall_always);
		append_cancelled(queue.id, id, attempt, lease->holder.worker);
		cancelled = true;
	}
	pfree(lease);
	return cancelled;
}

// A job in the hands of a transaction. If it is this one, and has ended the job: false.
bool
refuse_owned(catalog::Queue const &queue, core::JobId id)
{
	bool exists = false;
	store::read_jobs(queue.id, id, id, note_row, &exists);
	if (exists && !store::read_history(queue.id, id).is_finished())
		raise_in_other_hands(id);
	return false; // or not committed yet: there is no such job
}

bool
cancel_job(catalog::Queue const &queue, core::JobId id)
{
	core::JobState is;
	if (board::seize_job_if(queue, id, is_available, is) != nullptr)
	{
		append_cancelled(queue.id, id, 0, nullptr);
		return true;
	}
	if (is == core::JobState::leased)
		return cancel_running(queue, id);
	return is != core::JobState::none && refuse_owned(queue, id);
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
	PG_RETURN_BOOL(id > 0 && cancel_job(queue, id));
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
