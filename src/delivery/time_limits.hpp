// SPDX-License-Identifier: PostgreSQL
// How long a job may be worked on: its own limits, or else its queue's. A lease has one pair of limits, so
// that all its jobs end together, and a claim returns only jobs of equal limits.
#pragma once

#include "catalog/catalog.hpp"
#include "store/job_options.hpp"

namespace onceq::delivery {

struct TimeLimits
{
	core::Microseconds soft; // 0: none
	core::Microseconds hard;

	friend bool operator==(TimeLimits const &, TimeLimits const &) = default;
};

inline TimeLimits
time_limits_of(catalog::Queue const &queue, store::JobOptions const &own)
{
	return {own.soft_time_limit > 0 ? own.soft_time_limit : queue.soft_time_limit,
			own.hard_time_limit > 0 ? own.hard_time_limit : queue.hard_time_limit};
}

} // namespace onceq::delivery
