// SPDX-License-Identifier: PostgreSQL
#include "board/board.hpp"
#include "board/session.hpp"
#include "notify/notify.hpp"

extern "C" {
#include <storage/ipc.h>
}

namespace onceq::board {

namespace {

constinit bool registered = false;

bool
is_mine(core::LeaseSlot const &lease)
{
	return lease.token.load(std::memory_order_acquire) != core::no_token &&
		   lease.holder.hold == core::LeaseHold::session && lease.holder.process == MyProcPid;
}

// Runs before the open transaction aborts: a lease that it claimed is lost by then anyway, and what it
// has pinned keeps the worker away until it is unpinned.
void
lose_leases(int, Datum)
{
	for (std::uint32_t i = 0; i < leases().high_water(); i++)
	{
		core::LeaseSlot &lease = leases().slot(i);
		core::Token const token = lease.token.load(std::memory_order_acquire);
		if (!is_mine(lease))
			continue;
		Locked board(lease.board.load(std::memory_order_relaxed));
		if (lease.state.load(std::memory_order_relaxed) == core::LeaseState::held)
			core::lose(lease, token);
	}
	notify::wake_worker(MyDatabaseId);
}

} // namespace

void
lose_leases_at_exit()
{
	if (registered)
		return;
	before_shmem_exit(lose_leases, 0);
	registered = true;
}

} // namespace onceq::board
