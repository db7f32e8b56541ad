// SPDX-License-Identifier: PostgreSQL
#ifdef ONCEQ_TESTING

#include "worker/test_chores.hpp"

#include "base/clock.hpp"
#include "base/postgres.hpp"

extern "C" {
#include <catalog/namespace.h>
#include <storage/latch.h>
#include <utils/inval.h>
#include <utils/lsyscache.h>
#include <utils/wait_event.h>
}

namespace onceq::worker {

namespace {

constexpr core::Microseconds stall = 60 * core::microseconds_per_second;
constexpr long stall_look_ms = 50;

bool
is_wanted(char const *table)
{
	AcceptInvalidationMessages();
	Oid const schema = get_namespace_oid("test", true);
	return OidIsValid(schema) && OidIsValid(get_relname_relid(table, schema));
}

core::Microseconds
soon()
{
	return core::microseconds_per_second / 10;
}

} // namespace

core::Microseconds
test_failure()
{
	if (is_wanted("failure"))
		ereport(ERROR, (errcode(ERRCODE_RAISE_EXCEPTION), errmsg("this chore fails for a test")));
	return soon();
}

core::Microseconds
test_stall()
{
	core::Monotonic const end = base::now_monotonic() + stall;

	while (is_wanted("stall") && base::now_monotonic() < end)
	{
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, stall_look_ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return soon();
}

core::Microseconds
test_farewell()
{
	if (is_wanted("farewell"))
		ereport(LOG, (errmsg("the worker says farewell for a test")));
	return 0;
}

} // namespace onceq::worker

#endif
