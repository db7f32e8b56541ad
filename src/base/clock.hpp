// SPDX-License-Identifier: PostgreSQL
// Where time comes from: all of onceq asks here, so that a testing build can move the clock.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::base {

// Follows the system's clock, which may be set forward and back.
core::Wall now_wall();
// Never does; it means nothing after the machine was started anew.
core::Monotonic now_monotonic();

#ifdef ONCEQ_TESTING
// onceq.clock_offset: seconds by which now_wall() is ahead of the system's clock.
void define_clock_setting();
#endif

} // namespace onceq::base
