// SPDX-License-Identifier: PostgreSQL
#include "base/require.hpp"

#include "base/shmem.hpp"

extern "C" {
#include <access/parallel.h>
#include <access/xlog.h>
}

namespace onceq::base {

void
require_server()
{
	require_preloaded();
	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("onceq cannot be used in a parallel operation")));
}

void
require_claimable(char const *what)
{
	require_server();
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("cannot execute %s during recovery", what),
						errhint("Connect to the primary server.")));
}

void
require_writable(char const *what)
{
	require_claimable(what);
	if (XactReadOnly)
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("cannot execute %s in a read-only transaction", what)));
}

int64
microseconds_of(Interval const *interval, char const *argument, int64 min, int64 max)
{
	int64 days;
	int64 span;
	bool const overflow =
		__builtin_add_overflow(int64{interval->month} * DAYS_PER_MONTH, int64{interval->day}, &days) ||
		__builtin_mul_overflow(days, USECS_PER_DAY, &span) || __builtin_add_overflow(span, interval->time, &span);
	if (overflow || span < min || span > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of range", argument),
						errdetail("It must be between %.15g s and %.15g s.", static_cast<double>(min) / 1e6,
								  static_cast<double>(max) / 1e6)));
	return span;
}

} // namespace onceq::base
