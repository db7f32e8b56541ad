// SPDX-License-Identifier: PostgreSQL
// Where time comes from: all of onceq asks here, so that a test build can move the clocks.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::base {

core::Wall now_wall();
core::Monotonic now_monotonic();


} // namespace onceq::base
