// SPDX-License-Identifier: PostgreSQL
// The wall between C++ and PostgreSQL: every function PostgreSQL calls enters through it. No C++
// exception gets past it; it becomes an ERROR, raised after the catch block has ended.
//
// The other direction needs no wall: where PostgreSQL raises, only trivially destructible objects and
// the guards of base/scope.hpp are alive, and PostgreSQL's own clean-up releases what they guard.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

using Body = Datum (*)(FunctionCallInfo);

Datum wall(char const *function, Body body, FunctionCallInfo fcinfo);

} // namespace onceq::base

#define ONCEQ_FUNCTION(name)                                  \
	extern "C" {                                              \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                 \
	PG_FUNCTION_INFO_V1(name);                                \
	}                                                         \
	static Datum name##_body(FunctionCallInfo fcinfo);        \
	extern "C" Datum name(PG_FUNCTION_ARGS)                   \
	{                                                         \
		return onceq::base::wall(#name, name##_body, fcinfo); \
	}                                                         \
	static Datum name##_body([[maybe_unused]] FunctionCallInfo fcinfo)
