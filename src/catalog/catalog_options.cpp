// SPDX-License-Identifier: PostgreSQL
// The options of a queue and what they may be.
#include "core/lease.hpp"
#include "core/queue_name.hpp"

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
constexpr int limit_max = 1000000;
static_assert(max_attempts_max <= core::attempt_max);

// Spans in microseconds, lengths in bytes.
struct Option
{
	char const *name;
	Oid type;
	double min;
	double max;
	bool optional = false; // null, 0 or '': none
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
	{"soft_time_limit", INTERVALOID, 0.1 * second, 12 * hour, true},
	{"hard_time_limit", INTERVALOID, 0.1 * second, 12 * hour, true},
	{"on_dead_key", TEXTOID, 0, 0},
	{"max_running", INT4OID, 1, limit_max, true},
	{"max_running_per_key", INT4OID, 1, limit_max, true},
	{"rate_limit", INT4OID, 1, limit_max, true},
	{"rate_period", INTERVALOID, 0.001 * second, 24 * hour},
	{"rate_burst", INT4OID, 1, limit_max, true},
	{"durable_leases", BOOLOID, 0, 0},
	{"priority_ageing", INTERVALOID, second, year, true},
	{"dead_letter_queue", TEXTOID, 1, core::queue_name_length_max, true},
	{"archive_to", TEXTOID, 1, 2 * NAMEDATALEN, true},
};
constexpr int on_dead_key = 10;
constexpr int dead_letter_queue = 18;
static_assert(std::string_view(options[on_dead_key].name) == "on_dead_key");
static_assert(std::string_view(options[dead_letter_queue].name) == "dead_letter_queue");

bool
is_none(Option const &option, Datum value)
{
	switch (option.type)
	{
		case INTERVALOID:
		{
			Interval const *const span = DatumGetIntervalP(value);
			return span->month == 0 && span->day == 0 && span->time == 0;
		}
		case INT4OID:
			return DatumGetInt32(value) == 0;
		default:
			return VARSIZE_ANY_EXHDR(DatumGetPointer(value)) == 0;
	}
}

void
check_text(int number, text const *value)
{
	Option const &option = options[number];
	std::string_view const view(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	if (number == on_dead_key && view != "block" && view != "continue")
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is not known", option.name),
						errdetail("It must be \"block\" or \"continue\".")));
	if (number == dead_letter_queue && !core::is_queue_name(view))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is not the name of a queue", option.name)));
	if (number != on_dead_key && view.size() > option.max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is too long", option.name),
						errdetail("It must be at most %d bytes long.", static_cast<int>(option.max))));
}

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
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of range", option.name),
						errdetail("It must be between %g and %g.", option.min, option.max)));
}

} // namespace

Options
options_argument(FunctionCallInfo fcinfo, int first, bool new_queue)
{
	Options result;
	for (int i = 0; i < option_count; i++)
	{
		Option const &option = options[i];
		result.is_null[i] = PG_ARGISNULL(first + i);
		result.value[i] = PG_GETARG_DATUM(first + i);
		if (result.is_null[i] && new_queue && !option.optional)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", option.name)));
		if (result.is_null[i] || option.type == BOOLOID)
			continue;
		if (option.type == TEXTOID)
			result.value[i] = PointerGetDatum(PG_GETARG_TEXT_PP(first + i));
		if (option.optional && is_none(option, result.value[i]))
			continue;
		if (option.type == TEXTOID)
			check_text(i, DatumGetTextPP(result.value[i]));
		else
			check_range(option, result.value[i]);
	}
	return result;
}

text const *
dead_letter_option(Options const &values)
{
	Datum const value = values.value[dead_letter_queue];
	bool const is_given = !values.is_null[dead_letter_queue] && !is_none(options[dead_letter_queue], value);
	return is_given ? DatumGetTextPP(value) : nullptr;
}

char const *
option_name(int option)
{
	return options[option].name;
}

Parameter
option_parameter(Options const &values, int option)
{
	bool const is_null =
		values.is_null[option] || (options[option].optional && is_none(options[option], values.value[option]));
	return {options[option].type, values.value[option], is_null};
}

} // namespace onceq::catalog
