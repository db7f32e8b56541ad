// SPDX-License-Identifier: PostgreSQL
#include "base/require.hpp"
#include "base/wall.hpp"
#include "delivery/delivery.hpp"

extern "C" {
#include <access/xact.h>
#include <funcapi.h>
}

namespace onceq::delivery {

namespace {

constexpr core::Microseconds wait_max = 60 * core::microseconds_per_second;

// Raises 0A000 unless called in FROM, where a call is evaluated once.
void
require_from(FunctionCallInfo fcinfo, char const *name)
{
	auto const *const result = reinterpret_cast<ReturnSetInfo const *>(fcinfo->resultinfo);
	bool const in_from = result != nullptr && IsA(result, ReturnSetInfo) &&
						 (result->allowedModes & SFRM_Materialize_Preferred) != 0;
	if (!in_from)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s can be called only in FROM", name),
						errhint("Write SELECT * FROM %s(...).", name)));
}

int
count_argument(FunctionCallInfo fcinfo, int number)
{
	require_argument(fcinfo, number, "count");
	int const count = PG_GETARG_INT32(number);
	if (count < 1 || count > claim_count_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("count is out of range"),
						errdetail("It must be between 1 and %d.", claim_count_max)));
	return count;
}

catalog::Queue
consumers_queue(FunctionCallInfo fcinfo, int number)
{
	require_argument(fcinfo, number, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(number));
	catalog::require_privilege(queue, catalog::may_claim);
	return queue;
}

core::LeaseHold
hold_argument(FunctionCallInfo fcinfo, int number)
{
	require_argument(fcinfo, number, "hold");
	char const *const hold = text_to_cstring(PG_GETARG_TEXT_PP(number));
	if (strcmp(hold, "time") == 0)
		return core::LeaseHold::time;
	if (strcmp(hold, "session") == 0)
		return core::LeaseHold::session;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("hold must be 'time' or 'session'")));
	pg_unreachable();
}

core::Microseconds
wait_argument(FunctionCallInfo fcinfo, int number)
{
	require_argument(fcinfo, number, "wait");
	core::Microseconds const wait =
		base::microseconds_of(PG_GETARG_INTERVAL_P(number), "wait", 0, wait_max);
	// A fixed snapshot cannot show what is enqueued meanwhile.
	if (wait > 0 && IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("a claim cannot wait in a transaction with a fixed snapshot"),
						errhint("Use isolation level READ COMMITTED.")));
	return wait;
}

} // namespace

// claim(queue, count, lease, wait, worker, hold)
ONCEQ_FUNCTION(onceq_claim)
{
	base::require_claimable("onceq.claim()");
	require_from(fcinfo, "onceq.claim");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ClaimRequest request{consumers_queue(fcinfo, 0)};
	request.count = count_argument(fcinfo, 1);
	request.span = lease_argument(fcinfo, 2, request.queue);
	request.wait = wait_argument(fcinfo, 3);
	request.worker = optional_cstring(fcinfo, 4);
	request.hold = hold_argument(fcinfo, 5);
	claim(fcinfo, request);
	PG_RETURN_NULL();
}

// next_claim_at(queue) returns timestamptz
ONCEQ_FUNCTION(onceq_next_claim_at)
{
	base::require_claimable("onceq.next_claim_at()");
	catalog::Queue const queue = consumers_queue(fcinfo, 0);
	core::Wall const at = queue.paused ? core::wall_never : next_claim_at(queue);
	if (at == core::wall_never)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(at.us);
}

// ack_and_claim(token, queue, count, lease)
ONCEQ_FUNCTION(onceq_ack_and_claim)
{
	base::require_writable("onceq.ack_and_claim()");
	require_from(fcinfo, "onceq.ack_and_claim");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ClaimRequest request{consumers_queue(fcinfo, 1)};
	request.count = count_argument(fcinfo, 2);
	request.span = lease_argument(fcinfo, 3, request.queue);
	request.worker = "";
	request.hold = core::LeaseHold::time;
	request.wait = 0;
	if (!PG_ARGISNULL(0))
	{
		auto *const lease = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
		catalog::Queue ended;
		look_up_lease(PG_GETARG_INT64(0), *lease, ended);
		catalog::require_privilege(ended, catalog::may_ack);
		request.worker = lease->holder.worker;
		request.hold = lease->holder.hold;
		ack(*lease, ended, lease->jobs);
	}
	claim(fcinfo, request);
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
