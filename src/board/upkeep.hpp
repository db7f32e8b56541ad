// SPDX-License-Identifier: PostgreSQL
// Room for new jobs, and the end of old segments: chores of the worker, each in one transaction.
#pragma once

#include "core/time.hpp"

namespace onceq::board {

// Raises id ceilings and prepares segments ahead of their use. Each returns when it should run again.
core::Microseconds keep_room();

// Seals, flags as drained and drops segments, and removes dropped queues. Never waits for a lock.
core::Microseconds keep_segments();

} // namespace onceq::board
