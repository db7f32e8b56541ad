// SPDX-License-Identifier: PostgreSQL
// ack, nack, reject: the ways in which a holder ends a delivery. Each asks under B, then inserts its
// outcome rows; the board learns it when the transaction commits, if the lease is still held then.
#include "base/clock.hpp"
#include "base/errcode.hpp"
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/transaction.hpp"
#include "delivery/delivery.hpp"
#include "delivery/keys.hpp"
#include "delivery/outcomes.hpp"
#include "store/store.hpp"

extern "C" {
#include <catalog/pg_type.h>
#include <common/pg_prng.h>
#include <utils/array.h>
}

namespace onceq::delivery {

namespace {

struct Rows
{
	store::NewOutcome *row;
	int count;
};

// One row per run of neighbouring ids of one attempt and one segment.
void
add_run(Rows &rows, core::LeasedIds const &ids, store::NewOutcome const &like)
{
	store::NewOutcome *const before = rows.count > 0 ? &rows.row[rows.count - 1] : nullptr;
	bool const continues = before != nullptr && before->last_id + 1 == ids.first && before->attempt == ids.attempt &&
						   core::segment_of(before->first_id) == core::segment_of(ids.last);
	if (continues)
	{
		before->last_id = ids.last;
		return;
	}
	rows.row[rows.count] = like;
	rows.row[rows.count].first_id = ids.first;
	rows.row[rows.count].last_id = ids.last;
	rows.row[rows.count].attempt = ids.attempt;
	rows.count++;
}

core::JobSet
ids_argument(FunctionCallInfo fcinfo, int number, board::LeaseCopy const &lease)
{
	ArrayType *const array = PG_GETARG_ARRAYTYPE_P(number);
	Datum *ids;
	bool *nulls;
	int count;
	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &ids, &nulls, &count);
	core::JobSet jobs{};
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an id must not be null")));
		jobs.add(require_available(lease, DatumGetInt64(ids[i])));
	}
	return jobs;
}

// The lease of the first argument, which the caller may end jobs of.
board::LeaseCopy *
lease_to_end(FunctionCallInfo fcinfo, char const *what, AclMode privilege, catalog::Queue &queue)
{
	base::require_writable(what);
	require_argument(fcinfo, 0, "token");
	auto *const lease = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	look_up_lease(PG_GETARG_INT64(0), *lease, queue);
	catalog::require_privilege(queue, privilege);
	return lease;
}

core::LeasedIds
one_job(board::LeaseCopy const &lease, core::JobSet const &job)
{
	core::LeasedIds found{};
	lease.runs().for_each(job, [&](core::LeasedIds const &ids) { found = ids; });
	return found;
}

core::JobSet
job_argument(FunctionCallInfo fcinfo, board::LeaseCopy const &lease)
{
	require_argument(fcinfo, 1, "id");
	core::JobSet job{};
	job.add(require_available(lease, PG_GETARG_INT64(1)));
	return job;
}

bool
take_max_attempts(store::Job const &job, void *argument)
{
	*static_cast<int *>(argument) = job.options.max_attempts;
	return false;
}

// Who ends the whole lease as succeeded says so of jobs, too, that were cancelled meanwhile.
void
require_uncancelled(board::LeaseCopy const &lease)
{
	if (lease.cancelled.empty())
		return;
	core::LeasedIds first{};
	lease.runs().for_each(lease.cancelled, [&](core::LeasedIds const &ids) { first = first.first == 0 ? ids : first; });
	ereport(ERROR,
			(errcode(ERRCODE_ONCEQ_LEASE_LOST), errmsg("job " INT64_FORMAT " of the lease was cancelled", first.first),
			 errdetail_plural("%d of its jobs was cancelled while lease " INT64_FORMAT " was held.",
							  "%d of its jobs were cancelled while lease " INT64_FORMAT " was held.",
							  lease.cancelled.size(), lease.cancelled.size(), lease.token),
			 errhint("Undo what was done for them, and end the others by their ids; onceq.cancelled() lists them.")));
}

int64
ack(board::LeaseCopy const &lease, catalog::Queue const &queue, core::JobSet const &jobs)
{
	if (jobs.empty())
		return 0;
	board::end_at_commit(lease.board, lease.token, jobs, core::Ending::succeeded, core::wall_always);
	store::NewOutcome like{};
	like.outcome = store::Outcome::acked;
	like.worker = lease.holder.worker;
	Rows rows{static_cast<store::NewOutcome *>(palloc(sizeof(store::NewOutcome) * jobs.size())), 0};
	lease.runs().for_each(jobs, [&](core::LeasedIds const &ids) { add_run(rows, ids, like); });
	FAULT_POINT("ack: after ask");
	append_by_segment(queue.id, rows.row, rows.count);
	FAULT_POINT("ack: after insert");
	pfree(rows.row);
	return jobs.size();
}

} // namespace

int64
ack_all(board::LeaseCopy const &lease, catalog::Queue const &queue)
{
	require_uncancelled(lease);
	require_any_left(lease);
	return ack(lease, queue, lease.jobs);
}

