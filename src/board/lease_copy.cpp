// SPDX-License-Identifier: PostgreSQL
#include "board/lease_copy.hpp"

namespace onceq::board {

core::LeaseSlot *
find_lease_of(std::uint32_t index, core::JobId id, int &job) noexcept
{
	for (std::uint32_t i = 0; i < leases().high_water(); i++)
	{
		core::LeaseSlot &lease = leases().slot(i);
		if (lease.token.load(std::memory_order_acquire) == core::no_token ||
			lease.board.load(std::memory_order_relaxed) != index)
			continue;
		job = core::job_of(pool(), lease, id);
		if (job >= 0 && lease.held.contains(job))
			return &lease;
	}
	return nullptr;
}

} // namespace onceq::board
