// SPDX-License-Identifier: PostgreSQL
#include <climits>
#include <ctime>

#include "base/clock.hpp"

extern "C" {
#include <utils/guc.h>
}

namespace onceq::base {

#ifdef ONCEQ_TESTING

namespace {

constinit int offset_s = 0;

} // namespace

void
define_clock_setting()
{
	DefineCustomIntVariable("onceq.clock_offset", "Sets onceq's clock. Testing builds only.", nullptr, &offset_s, 0,
							INT_MIN, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
}

#else

constexpr int offset_s = 0;

#endif

core::Wall
now_wall()
{
	return core::Wall{GetCurrentTimestamp()} + offset_s * core::microseconds_per_second;
}

core::Monotonic
now_monotonic()
{
	timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return core::Monotonic{time.tv_sec * core::microseconds_per_second + time.tv_nsec / 1000};
}

} // namespace onceq::base
