// SPDX-License-Identifier: PostgreSQL
#include "base/require.hpp"
#include "delivery/delivery.hpp"

namespace onceq::delivery {

void
require_argument(FunctionCallInfo fcinfo, int number, char const *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

char const *
optional_cstring(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

core::Microseconds
lease_argument(FunctionCallInfo fcinfo, int number, catalog::Queue const &queue)
{
	return PG_ARGISNULL(number)
			   ? queue.lease
			   : base::microseconds_of(PG_GETARG_INTERVAL_P(number), "lease", lease_min, lease_max);
}

} // namespace onceq::delivery
