// SPDX-License-Identifier: PostgreSQL
#include "core/queue_name.hpp"

#include "base/make_room.hpp"
#include "base/require.hpp"
#include "base/scope.hpp"
#include "catalog/table.hpp"
#include "ledger/consumer.hpp"
#include "ledger/ledger.hpp"

extern "C" {
#include <catalog/namespace.h>
#include <mb/pg_wchar.h>
#include <utils/acl.h>
#include <utils/fmgroids.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
}

namespace onceq::ledger {

namespace {

enum ConsumerColumn : AttrNumber
{
	consumer_id = 1,
	consumer_name,
	consumer_retention,
	consumer_created_at,
	consumer_dropped_at,
	consumer_column_count = consumer_dropped_at,
};

[[noreturn]] void
raise_no_such_consumer(text const *name)
{
	char const *const bytes = VARDATA_ANY(name);
	int const length = VARSIZE_ANY_EXHDR(name);
	int const shown = pg_mbcliplen(bytes, length, core::queue_name_length_max);
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("consumer \"%.*s%s\" does not exist", shown, bytes, shown < length ? "..." : ""),
					errhint("Consumers are made by onceq.create_consumer(); onceq.consumers shows them.")));
	pg_unreachable();
}

bool
take_live_id(HeapTuple row, TupleDesc desc, void *argument)
{
	Datum values[consumer_column_count];
	bool nulls[consumer_column_count];
	catalog::deform(row, desc, consumer_column_count, values, nulls);
	if (!nulls[consumer_dropped_at - 1])
		return true;
	*static_cast<int32 *>(argument) = DatumGetInt32(values[consumer_id - 1]);
	return false;
}

bool
add_consumer(HeapTuple row, TupleDesc desc, void *argument)
{
	auto &consumers = *static_cast<Consumers *>(argument);
	base::make_room(consumers.consumer, consumers.count);
	Datum values[consumer_column_count];
	bool nulls[consumer_column_count];
	catalog::deform(row, desc, consumer_column_count, values, nulls);
	Interval const *const retention = DatumGetIntervalP(values[consumer_retention - 1]);
	consumers.consumer[consumers.count++] = {DatumGetInt32(values[consumer_id - 1]), !nulls[consumer_dropped_at - 1],
											 base::microseconds_of(retention, "retention", PG_INT64_MIN, PG_INT64_MAX),
											 DatumGetTextPCopy(values[consumer_name - 1])};
	return true;
}

int
compare_ids(void const *left, void const *right)
{
	int32 const a = static_cast<Consumer const *>(left)->id;
	int32 const b = static_cast<Consumer const *>(right)->id;
	return a < b ? -1 : a > b;
}

char const *
name_of(AclMode privilege)
{
	return privilege == ACL_INSERT ? "INSERT" : privilege == ACL_DELETE ? "DELETE" : "SELECT";
}

void
require_privilege(text const *name, int32 consumer, Oid table, AclMode privilege)
{
	bool is_missing = !OidIsValid(table);
	if (!is_missing && pg_class_aclcheck_ext(table, GetUserId(), privilege, &is_missing) == ACLCHECK_OK)
		return;
	if (is_missing)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table \"onceq_data.c%d\" does not exist", consumer),
						errdetail("It carries the privileges of consumer \"%s\".", text_to_cstring(name))));
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("permission denied for consumer \"%s\"", text_to_cstring(name)),
					errdetail("This needs %s on table onceq_data.c%d.", name_of(privilege), consumer),
					errhint("See onceq.grant_marker().")));
}

// Whether the table is still there. The lock stays until the transaction ends.
bool
try_lock(Oid table)
{
	Relation const relation = try_relation_open(table, RowExclusiveLock);
	if (relation == nullptr)
		return false;
	relation_close(relation, NoLock);
	return true;
}

} // namespace

void
require_argument(FunctionCallInfo fcinfo, int number, char const *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

void
require_text(Datum value, bool is_null, char const *name, int max)
{
	if (is_null)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	int const length = VARSIZE_ANY_EXHDR(DatumGetTextPP(value));
	if (length < 1 || length > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of range", name),
						errdetail("It has %d bytes; 1 to %d are allowed.", length, max)));
}

Consumers
all_consumers()
{
	Consumers consumers{nullptr, 0};
	base::RelationScope const table(catalog::catalog_oid("consumer"), AccessShareLock);
	catalog::scan_rows(table, nullptr, 0, InvalidOid, Datum{0}, add_consumer, &consumers);
	if (consumers.count > 1)
		qsort(consumers.consumer, consumers.count, sizeof(Consumer), compare_ids);
	return consumers;
}

void
require_consumer_name(text const *name)
{
	if (!core::is_queue_name({VARDATA_ANY(name), static_cast<Size>(VARSIZE_ANY_EXHDR(name))}))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("this cannot be the name of a consumer"),
						errdetail("A name is 1 to %d characters long, begins with a letter a to z, and goes on with"
								  " letters a to z, digits, \"_\", \".\" or \"-\".",
								  core::queue_name_length_max),
						errhint("Choose another name, such as \"billing\".")));
}

int32
find_consumer(text const *name)
{
	int32 id = 0;
	base::RelationScope const table(catalog::catalog_oid("consumer"), AccessShareLock);
	catalog::scan_rows(table, "consumer_name", consumer_name, F_TEXTEQ, PointerGetDatum(name), take_live_id, &id);
	return id;
}

Oid
find_privileges(int32 consumer)
{
	char name[NAMEDATALEN];
	snprintf(name, sizeof(name), "c%d", consumer);
	Oid const schema = get_namespace_oid("onceq_data", true);
	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

int32
consumer_argument(FunctionCallInfo fcinfo, int number, AclMode privilege)
{
	require_argument(fcinfo, number, "consumer");
	text const *const name = PG_GETARG_TEXT_PP(number);
	for (;;)
	{
		int32 const id = find_consumer(name);
		if (id == 0)
			raise_no_such_consumer(name);
		Oid const table = find_privileges(id);
		require_privilege(name, id, table, privilege);
		if (privilege == ACL_SELECT || try_lock(table))
			return id;
	}
}

void
change_consumer(text const *name, char const *sql, catalog::Parameter value)
{
	int32 const id = find_consumer(name);
	if (id == 0 || catalog::execute(sql, {catalog::parameter(id), value}) == 0)
		raise_no_such_consumer(name);
}

void
remove_consumer(int32 consumer)
{
	if (OidIsValid(find_privileges(consumer)))
	{
		char sql[64];
		snprintf(sql, sizeof(sql), "DROP TABLE onceq_data.c%d", consumer);
		catalog::execute_ddl(sql);
	}
	catalog::execute("DELETE FROM onceq.consumer WHERE id = $1", {catalog::parameter(consumer)});
}

} // namespace onceq::ledger
