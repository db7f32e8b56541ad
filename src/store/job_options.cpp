// SPDX-License-Identifier: PostgreSQL
#include "store/job_options.hpp"

extern "C" {
#include <utils/builtins.h>
#include <utils/jsonb.h>
#include <utils/numeric.h>
}

namespace onceq::store {

namespace {

constexpr char max_attempts[] = "max_attempts";
constexpr char soft_time_limit[] = "soft_time_limit";
constexpr char hard_time_limit[] = "hard_time_limit";

#if PG_VERSION_NUM >= 190000
using Builder = JsonbInState;

void
push(Builder &builder, JsonbIteratorToken token, JsonbValue *value)
{
	pushJsonbValue(&builder, token, value);
}
#else
struct Builder
{
	JsonbParseState *state;
	JsonbValue *result;
};

void
push(Builder &builder, JsonbIteratorToken token, JsonbValue *value)
{
	builder.result = pushJsonbValue(&builder.state, token, value);
}
#endif

void
push(Builder &builder, char const *name, int64 number)
{
	if (number == 0)
		return;
	JsonbValue key{};
	key.type = jbvString;
	key.val.string = {static_cast<int>(strlen(name)), const_cast<char *>(name)};
	push(builder, WJB_KEY, &key);
	JsonbValue value{};
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	push(builder, WJB_VALUE, &value);
}

int64
number_in(Jsonb *stored, char const *name)
{
	JsonbValue value;
	if (getKeyJsonValueFromContainer(&stored->root, name, static_cast<int>(strlen(name)), &value) == nullptr ||
		value.type != jbvNumeric)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

} // namespace

Datum
form_options(JobOptions const &options)
{
	Builder builder{};
	push(builder, WJB_BEGIN_OBJECT, nullptr);
	push(builder, max_attempts, options.max_attempts);
	push(builder, soft_time_limit, options.soft_time_limit);
	push(builder, hard_time_limit, options.hard_time_limit);
	push(builder, WJB_END_OBJECT, nullptr);
	return JsonbPGetDatum(JsonbValueToJsonb(builder.result));
}

JobOptions
read_options(Datum stored)
{
	Jsonb *const options = DatumGetJsonbP(stored);
	return {static_cast<int>(number_in(options, max_attempts)), number_in(options, soft_time_limit),
			number_in(options, hard_time_limit)};
}

} // namespace onceq::store
