// SPDX-License-Identifier: PostgreSQL
// progress(): how far a job is, kept in memory until it leaves its lease.
#include "base/clock.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "delivery/delivery.hpp"
#include "delivery/stop.hpp"

extern "C" {
#include <mb/pg_wchar.h>
}

namespace onceq::delivery {

namespace {

std::int64_t
count_argument(FunctionCallInfo fcinfo, int number, char const *name)
{
	std::int64_t const count = PG_GETARG_INT64(number);
	if (count < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of range", name),
						errdetail("It must not be negative.")));
	return count;
}

core::Progress
progress_argument(FunctionCallInfo fcinfo, int first)
{
	require_argument(fcinfo, first, "current");
	core::Progress progress{count_argument(fcinfo, first, "current"), core::no_total, {}};
	if (!PG_ARGISNULL(first + 1))
		progress.total = count_argument(fcinfo, first + 1, "total");
	if (!PG_ARGISNULL(first + 2))
	{
		text const *const message = PG_GETARG_TEXT_PP(first + 2);
		int const length = static_cast<int>(VARSIZE_ANY_EXHDR(message));
		// Cut between characters.
		memcpy(progress.message, VARDATA_ANY(message),
			   pg_mbcliplen(VARDATA_ANY(message), length, core::progress_message_max));
	}
	return progress;
}

// The number of a job that the lease has available, or that others took out of it. Raises OQ001.
int
job_to_report(board::LeaseCopy const &lease, core::JobId id)
{
	int const job = lease.runs().job_of(id);
	return job >= 0 && lease.cancelled.contains(job) ? job : require_available(lease, id);
}

} // namespace

// progress(token, id, current, total, message) returns text: immediate.
ONCEQ_FUNCTION(onceq_progress)
{
	base::require_claimable("onceq.progress()");
	require_argument(fcinfo, 0, "token");
	require_argument(fcinfo, 1, "id");
	core::Progress const progress = progress_argument(fcinfo, 2);
	auto *const held = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	catalog::Queue queue;
	look_up_lease(PG_GETARG_INT64(0), *held, queue);
	catalog::require_privilege(queue, catalog::may_claim);
	int const job = job_to_report(*held, PG_GETARG_INT64(1));
	bool is_held = false;
	bool is_kept = false;
	core::StopReason stop = core::StopReason::none;
	{
		board::Locked board(held->board.index);
		core::LeaseSlot &lease = *board::leases().find(held->token);
		bool const owns = core::owns(lease, held->token);
		stop = owns ? core::reason_to_stop(lease, job, base::now_monotonic()) : core::StopReason::none;
		is_held = owns && (lease.held.contains(job) || stop == core::StopReason::cancelled);
		if (is_held)
			is_kept = !lease.held.contains(job) || board::leases().progress().set(lease.progress, job, progress);
	}
	if (!is_held)
		raise_lease_lost(held->token);
	if (!is_kept)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("the memory for the progress of jobs is used up"),
						errhint("Increase onceq.progress_slots and restart the server.")));
	if (stop == core::StopReason::none)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(stop_reason_name(stop)));
}

} // namespace onceq::delivery
