// SPDX-License-Identifier: PostgreSQL
// The lease as its holder sees it: look-up by token, release, extend.
#include "base/clock.hpp"
#include "base/errcode.hpp"
#include "base/owner.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/journal.hpp"
#include "board/transaction.hpp"
#include "board/waiters.hpp"
#include "delivery/delivery.hpp"
#include "delivery/stop.hpp"
#include "notify/notify.hpp"

namespace onceq::delivery {

namespace {

// Copies the lease under B; false: the token owns nothing here.
bool
find_lease(core::Token token, board::LeaseCopy &copy)
{
	core::LeaseSlot *const slot = board::leases().find(token);
	if (slot == nullptr || slot->token.load(std::memory_order_acquire) != token)
		return false;
	std::uint32_t const index = slot->board.load(std::memory_order_relaxed);
	board::Locked board(index, LW_SHARED);
	if (!core::owns(*slot, token) || slot->board.load(std::memory_order_relaxed) != index ||
		board->key.database != MyDatabaseId || !board.stands_for(board->key))
		return false;
	board::copy_lease({index, board->key}, *slot, slot->held - slot->pinned, copy);
	return true;
}

void
require_holder(board::LeaseCopy const &lease)
{
	if (lease.holder.role != GetUserId() && !base::is_member("onceq_admin"))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("the lease was granted to another role"),
						errdetail("Its token is " INT64_FORMAT ".", lease.token)));
}

// The jobs asked for: one, or all that are available.
core::JobSet
jobs_argument(FunctionCallInfo fcinfo, int number, board::LeaseCopy const &lease)
{
	if (PG_ARGISNULL(number))
	{
		require_any_left(lease);
		return lease.jobs;
	}
	core::JobSet jobs{};
	jobs.add(require_available(lease, PG_GETARG_INT64(number)));
	return jobs;
}

} // namespace

void
raise_lease_lost(core::Token token)
{
	ereport(ERROR, (errcode(ERRCODE_ONCEQ_LEASE_LOST), errmsg("the lease is not held"),
					errdetail("Lease " INT64_FORMAT " has ended, has expired, or was never granted.", token),
					errhint("The job is delivered again if it is unfinished; onceq.job() tells.")));
	pg_unreachable();
}

void
look_up_lease(core::Token token, board::LeaseCopy &lease, catalog::Queue &queue)
{
	// It may be that nobody has built its board since the start of the server.
	if (!find_lease(token, lease) && !(board::open_board_of(token) && find_lease(token, lease)))
		raise_lease_lost(token);
	catalog::Queue const *const found = catalog::find_queue(lease.board.key.queue);
	if (found == nullptr || found->dropped)
		raise_lease_lost(token);
	queue = *found;
	require_holder(lease);
	lease.jobs -= board::asked_to_end(token);
}

void
require_any_left(board::LeaseCopy const &lease)
{
	// Released, and only the journal still has to learn of it; or others are committing their end.
	if (lease.jobs.empty() && board::asked_to_end(lease.token).empty())
		raise_lease_lost(lease.token);
}

int
require_available(board::LeaseCopy const &lease, core::JobId id)
{
	int const job = lease.runs().job_of(id);
	if (job < 0 || !lease.jobs.contains(job))
		ereport(ERROR, (errcode(ERRCODE_ONCEQ_LEASE_LOST), errmsg("job " INT64_FORMAT " is not held by the lease", id),
						errdetail("It has ended, or is not of lease " INT64_FORMAT ".", lease.token)));
	return job;
}

// release(token, id): immediate, whatever becomes of the transaction.
ONCEQ_FUNCTION(onceq_release)
{
	base::require_claimable("onceq.release()");
	require_argument(fcinfo, 0, "token");
	auto *const held = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	catalog::Queue queue;
	look_up_lease(PG_GETARG_INT64(0), *held, queue);
	catalog::require_privilege(queue, catalog::may_claim);
	core::JobSet const jobs = jobs_argument(fcinfo, 1, *held);
	bool released = false;
	{
		board::Locked board(held->board.index);
		core::LeaseSlot &lease = *board::leases().find(held->token);
		released = core::may_end(lease, held->token, jobs);
		if (released && core::is_journalled(lease))
			core::release_later(lease, jobs);
		else if (released)
			core::give_back(*board, board::pool(), board::leases(), lease, jobs);
	}
	if (!released)
		raise_lease_lost(held->token);
	board::wake_claimers(held->board.index, jobs.size());
	notify::wake_worker(MyDatabaseId);
	PG_RETURN_VOID();
}

// extend(token, lease) returns timestamptz: immediate.
ONCEQ_FUNCTION(onceq_extend)
{
	base::require_claimable("onceq.extend()");
	require_argument(fcinfo, 0, "token");
	auto *const held = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	catalog::Queue queue;
	look_up_lease(PG_GETARG_INT64(0), *held, queue);
	catalog::require_privilege(queue, catalog::may_claim);
	core::Microseconds const span = PG_ARGISNULL(1) ? held->holder.span : lease_argument(fcinfo, 1);
	core::Monotonic const now = base::now_monotonic();
	core::Monotonic deadline = now;
	Stops stops{};
	{
		board::Locked board(held->board.index);
		core::LeaseSlot &lease = *board::leases().find(held->token);
		// One that is over its hard time limit is the worker's, which will take it away.
		if (lease.hard_limit > now && core::extend(lease, held->token, now + span))
		{
			deadline = core::Monotonic{lease.deadline.load(std::memory_order_relaxed)};
			stops = find_stops(lease, (lease.held & held->jobs) | lease.cancelled, now);
		}
	}
	if (deadline == now)
		raise_lease_lost(held->token);
	send_notices(stops, held->runs());
	PG_RETURN_TIMESTAMPTZ((base::now_wall() + (deadline.us - now.us)).us);
}

} // namespace onceq::delivery
