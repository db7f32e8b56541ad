// SPDX-License-Identifier: PostgreSQL
// How long a failed job waits before its next attempt.
#pragma once

#include "core/time.hpp"

namespace onceq::core {

struct Backoff
{
	Microseconds base; // after the first failed attempt
	double factor;     // each further one waits this many times longer
	Microseconds max;
	double jitter; // the wait is spread evenly by this share to both sides
};

// failed_attempts >= 1; random is uniform in [0, 1). Never negative, never above max.
Microseconds backoff_delay(Backoff const &backoff, int failed_attempts, double random) noexcept;

} // namespace onceq::core
