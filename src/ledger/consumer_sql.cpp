// SPDX-License-Identifier: PostgreSQL
// Consumers come, change and go.
#include "base/clock.hpp"
#include "base/require.hpp"
#include "base/scope.hpp"
#include "base/wall.hpp"
#include "catalog/catalog.hpp"
#include "catalog/statement.hpp"
#include "ledger/consumer.hpp"
#include "ledger/ledger.hpp"

extern "C" {
#include <catalog/pg_type.h>
#include <commands/extension.h>
#include <utils/acl.h>
}

namespace onceq::ledger {

namespace {

catalog::Parameter
retention_argument(FunctionCallInfo fcinfo)
{
	require_argument(fcinfo, 1, "retention");
	base::microseconds_of(PG_GETARG_INTERVAL_P(1), "retention", retention_min, retention_max);
	return {INTERVALOID, PG_GETARG_DATUM(1), false};
}

// 0: there is one of that name already.
int32
insert_consumer(text const *name, catalog::Parameter retention)
{
	catalog::Parameter const parameters[] = {
		{TEXTOID, PointerGetDatum(name), false}, retention, catalog::parameter(base::now_wall())};
	return catalog::execute_returning("INSERT INTO onceq.consumer (name, retention, created_at) VALUES ($1, $2, $3)"
									  " ON CONFLICT (name) WHERE dropped_at IS NULL DO NOTHING RETURNING id",
									  parameters, lengthof(parameters));
}

// As for a queue: administrators hold the grant options, so that what one granted another can revoke.
void
create_privileges(int32 consumer)
{
	char sql[256];
	snprintf(sql, sizeof(sql),
			 "CREATE TABLE onceq_data.c%d ();"
			 " COMMENT ON TABLE onceq_data.c%d IS 'carries the privileges of a consumer; see onceq.consumers';"
			 " GRANT ALL ON TABLE onceq_data.c%d TO onceq_admin WITH GRANT OPTION",
			 consumer, consumer, consumer);
	catalog::execute_ddl(sql);
}

} // namespace

// create_consumer(consumer, retention, if_not_exists)
ONCEQ_FUNCTION(onceq_create_consumer)
{
	base::require_writable("onceq.create_consumer()");
	catalog::require_administrator("create a consumer");
	require_argument(fcinfo, 0, "consumer");
	require_argument(fcinfo, 2, "if_not_exists");
	catalog::Parameter const retention = retention_argument(fcinfo);
	text const *const name = PG_GETARG_TEXT_PP(0);
	require_consumer_name(name);
	// The table would become a member of that extension, and pg_dump would leave the privileges out.
	if (creating_extension)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a consumer cannot be created by the script of an extension"),
						errhint("Create it after CREATE EXTENSION.")));
	if (int32 const id = insert_consumer(name, retention); id != 0)
		create_privileges(id);
	else
		ereport(PG_GETARG_BOOL(2) ? NOTICE : ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("consumer \"%s\" already exists%s", text_to_cstring(name),
														   PG_GETARG_BOOL(2) ? ", skipping" : "")));
	PG_RETURN_VOID();
}

// alter_consumer(consumer, retention)
ONCEQ_FUNCTION(onceq_alter_consumer)
{
	base::require_writable("onceq.alter_consumer()");
	catalog::require_administrator("alter a consumer");
	catalog::Parameter const retention = retention_argument(fcinfo);
	require_argument(fcinfo, 0, "consumer");
	change_consumer(PG_GETARG_TEXT_PP(0),
					"UPDATE onceq.consumer SET retention = $2 WHERE id = $1 AND dropped_at IS NULL", retention);
	PG_RETURN_VOID();
}

// drop_consumer(consumer, if_exists)
ONCEQ_FUNCTION(onceq_drop_consumer)
{
	base::require_writable("onceq.drop_consumer()");
	catalog::require_administrator("drop a consumer");
	require_argument(fcinfo, 0, "consumer");
	text const *const name = PG_GETARG_TEXT_PP(0);
	if (!PG_ARGISNULL(1) && PG_GETARG_BOOL(1) && !find_consumer(name))
	{
		ereport(NOTICE, (errmsg("consumer \"%s\" does not exist, skipping", text_to_cstring(name))));
		PG_RETURN_VOID();
	}
	change_consumer(name, "UPDATE onceq.consumer SET dropped_at = $2 WHERE id = $1 AND dropped_at IS NULL",
					catalog::parameter(base::now_wall()));
	PG_RETURN_VOID();
}

// grant_marker(consumer, role): as the current user, so that what he granted he can revoke.
ONCEQ_FUNCTION(onceq_grant_marker)
{
	base::require_writable("onceq.grant_marker()");
	catalog::require_administrator("grant privileges on a consumer");
	int32 const consumer = consumer_argument(fcinfo, 0, ACL_SELECT);
	require_argument(fcinfo, 1, "role");
	Oid const role = get_role_oid(NameStr(*PG_GETARG_NAME(1)), false);
	char sql[128 + 2 * NAMEDATALEN];
	snprintf(sql, sizeof(sql), "GRANT INSERT, SELECT ON TABLE onceq_data.c%d TO %s", consumer,
			 quote_identifier(GetUserNameFromId(role, false)));
	base::SpiScope const spi;
	if (int const result = SPI_execute(sql, false, 0); result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
	PG_RETURN_VOID();
}

} // namespace onceq::ledger
