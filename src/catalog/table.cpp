// SPDX-License-Identifier: PostgreSQL
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <access/relscan.h>
#include <access/stratnum.h>
#include <catalog/namespace.h>
#include <utils/inval.h>
#include <utils/lsyscache.h>
}

namespace onceq::catalog {

Oid
find_relation(char const *schema, char const *name)
{
	Oid const schema_oid = get_namespace_oid(schema, true);
	return OidIsValid(schema_oid) ? get_relname_relid(name, schema_oid) : InvalidOid;
}

Oid
find_catalog_oid(char const *name)
{
	return find_relation("onceq", name);
}

Oid
catalog_oid(char const *name)
{
	Oid const oid = find_catalog_oid(name);
	if (!OidIsValid(oid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension onceq is not installed in this database"),
						errdetail("Relation \"onceq.%s\" does not exist.", name), errhint("CREATE EXTENSION onceq;")));
	return oid;
}

Oid
find_anchor(int32 queue)
{
	char name[NAMEDATALEN];
	snprintf(name, sizeof(name), "q%d", queue);
	return find_relation("onceq_data", name);
}

void
require_columns(TupleDesc desc, int columns)
{
	if (desc->natts != columns)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a table of schema onceq was altered"),
						errdetail("It has %d columns and should have %d.", desc->natts, columns),
						errhint("Undo the change, or restore the database from a backup.")));
}

void
deform(HeapTuple row, TupleDesc desc, int columns, Datum *values, bool *nulls)
{
	require_columns(desc, columns);
	heap_deform_tuple(row, desc, values, nulls);
}

void
scan_rows(Relation table, char const *index, AttrNumber column, RegProcedure equal, Datum key, VisitRow visit,
		  void *argument)
{
	ScanKeyData scan_key;
	if (index != nullptr)
		ScanKeyInit(&scan_key, column, BTEqualStrategyNumber, equal, key);
	SysScanDesc const scan = systable_beginscan(table, index != nullptr ? catalog_oid(index) : InvalidOid,
												index != nullptr, nullptr, index != nullptr ? 1 : 0, &scan_key);
	while (HeapTuple const row = systable_getnext(scan))
		if (!visit(row, RelationGetDescr(table), argument))
			break;
	systable_endscan(scan);
}

void
announce_change(char const *table)
{
	CacheInvalidateRelcacheByRelid(catalog_oid(table));
}

} // namespace onceq::catalog