void
append_by_segment(int32 queue, store::NewOutcome const *row, int count)
{
	for (int begin = 0; begin < count;)
	{
		int end = begin + 1;
		while (end < count && core::segment_of(row[end].first_id) == core::segment_of(row[begin].first_id))
			end++;
		store::append_outcomes(queue, row + begin, end - begin);
		begin = end;
	}
}

FailedAttempt
judge_failure(catalog::Queue const &queue, core::JobId id, int max_attempts, int attempt, core::Wall now)
{
	FailedAttempt failed{};
	int const allowed = max_attempts > 0 ? max_attempts : queue.max_attempts;
	// Only who would be dead by now can have been redriven.
	int const fresh = attempt < allowed ? attempt : attempt - store::read_history(queue.id, id).fresh_from;
	failed.dead = fresh >= allowed || attempt >= core::attempt_max;
	core::Microseconds const wait = core::backoff_delay(queue.backoff, fresh, pg_prng_double(&pg_global_prng_state));
	failed.due = failed.dead || wait == 0 ? core::wall_always : now + wait;
	return failed;
}

void
fail_job(board::LeaseCopy const &lease, catalog::Queue const &queue, core::JobSet const &job,
		 FailedAttempt const &failed, text const *detail)
{
	core::LeasedIds const ids = one_job(lease, job);
	bool const blocks = failed.dead && lease.keyed.includes(job) && dead_jobs_block(queue);
	core::Ending const dead = blocks ? core::Ending::dead_and_blocks : core::Ending::dead;
	board::end_at_commit(lease.board, lease.token, job, failed.dead ? dead : core::Ending::failed, failed.due);
	store::NewOutcome const row{ids.first,
								ids.last,
								failed.dead ? store::Outcome::dead : store::Outcome::failed,
								ids.attempt,
								blocks ? core::wall_never : failed.due,
								lease.holder.worker,
								detail};
	FAULT_POINT("fail: after ask");
	store::append_outcomes(queue.id, &row, 1);
	FAULT_POINT("fail: after insert");
	if (failed.dead)
		send_dead_letter(queue, ids.first, ids.attempt, lease.holder.worker, detail);
}

// ack(token)
ONCEQ_FUNCTION(onceq_ack)
{
	catalog::Queue queue;
	board::LeaseCopy const *const lease = lease_to_end(fcinfo, "onceq.ack()", catalog::may_ack, queue);
	PG_RETURN_INT64(ack_all(*lease, queue));
}

// ack(token, ids)
ONCEQ_FUNCTION(onceq_ack_ids)
{
	catalog::Queue queue;
	board::LeaseCopy const *const lease = lease_to_end(fcinfo, "onceq.ack()", catalog::may_ack, queue);
	require_argument(fcinfo, 1, "ids");
	PG_RETURN_INT64(ack(*lease, queue, ids_argument(fcinfo, 1, *lease)));
}

// ack(token, id, result)
ONCEQ_FUNCTION(onceq_ack_id)
{
	catalog::Queue queue;
	board::LeaseCopy const *const lease = lease_to_end(fcinfo, "onceq.ack()", catalog::may_ack, queue);
	core::JobSet const job = job_argument(fcinfo, *lease);
	int64 const acked = ack(*lease, queue, job);
	if (!PG_ARGISNULL(2))
		store::append_result(queue.id, PG_GETARG_INT64(1), PG_GETARG_DATUM(2));
	PG_RETURN_INT64(acked);
}

// nack(token, id, error, retry_in) returns timestamptz
ONCEQ_FUNCTION(onceq_nack)
{
	catalog::Queue queue;
	board::LeaseCopy const *const lease = lease_to_end(fcinfo, "onceq.nack()", catalog::may_claim, queue);
	core::JobSet const job = job_argument(fcinfo, *lease);
	core::LeasedIds const ids = one_job(*lease, job);
	int max_attempts = 0;
	store::read_jobs(queue.id, ids.first, ids.last, take_max_attempts, &max_attempts);
	core::Wall const now = base::now_wall();
	FailedAttempt failed = judge_failure(queue, ids.first, max_attempts, ids.attempt, now);
	if (!PG_ARGISNULL(3))
	{
		core::Microseconds const retry_in = base::microseconds_of(PG_GETARG_INTERVAL_P(3), "retry_in", 0, delay_max);
		failed.due = failed.dead || retry_in == 0 ? core::wall_always : now + retry_in;
	}
	fail_job(*lease, queue, job, failed, error_argument(fcinfo, 2));
	if (failed.dead)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(failed.due == core::wall_always ? now.us : failed.due.us);
}

// reject(token, id, error)
ONCEQ_FUNCTION(onceq_reject)
{
	catalog::Queue queue;
	board::LeaseCopy const *const lease = lease_to_end(fcinfo, "onceq.reject()", catalog::may_ack, queue);
	core::JobSet const job = job_argument(fcinfo, *lease);
	fail_job(*lease, queue, job, FailedAttempt{true, core::wall_always}, error_argument(fcinfo, 2));
	PG_RETURN_VOID();
}

} // namespace onceq::delivery
