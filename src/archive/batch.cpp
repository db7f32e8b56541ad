// SPDX-License-Identifier: PostgreSQL
#include "archive/batch.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/owner.hpp"
#include "base/scope.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/genam.h>
#include <catalog/partition.h>
#include <catalog/pg_am.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <lib/stringinfo.h>
#include <nodes/pg_list.h>
#include <storage/itemptr.h>
#include <storage/lmgr.h>
#include <utils/acl.h>
#include <utils/date.h>
#include <utils/datum.h>
#include <utils/fmgrprotos.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
}

namespace onceq::archive {

namespace {

// Whoever holds a table, or a row that a foreign key points to, for longer than this has the batch come
// again later.
constexpr char const *batch_lock_timeout = "1s";

bool
is_walked_by(Relation index, AttrNumber column)
{
	Form_pg_index const form = index->rd_index;
	return index->rd_rel->relam == BTREE_AM_OID && form->indisvalid && form->indisready &&
		   form->indkey.values[0] == column && RelationGetIndexPredicate(index) == NIL;
}

bool
has_index_on(Oid leaf, char const *age_column)
{
	base::RelationScope const relation(leaf, AccessShareLock);
	AttrNumber const column = get_attnum(leaf, age_column);
	ListCell *cell;
	foreach (cell, RelationGetIndexList(relation))
	{
		Relation const index = index_open(lfirst_oid(cell), AccessShareLock);
		bool const found = is_walked_by(index, column);
		index_close(index, NoLock);
		if (found)
			return true;
	}
	return false;
}

Datum
earliest(Oid type)
{
	if (type == DATEOID)
		return DateADTGetDatum(DATEVAL_NOBEGIN);
	return TimestampTzGetDatum(DT_NOBEGIN);
}

// Locked, it keeps its owner and its parents until the transaction ends.
bool
lock_leaf(Source const &source, Oid leaf)
{
	LockRelationOid(leaf, RowExclusiveLock);
	return leaf == source.oid ||
		   (get_rel_relispartition(leaf) && list_member_oid(get_partition_ancestors(leaf), source.oid));
}

char *
statement_of(Policy const &policy, Source const &source, Oid archive, Walk const &walk)
{
	char const *const leaf = qualified_name(walk.leaf);
	char const *const age = quote_identifier(NameStr(policy.age_column));
	char const *const operation = walk.after || !walk.by_age ? ">" : ">=";
	StringInfoData sql;
	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH batch AS MATERIALIZED (SELECT s.ctid AS place, s.%s AS age FROM ONLY %s s", age, leaf);
	appendStringInfo(&sql, " WHERE s.%s OPERATOR(pg_catalog.%s) $1 AND s.%s OPERATOR(pg_catalog.<) $2",
					 walk.by_age ? age : "ctid", operation, age);
	appendStringInfo(&sql, "%s%s LIMIT $3 FOR UPDATE SKIP LOCKED),", walk.by_age ? " ORDER BY s." : "",
					 walk.by_age ? age : "");
	appendStringInfo(&sql,
					 " moved AS (DELETE FROM ONLY %s s WHERE s.ctid OPERATOR(pg_catalog.=) ANY"
					 " (ARRAY(SELECT b.place FROM batch b)) RETURNING %s),",
					 leaf, OidIsValid(archive) ? copied_columns(source.oid, archive, "s.") : "1 AS one");
	if (OidIsValid(archive))
		appendStringInfo(&sql,
						 " kept AS (INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM moved m RETURNING"
						 " 1 AS one)",
						 qualified_name(archive), copied_columns(source.oid, archive, ""),
						 copied_columns(source.oid, archive, "m."));
	else
		appendStringInfoString(&sql, " kept AS (SELECT 1 AS one FROM moved)");
	appendStringInfo(&sql,
					 " SELECT (SELECT pg_catalog.count(*) FROM batch), (SELECT pg_catalog.count(*) FROM moved),"
					 " (SELECT pg_catalog.count(*) FROM kept), (SELECT pg_catalog.max(b.%s) FROM batch b)",
					 walk.by_age ? "age" : "place");
	return sql.data;
}

int64
count_in_result(int column)
{
	bool is_null;
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null));
}

void
go_on_behind(Walk &walk, Oid age_type)
{
	bool is_null;
	Datum const last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4, &is_null);
	if (is_null)
		return;
	int16 length;
	bool by_value;
	get_typlenbyval(walk.by_age ? age_type : TIDOID, &length, &by_value);
	base::MemoryContextScope const scope(walk.context);
	walk.from = datumCopy(last, by_value, length);
}

