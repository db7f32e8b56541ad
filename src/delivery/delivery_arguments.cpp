// SPDX-License-Identifier: PostgreSQL
#include "base/require.hpp"
#include "delivery/delivery.hpp"

extern "C" {
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
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("%s must be one-dimensional", name)));
	int16 length;
	bool by_value;
	char alignment;
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &alignment);
	Elements elements;
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, alignment, &elements.value,
					  &elements.is_null, &elements.count);
	return elements;
}

core::Microseconds
lease_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number)
			   ? 0
			   : base::microseconds_of(PG_GETARG_INTERVAL_P(number), "lease", lease_min, lease_max);
}

} // namespace onceq::delivery
