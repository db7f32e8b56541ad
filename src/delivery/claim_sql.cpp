// SPDX-License-Identifier: PostgreSQL
#include "core/turn.hpp"

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
	bool const in_from =
		result != nullptr && IsA(result, ReturnSetInfo) && (result->allowedModes & SFRM_Materialize_Preferred) != 0;
	if (!in_from)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s can be called only in FROM", name),
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
consumers_queue(text const *name)
{
	catalog::Queue const queue = catalog::find_queue(name);
	catalog::require_privilege(queue, catalog::may_claim);
	return queue;
}

// Into a request for one queue.
void
queue_argument(FunctionCallInfo fcinfo, int number, ClaimRequest &request)
{
	require_argument(fcinfo, number, "queue");
	request.queue = static_cast<catalog::Queue *>(palloc(sizeof(catalog::Queue)));
	request.queue[0] = consumers_queue(PG_GETARG_TEXT_PP(number));
	request.queue_count = 1;
}

void
require_distinct(ClaimRequest const &request)
{
	catalog::Queue const &last = request.queue[request.queue_count - 1];
	for (int i = 0; i < request.queue_count - 1; i++)
		if (request.queue[i].id == last.id)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("queue \"%s\" is given more than once", last.name)));
}

void
queues_argument(FunctionCallInfo fcinfo, int number, ClaimRequest &request)
{
	require_argument(fcinfo, number, "queues");
	Elements const names = elements_argument(fcinfo, number, "queues");
	if (names.count < 1 || names.count > core::turn_queues_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("number of queues is out of range"),
						errdetail("It must be between 1 and %d.", core::turn_queues_max)));
	request.queue = static_cast<catalog::Queue *>(palloc(sizeof(catalog::Queue) * names.count));
	for (int i = 0; i < names.count; i++)
	{
		if (names.is_null[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a queue must not be null"),
							errdetail("Element %d of queues is null.", i + 1)));
		request.queue[request.queue_count++] = consumers_queue(DatumGetTextPP(names.value[i]));
		require_distinct(request);
	}
}

void
weights_argument(FunctionCallInfo fcinfo, int number, ClaimRequest &request)
{
	if (PG_ARGISNULL(number))
		return;
	Elements const weights = elements_argument(fcinfo, number, "weights");
	if (weights.count != request.queue_count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("queues and weights must have the same length")));
	auto *const weight = static_cast<int *>(palloc(sizeof(int) * weights.count));
	for (int i = 0; i < weights.count; i++)
	{
		if (weights.is_null[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a weight must not be null"),
							errdetail("Element %d of weights is null.", i + 1)));
		weight[i] = DatumGetInt32(weights.value[i]);
		if (weight[i] < 1 || weight[i] > core::weight_max)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a weight is out of range"),
							errdetail("It must be between 1 and %d.", core::weight_max)));
	}
	request.weight = weight;
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
	core::Microseconds const wait = base::microseconds_of(PG_GETARG_INTERVAL_P(number), "wait", 0, wait_max);
	// A fixed snapshot cannot show what is enqueued meanwhile.
	if (wait > 0 && IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("a claim cannot wait in a transaction with a fixed snapshot"),
						errhint("Use isolation level READ COMMITTED.")));
	return wait;
}

// count, lease, wait, worker, hold
void
claim_arguments(FunctionCallInfo fcinfo, int first, ClaimRequest &request)
{
	request.count = count_argument(fcinfo, first);
	request.span = lease_argument(fcinfo, first + 1);
	request.wait = wait_argument(fcinfo, first + 2);
	request.worker = optional_cstring(fcinfo, first + 3);
	request.hold = hold_argument(fcinfo, first + 4);
}

} // namespace

// claim(queue, count, lease, wait, worker, hold)
ONCEQ_FUNCTION(onceq_claim)
{
	base::require_claimable("onceq.claim()");
	require_from(fcinfo, "onceq.claim");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ClaimRequest request{};
	queue_argument(fcinfo, 0, request);
	claim_arguments(fcinfo, 1, request);
	claim(fcinfo, request);
	PG_RETURN_NULL();
}

// claim_any(queues, weights, count, lease, wait, worker, hold)
ONCEQ_FUNCTION(onceq_claim_any)
{
	base::require_claimable("onceq.claim_any()");
	require_from(fcinfo, "onceq.claim_any");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ClaimRequest request{};
	queues_argument(fcinfo, 0, request);
	weights_argument(fcinfo, 1, request);
	claim_arguments(fcinfo, 2, request);
	claim(fcinfo, request);
	PG_RETURN_NULL();
}

// next_claim_at(queue) returns timestamptz
ONCEQ_FUNCTION(onceq_next_claim_at)
{
	base::require_claimable("onceq.next_claim_at()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = consumers_queue(PG_GETARG_TEXT_PP(0));
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
	ClaimRequest request{};
	queue_argument(fcinfo, 1, request);
	request.count = count_argument(fcinfo, 2);
	request.span = lease_argument(fcinfo, 3);
	request.worker = "";
	request.hold = core::LeaseHold::time;
	if (!PG_ARGISNULL(0))
	{
		auto *const lease = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
		catalog::Queue ended;
		look_up_lease(PG_GETARG_INT64(0), *lease, ended);
		catalog::require_privilege(ended, catalog::may_ack);
		request.worker = lease->holder.worker;
		request.hold = lease->holder.hold;
		ack_all(*lease, ended);
	}
	claim(fcinfo, request);
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
