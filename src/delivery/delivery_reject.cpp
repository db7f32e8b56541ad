// SPDX-License-Identifier: PostgreSQL
// reject_jobs: jobs that nobody has in hand become dead. It counts as an attempt that failed for good, so that
// what came later, this death or an earlier redrive, can be told by the attempt.
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "delivery/keys.hpp"
#include "delivery/outcomes.hpp"
#include "delivery/selection.hpp"

namespace onceq::delivery {

namespace {

struct RejectJobs
{
	catalog::Queue const &queue;
	States states;
	text const *error; // nullptr: none
};

void
append_dead(RejectJobs const &jobs, core::JobId id, int attempt, bool blocks)
{
	store::NewOutcome row{};
	row.first_id = id;
	row.last_id = id;
	row.outcome = store::Outcome::dead;
	row.attempt = attempt;
	row.due_at = blocks ? core::wall_never : core::wall_always;
	row.detail = jobs.error;
	FAULT_POINT("reject: after seize");
	store::append_outcomes(jobs.queue.id, &row, 1);
	FAULT_POINT("reject: after insert");
}

bool
reject_selected(core::JobId id, void *argument)
{
	RejectJobs const &jobs = *static_cast<RejectJobs *>(argument);
	catalog::Queue const &queue = jobs.queue;
	core::JobState is;
	board::Entry *const seized = board::seize_job_if(queue, id, availability(jobs.states), is);
	if (seized == nullptr)
		return false;
	store::History const history = store::read_history(queue.id, id);
	store::JobHead job;
	if (!store::read_head(queue.id, id, job) || history.is_finished()) // dead, and blocks its key
	{
		board::give_back(seized);
		return false;
	}
	bool const blocks = job.has_key && dead_jobs_block(queue);
	int const attempt = history.failed_attempts + 1;
	append_dead(jobs, id, attempt, blocks);
	board::bury_at_commit(seized, blocks);
	send_dead_letter(queue, id, attempt, nullptr, jobs.error);
	return true;
}

} // namespace

// reject_jobs(queue, error, state, ids … count) returns bigint
ONCEQ_FUNCTION(onceq_reject_jobs)
{
	base::require_writable("onceq.reject_jobs()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_purge);
	RejectJobs jobs{queue, states_argument(fcinfo, 2, false), error_argument(fcinfo, 1)};
	Selection const selection = selection_argument(fcinfo, 3, queue);
	PG_RETURN_INT64(change_unfinished(queue, jobs.states, selection, reject_selected, &jobs));
}

} // namespace onceq::delivery
