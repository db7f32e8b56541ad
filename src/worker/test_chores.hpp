// SPDX-License-Identifier: PostgreSQL
// Chores of the testing build, which do as tables in schema test say: each acts while its table exists.
#pragma once

#ifndef ONCEQ_TESTING
#error "test chores belong to the testing build"
#endif

#include "core/time.hpp"

namespace onceq::worker {

core::Microseconds test_failure();  // test.failure: raises an error
core::Microseconds test_stall();    // test.stall: goes on for a minute, unless it is cancelled
core::Microseconds test_farewell(); // test.farewell: says so in the server log

} // namespace onceq::worker
