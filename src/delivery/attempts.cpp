// SPDX-License-Identifier: PostgreSQL
// job_attempts(): what became of each attempt of a job.
#include "base/require.hpp"
#include "base/wall.hpp"
#include "delivery/look.hpp"

extern "C" {
#include <funcapi.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

namespace {

struct Attempts
{
	ReturnSetInfo *result;
	int highest; // of those that have ended
};

void
put_attempt(ReturnSetInfo *result, Attempt const &attempt, text *error)
{
	bool const has_worker = attempt.worker != nullptr && attempt.worker[0] != '\0';
	Datum values[] = {
		Int32GetDatum(attempt.attempt),
		CStringGetTextDatum(attempt.outcome),
		TimestampTzGetDatum(attempt.ended_at.us),
		has_worker ? CStringGetTextDatum(attempt.worker) : Datum{0},
		PointerGetDatum(error),
	};
	bool nulls[] = {false, false, attempt.ended_at == core::wall_never, !has_worker, error == nullptr};
	static_assert(lengthof(values) == lengthof(nulls));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

char const *
name_of(store::Outcome outcome)
{
	switch (outcome)
	{
		case store::Outcome::failed:
			return "failed";
		case store::Outcome::dead:
			return "dead";
		case store::Outcome::cancelled:
			return "cancelled";
		default:
			return nullptr; // no attempt's
	}
}

bool
visit_ended(store::EndedAttempt const &ended, void *argument)
{
	auto &attempts = *static_cast<Attempts *>(argument);
	char const *const outcome = name_of(ended.outcome);
	if (outcome == nullptr || ended.attempt == 0) // cancelled while nobody had it
		return true;
	attempts.highest = Max(attempts.highest, ended.attempt);
	put_attempt(attempts.result, {ended.attempt, outcome, ended.at, ended.worker}, ended.detail);
	return true;
}

} // namespace

// job_attempts(queue, id) returns table (attempt, outcome, ended_at, worker, error)
ONCEQ_FUNCTION(onceq_job_attempts)
{
	catalog::Queue const queue = lookers_queue(fcinfo);
	require_argument(fcinfo, 1, "id");
	InitMaterializedSRF(fcinfo, 0);
	core::JobId const id = PG_GETARG_INT64(1);
	Looker looker{queue, board_of(queue), {-1, {}}, nullptr, false};
	store::JobHead job;
	if (id < 1 || !store::read_head(queue.id, id, job))
		PG_RETURN_NULL();
	// The board first: an attempt that ends meanwhile is seen twice, and not missed.
	Attempts attempts{reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo), 0};
	Attempt current;
	bool const has_current = current_attempt(looker, id, current);
	store::read_attempts(queue.id, id, visit_ended, &attempts);
	if (has_current && current.attempt > attempts.highest)
		put_attempt(attempts.result, current, nullptr);
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