void
run(char const *sql, Oid *types, Datum *values, int count)
{
	int const result = SPI_execute_with_args(sql, count, types, values, nullptr, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
}

Batch
execute_batch(Policy const &policy, Source const &source, Datum cutoff, Walk &walk)
{
	Oid const archive = archive_of(policy, source);
	base::SpiScope const spi;
	// PostgreSQL runs deferred triggers at commit, where they would no longer run as the policy's role.
	run("SET CONSTRAINTS ALL IMMEDIATE", nullptr, nullptr, 0);
	Oid types[] = {walk.by_age ? source.age_type : TIDOID, source.age_type, INT8OID};
	Datum values[] = {walk.from, cutoff, Int64GetDatum(policy.batch)};
	run(statement_of(policy, source, archive, walk), types, values, 3);

	Batch const batch{count_in_result(1), count_in_result(2)};
	if (count_in_result(3) != batch.moved)
		ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
						errmsg("archive \"%s\" did not take all rows", NameStr(policy.archive_table)),
						errhint("A trigger or rule of it drops rows; nothing was deleted.")));
	go_on_behind(walk, source.age_type);
	walk.after = batch.moved == 0;
	return batch;
}

} // namespace

Walk
begin_walk(Source const &source, Policy const &policy, Oid leaf, MemoryContext context)
{
	Walk walk{leaf, has_index_on(leaf, NameStr(policy.age_column)), 0, false, context};
	if (walk.by_age)
		walk.from = earliest(source.age_type);
	else
	{
		auto *const start = static_cast<ItemPointer>(MemoryContextAllocZero(context, sizeof(ItemPointerData)));
		ItemPointerSet(start, 0, 0);
		walk.from = PointerGetDatum(start);
	}
	return walk;
}

Datum
cutoff_of(Policy const &policy, Source const &source)
{
	Datum const cutoff = DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(base::now_wall().us),
											 IntervalPGetDatum(&policy.older_than));
	switch (source.age_type)
	{
		case TIMESTAMPOID:
			return DirectFunctionCall1(timestamptz_timestamp, cutoff);
		case DATEOID:
			return DirectFunctionCall1(timestamptz_date, cutoff);
		default:
			return cutoff;
	}
}

Oid
role_of(Policy const &policy, Source const &source)
{
	Oid const role = get_role_oid(NameStr(policy.owner), true);
	if (!OidIsValid(role) || role != source.owner)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("table %s does not belong to role \"%s\" any more", qualified_name(source.oid),
							   NameStr(policy.owner)),
						errdetail("It did when its archive policy was set, and the policy runs as that role."),
						errhint("Call onceq.set_archive_policy() as, or for, the new owner.")));
	return role;
}

Oid
archive_of(Policy const &policy, Source const &source)
{
	if (!policy.keeps_rows())
		return InvalidOid;
	char const *const schema = NameStr(policy.archive_schema);
	char const *const table = NameStr(policy.archive_table);
	Oid archive = catalog::find_relation(schema, table);
	if (!OidIsValid(archive))
	{
		create_archive(source, NameStr(policy.age_column), schema, table);
		CommandCounterIncrement();
		archive = catalog::find_relation(schema, table);
		FAULT_POINT("archive: after table");
	}
	LockRelationOid(archive, RowExclusiveLock);
	check_archive(archive, source.oid, source.owner);
	return archive;
}

Batch
move_batch(Policy const &policy, Source const &source, Datum cutoff, Walk &walk)
{
	base::AsRole as(role_of(policy, source));
	base::set_locally("lock_timeout", batch_lock_timeout);
	// A walk through the pages begins at the first one, also where PostgreSQL finds no use for a range of tids.
	base::set_locally("synchronize_seqscans", "off");
	LockRelationOid(source.oid, RowExclusiveLock);
	Source const now = inspect_source(source.oid, NameStr(policy.age_column));
	role_of(policy, now);
	Batch batch{};
	if (now.age_type == source.age_type && lock_leaf(source, walk.leaf))
		batch = execute_batch(policy, now, cutoff, walk);
	FAULT_POINT("archive: after batch");
	as.finish();
	return batch;
}

} // namespace onceq::archive
