// SPDX-License-Identifier: PostgreSQL
#ifdef ONCEQ_TESTING

#include "worker/test_chores.hpp"

#include "base/postgres.hpp"

extern "C" {
#include <catalog/namespace.h>
#include <storage/latch.h>
#include <utils/lsyscache.h>
#include <utils/wait_event.h>
}

namespace onceq::worker {

namespace {

constexpr int stall_s = 60;

bool
is_wanted(char const *table)
{
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
	for (int i = 0; i < stall_s && is_wanted("stall"); i++)
	{
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000,
						PG_WAIT_EXTENSION);
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
