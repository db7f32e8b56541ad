// SPDX-License-Identifier: PostgreSQL
#include "base/clock.hpp"
#include "base/require.hpp"
#include "delivery/delivery.hpp"
#include "store/store.hpp"

extern "C" {
#include <mb/pg_wchar.h>
#include <utils/array.h>
#include <utils/lsyscache.h>
}

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

Elements
elements_argument(FunctionCallInfo fcinfo, int number, char const *name)
{
	ArrayType *const array = PG_GETARG_ARRAYTYPE_P(number);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("%s must be one-dimensional", name)));
	int16 length;
	bool by_value;
	char alignment;
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &alignment);
	Elements elements;
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, alignment, &elements.value, &elements.is_null,
					  &elements.count);
	return elements;
}

core::Microseconds
lease_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? 0
								: base::microseconds_of(PG_GETARG_INTERVAL_P(number), "lease", lease_min, lease_max);
}

text *
error_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return nullptr;
	text *const error = PG_GETARG_TEXT_PP(number);
	int const length = static_cast<int>(VARSIZE_ANY_EXHDR(error));
	int const kept = pg_mbcliplen(VARDATA_ANY(error), length, store::detail_length_max);
	return cstring_to_text_with_len(VARDATA_ANY(error), kept);
}

core::Wall
run_at_argument(FunctionCallInfo fcinfo, int run_at, int delay)
{
	if (!PG_ARGISNULL(run_at) && !PG_ARGISNULL(delay))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("run_at and delay cannot both be given")));
	core::Wall const now = base::now_wall();
	core::Wall due = core::wall_always;
	if (!PG_ARGISNULL(delay))
		due = now + base::microseconds_of(PG_GETARG_INTERVAL_P(delay), "delay", 0, delay_max);
	else if (!PG_ARGISNULL(run_at))
		due = core::Wall{PG_GETARG_TIMESTAMPTZ(run_at)};
	if (!PG_ARGISNULL(run_at) && (TIMESTAMP_NOT_FINITE(due.us) || due > now + delay_max))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("run_at is out of range"),
						errdetail("It must be a finite time, at most 366 days ahead.")));
	return due <= now ? core::wall_always : due;
}

} // namespace onceq::delivery
