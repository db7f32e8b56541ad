// SPDX-License-Identifier: PostgreSQL
// How a holder hears that it should stop: progress() returns the name of the reason, extend() sends a
// notice for each. Which reasons there are, and which comes first, is core::reason_to_stop().
#pragma once

#include "core/lease.hpp"

#include "base/postgres.hpp"

namespace onceq::delivery {

// Jobs of a lease whose holder is asked to stop, by reason.
struct Stops
{
	core::JobSet jobs[core::stop_reason_count];
};

// Requires: B of the lease's board.
Stops find_stops(core::LeaseSlot const &lease, core::JobSet const &jobs, core::Monotonic now) noexcept;

void send_notices(Stops const &stops, core::LeaseRuns const &runs);

char const *stop_reason_name(core::StopReason reason);

} // namespace onceq::delivery
