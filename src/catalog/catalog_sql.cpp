// SPDX-License-Identifier: PostgreSQL
#include "base/require.hpp"
#include "base/scope.hpp"
#include "base/wall.hpp"
#include "catalog/catalog.hpp"
#include "catalog/identity.hpp"

extern "C" {
#include <utils/acl.h>
}

namespace onceq::catalog {

namespace {

void
require_arguments(FunctionCallInfo fcinfo, int count, char const *const *names)
{
	for (int i = 0; i < count; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", names[i])));
}

constexpr char const *queue_and_role[] = {"queue", "role"};

// The queue named by argument 0, locked for a change.
Queue const &
lock_argument(FunctionCallInfo fcinfo)
{
	require_arguments(fcinfo, 1, queue_and_role);
	return lock_queue(PG_GETARG_TEXT_PP(0));
}

void
set_paused_argument(FunctionCallInfo fcinfo, bool paused)
{
	Queue const &queue = lock_argument(fcinfo);
	if (queue.paused != paused)
		set_paused(queue.id, paused);
}

// As the current user, so that what he granted he can revoke.
void
grant(FunctionCallInfo fcinfo, char const *privileges)
{
	require_arguments(fcinfo, 2, queue_and_role);
	int32 const queue = find_queue(PG_GETARG_TEXT_PP(0)).id;
	Oid const role = get_role_oid(NameStr(*PG_GETARG_NAME(1)), false);
	char sql[128 + 2 * NAMEDATALEN];
	snprintf(sql, sizeof(sql), "GRANT %s ON TABLE onceq_data.q%d TO %s", privileges, queue,
			 quote_identifier(GetUserNameFromId(role, false)));
	base::SpiScope const spi;
	if (int const result = SPI_execute(sql, false, 0); result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

} // namespace

ONCEQ_FUNCTION(onceq_alter_queue)
{
	base::require_writable("onceq.alter_queue()");
	require_administrator("alter a queue");
	Options const options = options_argument(fcinfo, 1, false);
	int32 const queue = lock_argument(fcinfo).id;
	check_dead_letter_queue(PG_GETARG_TEXT_PP(0), options);
	alter_queue(queue, options);
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_pause_queue)
{
	base::require_writable("onceq.pause_queue()");
	require_operator("pause a queue");
	set_paused_argument(fcinfo, true);
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_resume_queue)
{
	base::require_writable("onceq.resume_queue()");
	require_operator("resume a queue");
	set_paused_argument(fcinfo, false);
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_adopt)
{
	constexpr char const *keep_leases[] = {"keep_leases"};
	base::require_writable("onceq.adopt()");
	require_administrator("adopt the queues of a database");
	require_arguments(fcinfo, 1, keep_leases);
	if (!adopt(PG_GETARG_BOOL(0)))
		ereport(NOTICE, (errmsg("there is nothing to adopt: no queue of this database is in use elsewhere")));
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_grant_producer)
{
	base::require_writable("onceq.grant_producer()");
	require_administrator("grant privileges on a queue");
	grant(fcinfo, "INSERT");
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_grant_consumer)
{
	base::require_writable("onceq.grant_consumer()");
	require_administrator("grant privileges on a queue");
	grant(fcinfo, "SELECT, UPDATE, DELETE");
	PG_RETURN_VOID();
}

} // namespace onceq::catalog
