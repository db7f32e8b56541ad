// SPDX-License-Identifier: PostgreSQL
// A time of the day in which something may be done; it may go past midnight.
#pragma once

#include "core/time.hpp"

namespace onceq::core {

inline constexpr Microseconds microseconds_per_day = 24 * 60 * 60 * microseconds_per_second;

// Microseconds after midnight. opens == closes: never, so nobody may make such a one.
struct Window
{
	Microseconds opens = 0;
	Microseconds closes = microseconds_per_day;
};

// Until when one has to wait, at this time of the day; 0: it is open.
constexpr Microseconds
until_open(Window window, Microseconds time_of_day) noexcept
{
	bool const before_end = time_of_day < window.closes;
	bool const after_begin = time_of_day >= window.opens;
	bool const open = window.opens < window.closes ? after_begin && before_end : after_begin || before_end;
	if (open)
		return 0;
	return window.opens - time_of_day + (after_begin ? microseconds_per_day : 0);
}

} // namespace onceq::core
