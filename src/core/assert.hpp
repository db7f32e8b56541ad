// SPDX-License-Identifier: PostgreSQL
// Preconditions of core/: active in unit tests and in builds of PostgreSQL with assertions.
#pragma once

#if defined(ONCEQ_ASSERTIONS) || defined(USE_ASSERT_CHECKING)
#define ONCEQ_ASSERT(condition) ((condition) ? static_cast<void>(0) : __builtin_trap())
#else
#define ONCEQ_ASSERT(condition) static_cast<void>(0)
#endif
