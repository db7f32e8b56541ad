// SPDX-License-Identifier: PostgreSQL
// A claim from the first of its queues that has a job, and waiting for one: no polling and no NOTIFY. The
// commit that makes jobs ready wakes as many waiting sessions.
#include "core/turn.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "board/board.hpp"
#include "board/session.hpp"
#include "board/waiters.hpp"
#include "delivery/delivery.hpp"

extern "C" {
#include <storage/ipc.h>
#include <utils/inval.h>

// As libpq/libpq.h declares it, which needs headers of Kerberos.
extern bool pq_check_connection(void);
}

namespace onceq::delivery {

namespace {

// Only to notice that a queue or the client is gone, or a pause over.
constexpr core::Microseconds slice = 5 * core::microseconds_per_second;
constexpr core::Microseconds slice_while_paused = core::microseconds_per_second;

constexpr int none = -1;

// How long until a job that is ready may be claimed; never: none is ready, or others have to end first.
constexpr core::Microseconds never = PG_INT64_MAX;

core::Microseconds
until_claimable(catalog::Queue const &queue)
{
	board::Handle const handle = board::open(queue);
	core::Limits const limits = limits_of(queue);
	core::Monotonic const now = base::now_monotonic();
	board::Locked board(handle.index);
	if (!board.stands_for(handle.key) || (core::ready_count(*board) == 0 && board->keys.waiting() == 0))
		return never;
	if (core::allowed(*board, limits, 1, now) > 0)
		return 0;
	core::Microseconds const wait = limits.rate.limit > 0 ? board->bucket.wait() : 0;
	return wait > 0 ? wait : never;
}

// Claims from the first queue whose turn it is and that has a job. Returns its number; none: none has.
int
claim_in_turn(FunctionCallInfo fcinfo, ClaimRequest const &request)
{
	int order[core::turn_queues_max];
	if (request.weight != nullptr)
		core::order_by_lot(request.weight, request.queue_count, board::random_bits(), order);
	for (int i = 0; i < request.queue_count; i++)
	{
		int const number = request.weight != nullptr ? order[i] : i;
		catalog::Queue const &queue = request.queue[number];
		if (!queue.paused && claim_now(fcinfo, request, queue) > 0)
			return number;
	}
	return none;
}

// What it knew of the queues may have changed while it slept. Raises 42704, 42501.
void
refresh(ClaimRequest &request)
{
	AcceptInvalidationMessages();
	for (int i = 0; i < request.queue_count; i++)
	{
		catalog::Queue const *const found = catalog::find_queue(request.queue[i].id);
		if (found == nullptr || found->dropped)
			board::raise_no_such_queue(request.queue[i]);
		request.queue[i] = *found;
		catalog::require_privilege(request.queue[i], catalog::may_claim);
	}
}

// Jobs must not be claimed for a client that hung up.
void
check_client()
{
	if (MyProcPort == nullptr || pq_check_connection())
		return;
	ClientConnectionLost = true;
	InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
}

// How long to sleep at most, if nobody wakes it.
core::Microseconds
sleep_span(ClaimRequest const &request)
{
	core::Microseconds span = slice;
	for (int i = 0; i < request.queue_count; i++)
		span = std::min(span, request.queue[i].paused ? slice_while_paused : until_claimable(request.queue[i]));
	return span;
}

// Returns the number of the queue that it claimed from; none: there was no job until the deadline.
int
claim_waiting(FunctionCallInfo fcinfo, ClaimRequest &request, board::Waiter &waiter, core::Monotonic deadline)
{
	for (;;)
	{
		waiter.enlist();
		int const served = claim_in_turn(fcinfo, request);
		core::Microseconds const left = deadline.us - base::now_monotonic().us;
		if (served != none || left <= 0)
			return served;
		FAULT_POINT("wait: for a job");
		waiter.sleep(std::min(left, sleep_span(request)));
		check_client();
		refresh(request);
	}
}

void
leave(int, Datum waiter)
{
	reinterpret_cast<board::Waiter *>(DatumGetPointer(waiter))->leave(none);
}

} // namespace

core::Limits
limits_of(catalog::Queue const &queue)
{
	return {queue.max_running,
			{queue.rate_limit, queue.rate_burst > 0 ? queue.rate_burst : queue.rate_limit, queue.rate_period}};
}

core::Wall
next_claim_at(catalog::Queue const &queue)
{
	core::Wall const now = base::now_wall();
	core::Microseconds const wait = until_claimable(queue);
	if (wait != never)
		return now + wait;
	board::Locked board(board::open(queue).index, LW_SHARED);
	bool const waits = core::ready_count(*board) == 0 && board->map.count(core::JobState::waiting) > 0;
	return waits ? std::max(board->earliest_due, now) : core::wall_never;
}

void
claim(FunctionCallInfo fcinfo, ClaimRequest &request)
{
	core::Monotonic const deadline = base::now_monotonic() + request.wait;
	if (request.hold == core::LeaseHold::session)
		board::lose_leases_at_exit();
	if (claim_in_turn(fcinfo, request) != none || request.wait == 0)
		return;
	board::Waiter waiter;
	for (int i = 0; i < request.queue_count; i++)
		waiter.add(board::open(request.queue[i]).index);
	PG_ENSURE_ERROR_CLEANUP(leave, PointerGetDatum(&waiter));
	{
		waiter.leave(claim_waiting(fcinfo, request, waiter, deadline));
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave, PointerGetDatum(&waiter));
}

} // namespace onceq::delivery
