// SPDX-License-Identifier: PostgreSQL
// Waiting for a job: no polling and no NOTIFY. The commit that makes a job ready wakes as many waiting
// sessions as it has jobs.
#include <algorithm>

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "board/board.hpp"
#include "delivery/delivery.hpp"

extern "C" {
#include <storage/ipc.h>
#include <utils/inval.h>

// As libpq/libpq.h declares it, which needs headers of Kerberos.
extern bool pq_check_connection(void);
}

namespace onceq::delivery {

namespace {

// Only in case a wake-up is lost, and to notice that the queue or the client is gone.
constexpr core::Microseconds slice = 5 * core::microseconds_per_second;
constexpr core::Microseconds slice_while_paused = core::microseconds_per_second;

// How long until a job that is ready may be claimed; never: none is ready, or others have to end first.
constexpr core::Microseconds never = PG_INT64_MAX;

core::Microseconds
until_claimable(board::Handle const &handle, core::Limits const &limits)
{
	core::Monotonic const now = base::now_monotonic();
	board::Locked board(handle.index);
	if (!board.stands_for(handle.key) || core::ready_count(*board) == 0)
		return never;
	if (core::allowed(*board, limits, 1, now) > 0)
		return 0;
	core::Microseconds const wait = limits.rate.limit > 0 ? board->bucket.wait() : 0;
	return wait > 0 ? wait : never;
}

void
leave(int, Datum waiter)
{
	reinterpret_cast<board::Waiter *>(DatumGetPointer(waiter))->leave();
}

void
sleep_until_ready(board::Handle const &handle, catalog::Queue const &queue, core::Microseconds at_most)
{
	board::Waiter waiter(handle.index);
	PG_ENSURE_ERROR_CLEANUP(leave, PointerGetDatum(&waiter));
	{
		core::Microseconds const span =
			queue.paused ? slice_while_paused : until_claimable(handle, limits_of(queue));
		if (span > 0)
		{
			FAULT_POINT("wait: for a job");
			waiter.sleep(Min(Min(span, slice), at_most));
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave, PointerGetDatum(&waiter));
	waiter.leave();
}

// Jobs must not be claimed for a client that hung up; the wake-up it had is another's.
void
check_client(board::Handle const &handle)
{
	if (MyProcPort == nullptr || pq_check_connection())
		return;
	board::wake_claimers(handle.index, 1);
	ClientConnectionLost = true;
	InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
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
	board::Handle const handle = board::open(queue);
	core::Wall const now = base::now_wall();
	core::Microseconds const wait = until_claimable(handle, limits_of(queue));
	if (wait != never)
		return now + wait;
	board::Locked board(handle.index, LW_SHARED);
	bool const waits = core::ready_count(*board) == 0 && board->map.count(core::JobState::waiting) > 0;
	return waits ? std::max(board->earliest_due, now) : core::wall_never;
}

void
wait_for_jobs(catalog::Queue &queue, core::Microseconds at_most)
{
	board::Handle const handle = board::open(queue);
	sleep_until_ready(handle, queue, at_most);
	check_client(handle);
	AcceptInvalidationMessages();
	catalog::Queue const *const found = catalog::find_queue(queue.id);
	if (found == nullptr || found->dropped)
		board::raise_no_such_queue(queue);
	queue = *found;
}

} // namespace onceq::delivery
