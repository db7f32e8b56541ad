// SPDX-License-Identifier: PostgreSQL
// The options of a queue and what they may be.
#include "core/lease.hpp"

#include "base/require.hpp"
#include "catalog/options.hpp"

extern "C" {
#include <catalog/pg_type.h>
}

namespace onceq::catalog {

namespace {

constexpr double second = core::microseconds_per_second;
constexpr double hour = 3600 * second;
constexpr double year = 366 * 24 * hour;
constexpr int max_attempts_max = 1000;
static_assert(max_attempts_max <= core::attempt_max);

// Spans in microseconds.
struct Option
{
	char const *name;
	Oid type;
	double min;
	double max;
};

constexpr Option options[option_count] = {
	{"lease", INTERVALOID, 0.1 * second, 12 * hour},
	{"max_attempts", INT4OID, 1, max_attempts_max},
	{"backoff_base", INTERVALOID, 0, year},
	{"backoff_factor", FLOAT8OID, 1, 100},
	{"backoff_max", INTERVALOID, 0, year},
	{"backoff_jitter", FLOAT8OID, 0, 1},
	{"retention", INTERVALOID, 0, 100 * year},
	{"segment_age", INTERVALOID, second, 10 * year},
};

void
check_range(Option const &option, Datum value)
{
	if (option.type == INTERVALOID)
	{
		base::microseconds_of(DatumGetIntervalP(value), option.name, static_cast<int64>(option.min),
							  static_cast<int64>(option.max));
		return;
	}
	double const number = option.type == INT4OID ? DatumGetInt32(value) : DatumGetFloat8(value);
	if (!(number >= option.min && number <= option.max)) // NaN is neither
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is out of range", option.name),
						errdetail("It must be between %g and %g.", option.min, option.max)));
}

} // namespace

Options
options_argument(FunctionCallInfo fcinfo, int first, bool required)
{
	Options result;
	for (int i = 0; i < option_count; i++)
	{
		result.value[i] = PG_GETARG_DATUM(first + i);
		result.is_null[i] = PG_ARGISNULL(first + i);
		if (!result.is_null[i])
			check_range(options[i], result.value[i]);
		else if (required)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be null", options[i].name)));
	}
	return result;
}

void
to_parameters(Options const &values, Parameter *parameters)
{
	for (int i = 0; i < option_count; i++)
		parameters[i] = {options[i].type, values.value[i], values.is_null[i]};
}

} // namespace onceq::catalog
