// SPDX-License-Identifier: PostgreSQL
// create_queue stands here and not in catalog/, which knows nothing of segments.
#include "base/require.hpp"
#include "base/wall.hpp"
#include "catalog/catalog.hpp"
#include "store/store.hpp"

namespace onceq::store {

namespace {

constexpr int if_not_exists = 1 + catalog::option_count;

void
report_existing(text const *name, bool is_error)
{
	int const length = VARSIZE_ANY_EXHDR(name);
	if (is_error)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("queue \"%.*s\" already exists", length, VARDATA_ANY(name))));
	ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("queue \"%.*s\" already exists, skipping", length, VARDATA_ANY(name))));
}

void
require_argument(FunctionCallInfo fcinfo, int number, char const *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

} // namespace

// create_queue(queue, options …, if_not_exists)
ONCEQ_FUNCTION(onceq_create_queue)
{
	base::require_writable("onceq.create_queue()");
	catalog::require_administrator("create a queue");
	require_argument(fcinfo, 0, "queue");
	require_argument(fcinfo, if_not_exists, "if_not_exists");
	catalog::Options const options = catalog::options_argument(fcinfo, 1, true);
	text const *const name = PG_GETARG_TEXT_PP(0);

	int32 const queue = catalog::create_queue(name, options);
	if (queue == 0)
		report_existing(name, !PG_GETARG_BOOL(if_not_exists));
	else
		create_segment(queue, 0);
	PG_RETURN_VOID();
}

} // namespace onceq::store
