// SPDX-License-Identifier: PostgreSQL
// Waiting for a job: no polling and no NOTIFY. The commit that makes a job ready wakes as many waiting
// sessions as it has jobs.
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

bool
is_ready(board::Handle const &handle)
{
	board::Locked board(handle.index, LW_SHARED);
	return board.stands_for(handle.key) && core::ready_count(*board) > 0;
}

void
leave(int, Datum waiter)
{
	reinterpret_cast<board::Waiter *>(DatumGetPointer(waiter))->leave();
}

void
sleep_until_ready(board::Handle const &handle, bool paused, core::Microseconds span)
{
	board::Waiter waiter(handle.index);
	PG_ENSURE_ERROR_CLEANUP(leave, PointerGetDatum(&waiter));
	{
		if (paused || !is_ready(handle))
		{
			FAULT_POINT("wait: for a job");
			waiter.sleep(span);
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

void
wait_for_jobs(catalog::Queue &queue, core::Microseconds at_most)
{
	board::Handle const handle = board::open(queue);
	core::Microseconds const longest = queue.paused ? slice_while_paused : slice;
	sleep_until_ready(handle, queue.paused, Min(at_most, longest));
	check_client(handle);
	AcceptInvalidationMessages();
	catalog::Queue const *const found = catalog::find_queue(queue.id);
	if (found == nullptr || found->dropped)
		board::raise_no_such_queue(queue);
	queue = *found;
}

} // namespace onceq::delivery
