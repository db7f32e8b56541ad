// SPDX-License-Identifier: PostgreSQL
// reschedule_jobs: jobs that nobody has in hand get another due time. An outcome says so, as that of a failed attempt
// does; of several the one of the highest time counts, so each is later than what was said of the job before.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "delivery/selection.hpp"
#include "store/store.hpp"

namespace onceq::delivery {

namespace {

struct RescheduleJobs
{
	catalog::Queue const &queue;
	States states;
	core::Wall due; // wall_always: at once
	core::Wall now;
};

struct Standing
{
	bool unfinished;
	store::JobHead job;
	store::History history;
};

Standing
read_standing(catalog::Queue const &queue, core::JobId id)
{
	Standing standing{false, {}, store::read_history(queue.id, id)};
	standing.unfinished = store::read_head(queue.id, id, standing.job) && !standing.history.is_finished();
	return standing;
}

bool
is_to_change(RescheduleJobs const &jobs, Standing const &standing)
{
	core::Wall const due = standing.history.due(standing.job.run_at);
	bool const is_so = jobs.due == core::wall_always ? due <= jobs.now : due == jobs.due;
	return standing.unfinished && !is_so;
}

void
append_rescheduled(RescheduleJobs const &jobs, core::JobId id, store::History const &history)
{
	core::Wall const now = base::now_wall();
	store::NewOutcome row{};
	row.first_id = id;
	row.last_id = id;
	row.outcome = store::Outcome::rescheduled;
	row.attempt = history.failed_attempts;
	row.due_at = jobs.due;
	row.at = history.any && history.at >= now ? history.at + 1 : now;
	FAULT_POINT("reschedule: after seize");
	store::append_outcomes(jobs.queue.id, &row, 1);
	FAULT_POINT("reschedule: after insert");
}

bool
reschedule_selected(core::JobId id, void *argument)
{
	RescheduleJobs const &jobs = *static_cast<RescheduleJobs *>(argument);
	// Looked at first without owning it: what an earlier batch has done stays in nobody's hands.
	if (!is_to_change(jobs, read_standing(jobs.queue, id)))
		return false;
	core::JobState is;
	board::Entry *const seized = board::seize_job_if(jobs.queue, id, availability(jobs.states), is);
	if (seized == nullptr)
		return false;
	Standing const standing = read_standing(jobs.queue, id);
	if (!is_to_change(jobs, standing))
	{
		board::give_back(seized);
		return false;
	}
	append_rescheduled(jobs, id, standing.history);
	board::revive_at_commit(seized, standing.job.priority, jobs.due);
	return true;
}

} // namespace

// reschedule_jobs(queue, run_at, delay, state, ids … count) returns bigint
ONCEQ_FUNCTION(onceq_reschedule_jobs)
{
	base::require_writable("onceq.reschedule_jobs()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_purge);
	RescheduleJobs jobs{queue, states_argument(fcinfo, 3, false), run_at_argument(fcinfo, 1, 2), base::now_wall()};
	Selection const selection = selection_argument(fcinfo, 4, queue);
	PG_RETURN_INT64(change_unfinished(queue, jobs.states, selection, reschedule_selected, &jobs));
}

} // namespace onceq::delivery
