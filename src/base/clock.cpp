// SPDX-License-Identifier: PostgreSQL
#include <ctime>

#include "base/clock.hpp"

namespace onceq::base {

core::Wall
now_wall()
{
	return core::Wall{GetCurrentTimestamp()};
}

core::Monotonic
now_monotonic()
{
	timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return core::Monotonic{time.tv_sec * core::microseconds_per_second + time.tv_nsec / 1000};
}

} // namespace onceq::base
