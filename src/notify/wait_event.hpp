// SPDX-License-Identifier: PostgreSQL
// What pg_stat_activity says a process of ours waits for; by name from PostgreSQL 17 on.
#pragma once

#include "base/postgres.hpp"

extern "C" {
#include <utils/wait_event.h>
}

namespace onceq::notify {

struct WaitEvent
{
	char const *name;
	uint32 number; // 0: not looked up yet, which takes a lock

	operator uint32()
	{
#if PG_VERSION_NUM >= 170000
		if (number == 0)
			number = WaitEventExtensionNew(name);
		return number;
#else
		return PG_WAIT_EXTENSION;
#endif
	}
};

} // namespace onceq::notify
