// SPDX-License-Identifier: PostgreSQL
// Named places where a testing build can be made to fail or to wait. In other builds they are empty.
//
// SET onceq.fault = '<action> at <point>' arms one of them for the session; for the worker it is set by
// ALTER SYSTEM. Actions: error, oom (out of memory), fatal, kill (SIGKILL of the own process), stop
// (SIGSTOP), pause (waits while somebody holds advisory lock 0x6f71). test/fault_points.txt lists the points.
#pragma once

#ifdef ONCEQ_TESTING

namespace onceq::base {

void define_fault_setting();

// may_raise: false in a commit or abort callback, where only kill and stop are legal.
void fault_point(char const *name, bool may_raise);

} // namespace onceq::base

#define FAULT_POINT(name) onceq::base::fault_point(name, true)
#define CALLBACK_FAULT_POINT(name) onceq::base::fault_point(name, false)

#else

#define FAULT_POINT(name) static_cast<void>(0)
#define CALLBACK_FAULT_POINT(name) static_cast<void>(0)

#endif
