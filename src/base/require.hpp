// SPDX-License-Identifier: PostgreSQL
// What every call needs before it may touch a queue.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

// Raises 55000 when not preloaded, 0A000 in parallel mode.
void require_server();

// require_server, and 25006 on a standby: leases live on the primary.
void require_claimable(char const *what);

// require_claimable, and 25006 in a read-only transaction.
void require_writable(char const *what);

// An interval argument as microseconds, of fixed length: months count 30 days, days 24 hours.
// Raises 22023 unless min <= result <= max.
int64 microseconds_of(Interval const *interval, char const *argument, int64 min, int64 max);

} // namespace onceq::base
