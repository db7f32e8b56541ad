// SPDX-License-Identifier: PostgreSQL
// Leases bound to a session (hold => 'session'): lost when it ends.
#pragma once

namespace onceq::board {

// From now on, the end of this process makes its session's leases LOST, and wakes the worker.
void lose_leases_at_exit();

} // namespace onceq::board
