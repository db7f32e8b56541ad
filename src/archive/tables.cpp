// SPDX-License-Identifier: PostgreSQL
#include "archive/tables.hpp"

#include "base/scope.hpp"

extern "C" {
#include <catalog/catalog.h>
#include <catalog/partition.h>
#include <catalog/pg_inherits.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <lib/stringinfo.h>
#include <utils/acl.h>
#include <utils/lsyscache.h>
#include <utils/partcache.h>
#include <utils/rel.h>
}

namespace onceq::archive {

namespace {

void
require_table(Relation relation)
{
	char const kind = relation->rd_rel->relkind;
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table", RelationGetRelationName(relation))));
	if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP || IsCatalogRelation(relation))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is a temporary table or a system catalog", RelationGetRelationName(relation)),
						errhint("Only ordinary and partitioned tables can be archived.")));
}

Oid
type_of_age(Relation relation, char const *age_column)
{
	AttrNumber const number = get_attnum(RelationGetRelid(relation), age_column);
	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist", age_column, RelationGetRelationName(relation)),
				 errhint("Name the column that tells how old a row is; after it was renamed, set"
						 " the policy again.")));
	Oid const type = getBaseType(get_atttype(RelationGetRelid(relation), number));
	if (type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" tells no time", age_column, RelationGetRelationName(relation)),
				 errdetail("It is of type %s.", format_type_be(type)),
				 errhint("Its type must be timestamp with time zone, timestamp or date.")));
	return type;
}

bool
is_split_by(Relation relation, char const *age_column)
{
	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	PartitionKey const key = RelationGetPartitionKey(relation);
	return key->strategy == PARTITION_STRATEGY_RANGE && key->partnatts == 1 &&
		   key->partattrs[0] == get_attnum(RelationGetRelid(relation), age_column);
}

} // namespace

Source
inspect_source(Oid table, char const *age_column)
{
	base::RelationScope const relation(table, AccessShareLock);
	require_table(relation);
	return {table, relation->rd_rel->relowner, type_of_age(relation, age_column), is_split_by(relation, age_column)};
}

List *
leaves_below(Oid table)
{
	if (!OidIsValid(table))
		return NIL;
	// A table that others inherit from is archived without them.
	if (get_rel_relkind(table) == RELKIND_RELATION)
		return list_make1_oid(table);
	List *leaves = NIL;
	ListCell *cell;
	foreach (cell, find_all_inheritors(table, AccessShareLock, nullptr))
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
			leaves = lappend_oid(leaves, lfirst_oid(cell));
	return leaves;
}

void
create_archive(Source const &source, char const *age_column, char const *schema, char const *table)
{
	StringInfoData sql;
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "CREATE TABLE %s (LIKE %s INCLUDING COMMENTS INCLUDING COMPRESSION INCLUDING INDEXES"
					 " INCLUDING STORAGE",
					 quote_qualified_identifier(schema, table), qualified_name(source.oid));
	// A partition that is attached must have the same generated columns as its table.
	if (source.split_by_age)
		appendStringInfo(&sql, " INCLUDING GENERATED) PARTITION BY RANGE (%s)", quote_identifier(age_column));
	else
		appendStringInfoChar(&sql, ')');
	base::SpiScope const spi;
	if (int const result = SPI_execute(sql.data, false, 0); result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

void
check_archive(Oid archive, Oid source, Oid role)
{
	base::RelationScope const relation(archive, AccessShareLock);
	if (archive == source)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a table cannot be its own archive")));
	require_table(relation);
	Oid const owner = relation->rd_rel->relowner;
	if (!has_privs_of_role(owner, role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("the owner of archive \"%s\" could act as the owner of what is archived",
							   RelationGetRelationName(relation)),
						errdetail("Triggers of \"%s\", which belongs to role \"%s\", would run as role \"%s\".",
								  RelationGetRelationName(relation), GetUserNameFromId(owner, false),
								  GetUserNameFromId(role, false)),
						errhint("Let both tables belong to the same role.")));
}

char *
qualified_name(Oid table)
{
	char const *const name = get_rel_name(table);
	if (name == nullptr)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the table does not exist any more")));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), name);
}

char *
copied_columns(Oid source, Oid archive, char const *prefix)
{
	base::RelationScope const from(source, AccessShareLock);
	base::RelationScope const to(archive, AccessShareLock);
	TupleDesc const wanted = RelationGetDescr(static_cast<Relation>(from));
	TupleDesc const there = RelationGetDescr(static_cast<Relation>(to));
	StringInfoData columns;
	initStringInfo(&columns);
	for (int i = 0; i < wanted->natts; i++)
	{
		Form_pg_attribute const column = TupleDescAttr(wanted, i);
		if (column->attisdropped)
			continue;
		AttrNumber const number = get_attnum(archive, NameStr(column->attname));
		if (number <= 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("archive \"%s\" lacks column \"%s\"", RelationGetRelationName(to),
								   NameStr(column->attname)),
							errhint("ALTER TABLE %s ADD COLUMN %s %s;", qualified_name(archive),
									quote_identifier(NameStr(column->attname)),
									format_type_with_typemod(column->atttypid, column->atttypmod))));
		if (TupleDescAttr(there, number - 1)->attgenerated != '\0')
			continue;
		appendStringInfo(&columns, "%s%s%s", columns.len > 0 ? ", " : "", prefix,
						 quote_identifier(NameStr(column->attname)));
	}
	return columns.data;
}

} // namespace onceq::archive
