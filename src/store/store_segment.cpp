// SPDX-License-Identifier: PostgreSQL
#include "base/clock.hpp"
#include "base/make_room.hpp"
#include "base/scope.hpp"
#include "catalog/statement.hpp"
#include "catalog/table.hpp"
#include "store/segment_name.hpp"
#include "store/store.hpp"

extern "C" {
#include <access/htup_details.h>
#include <access/table.h>
#include <lib/stringinfo.h>
#include <storage/lmgr.h>
#include <utils/fmgroids.h>
}

namespace onceq::store {

namespace {

enum SegmentColumn : AttrNumber
{
	segment_queue_id = 1,
	segment_number,
	segment_created_at,
	segment_sealed_at,
	segment_drained_at,
	segment_archived_below,
	segment_archived_at,
	segment_column_count = segment_archived_at,
};

// ? stands for the numbers of queue and segment; columns as in store_columns.hpp.
//
// o?_ack has some rows only (anchors.hpp). So its condition, which is always true of an ack, is one that
// the planner cannot deduce from a query.
//
// Autovacuum would find nothing to do but to freeze, which is a chore of the worker. Row level security
// without policies: a stray GRANT shows nothing. worker and detail are added as plain columns and so get
// no TOAST table, which CREATE TABLE can only say from PostgreSQL 16 on.
constexpr char tables_of_segment[] =
	"CREATE TABLE onceq_data.j? (id bigint NOT NULL, enqueued_at timestamptz NOT NULL, run_at "
	"timestamptz,"
	" priority smallint, ordering_key text, options jsonb, payload jsonb NOT NULL, headers jsonb)"
	" WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);"
	"CREATE TABLE onceq_data.o? (first_id bigint NOT NULL, last_id bigint NOT NULL, at timestamptz "
	"NOT NULL,"
	" due_at timestamptz, attempt smallint NOT NULL, outcome \"char\" NOT NULL)"
	" WITH (autovacuum_enabled = off);"
	"ALTER TABLE onceq_data.o? ADD COLUMN worker text, ADD COLUMN detail text,"
	" ALTER COLUMN worker SET STORAGE PLAIN, ALTER COLUMN detail SET STORAGE PLAIN;"
	"CREATE TABLE onceq_data.r? (id bigint NOT NULL, result jsonb NOT NULL)"
	" WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);"
	"CREATE UNIQUE INDEX j?_id ON onceq_data.j? (id);"
	"CREATE INDEX j?_due ON onceq_data.j? (run_at) WHERE run_at IS NOT NULL;"
	// As store::hash_of_key says; never 0.
	"CREATE INDEX j?_key ON onceq_data.j?"
	" ((pg_catalog.hashtextextended(ordering_key COLLATE pg_catalog.\"C\", 0) OPERATOR(pg_catalog.|) 1), id)"
	" WHERE ordering_key IS NOT NULL;"
	"CREATE INDEX o?_id ON onceq_data.o? (first_id) WHERE outcome <> 'a';"
	"CREATE INDEX o?_ack ON onceq_data.o? (first_id) WHERE outcome = 'a' AND last_id - first_id >= 0;"
	"CREATE INDEX o?_due ON onceq_data.o? (due_at) WHERE due_at IS NOT NULL;"
	"CREATE UNIQUE INDEX r?_id ON onceq_data.r? (id);"
	"ALTER TABLE onceq_data.j? ENABLE ROW LEVEL SECURITY;"
	"ALTER TABLE onceq_data.o? ENABLE ROW LEVEL SECURITY;"
	"ALTER TABLE onceq_data.r? ENABLE ROW LEVEL SECURITY";

// Rows of stragglers are deleted one by one, which a publication of all tables forbids where nothing tells which row it
// was. Whoever ends one enters the row in all indexes that there are.
constexpr char settings_of_stay[] =
	"ALTER TABLE onceq_data.j? SET (autovacuum_enabled = on, toast.autovacuum_enabled = on,"
	" autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_cost_delay = 0);"
	"ALTER TABLE onceq_data.o? SET (autovacuum_enabled = on,"
	" autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_cost_delay = 0);"
	"ALTER TABLE onceq_data.r? SET (autovacuum_enabled = on, toast.autovacuum_enabled = on,"
	" autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_cost_delay = 0);"
	"ALTER TABLE onceq_data.j? REPLICA IDENTITY USING INDEX j?_id;"
	"ALTER TABLE onceq_data.o? REPLICA IDENTITY FULL;"
	"ALTER TABLE onceq_data.r? REPLICA IDENTITY USING INDEX r?_id;"
	"CREATE INDEX o?_all ON onceq_data.o? (first_id);"
	"CREATE INDEX o?_end ON onceq_data.o? (at) WHERE outcome <> 'f'";

constexpr char renaming_to_old[] = "ALTER TABLE onceq_data.j? RENAME TO j?_old;"
								   "ALTER TABLE onceq_data.o? RENAME TO o?_old;"
								   "ALTER TABLE onceq_data.r? RENAME TO r?_old;"
								   "ALTER INDEX onceq_data.j?_id RENAME TO j?_old_id;"
								   "ALTER INDEX onceq_data.j?_due RENAME TO j?_old_due;"
								   "ALTER INDEX onceq_data.j?_key RENAME TO j?_old_key;"
								   "ALTER INDEX onceq_data.o?_id RENAME TO o?_old_id;"
								   "ALTER INDEX onceq_data.o?_ack RENAME TO o?_old_ack;"
								   "ALTER INDEX onceq_data.o?_due RENAME TO o?_old_due;"
								   "ALTER INDEX onceq_data.r?_id RENAME TO r?_old_id";

void
execute_for(int32 queue, core::SegmentNumber number, char const *pattern)
{
	SegmentName const name = segment_name(queue, number);
	StringInfoData sql;
	initStringInfo(&sql);
	for (char const *c = pattern; *c != '\0'; c++)
		if (*c == '?')
			appendStringInfoString(&sql, name.text);
		else
			appendStringInfoChar(&sql, *c);
	catalog::execute_ddl(sql.data);
	pfree(sql.data);
}

void
mark(char const *sql, int32 queue, core::SegmentNumber number, core::Wall at)
{
	if (catalog::execute(sql, {catalog::parameter(queue), catalog::parameter(int64{number}), catalog::parameter(at)}) !=
		1)
		elog(ERROR, "segment " INT64_FORMAT " of queue %d is missing from the catalog", int64{number}, queue);
}

core::Wall
wall_or_never(Datum value, bool is_null)
{
	return is_null ? core::wall_never : core::Wall{DatumGetTimestampTz(value)};
}

struct Listing
{
	Segments segments;
	bool remains;
};

bool
add_segment(HeapTuple row, TupleDesc desc, void *argument)
{
	auto &[segments, remains] = *static_cast<Listing *>(argument);
	Datum values[segment_column_count];
	bool nulls[segment_column_count];
	catalog::deform(row, desc, segment_column_count, values, nulls);
	if ((DatumGetInt64(values[segment_number - 1]) < stay) != remains)
		return true;
	base::make_room(segments.segment, segments.count);
	segments.segment[segments.count++] = {
		DatumGetInt64(values[segment_number - 1]),
		core::Wall{DatumGetTimestampTz(values[segment_created_at - 1])},
		wall_or_never(values[segment_sealed_at - 1], nulls[segment_sealed_at - 1]),
		wall_or_never(values[segment_drained_at - 1], nulls[segment_drained_at - 1]),
		nulls[segment_archived_below - 1] ? 0 : DatumGetInt64(values[segment_archived_below - 1]),
		wall_or_never(values[segment_archived_at - 1], nulls[segment_archived_at - 1])};
	return true;
}

int
compare_numbers(void const *left, void const *right)
{
	core::SegmentNumber const a = static_cast<Segment const *>(left)->number;
	core::SegmentNumber const b = static_cast<Segment const *>(right)->number;
	return a < b ? -1 : a > b;
}

Segments
list_segments(int32 queue, bool remains)
{
	Listing listing{{nullptr, 0}, remains};
	base::RelationScope const table(catalog::catalog_oid("segment"), AccessShareLock);
	catalog::scan_rows(table, "segment_pkey", segment_queue_id, F_INT4EQ, Int32GetDatum(queue), add_segment, &listing);
	// The scan may have had to do without the index.
	if (listing.segments.count > 1)
		qsort(listing.segments.segment, listing.segments.count, sizeof(Segment), compare_numbers);
	return listing.segments;
}

// ---- locks of a drop

constexpr int relations_max = 5; // three tables, two of them with a TOAST table

struct Relations
{
	Oid oid[relations_max];
	int count;
};

bool
try_lock(Relations &locked, Oid relation)
{
	if (!ConditionalLockRelationOid(relation, AccessExclusiveLock))
		return false;
	locked.oid[locked.count++] = relation;
	return true;
}

// VACUUM can hold the TOAST table alone.
bool
try_lock_with_toast(Relations &locked, Oid oid)
{
	if (!try_lock(locked, oid))
		return false;
	Relation const table = try_relation_open(oid, NoLock);
	if (table == nullptr)
		return false;
	Oid const toast = table->rd_rel->reltoastrelid;
	relation_close(table, NoLock);
	return !OidIsValid(toast) || try_lock(locked, toast);
}

} // namespace

Segments
all_segments(int32 queue)
{
	return list_segments(queue, false);
}

Segments
all_remains(int32 queue)
{
	return list_segments(queue, true);
}

Parts
all_parts(int32 queue, core::JobId from)
{
	Segments const segments = all_segments(queue);
	Parts parts{static_cast<Part *>(palloc(sizeof(Part) * Max(2 * segments.count, 1))), 0};
	for (int i = 0; i < segments.count; i++)
	{
		core::SegmentNumber const number = segments.segment[i].number;
		core::JobId const first = core::first_id_of(number);
		core::JobId const last = core::last_id_of(number);
		if (last < from)
			continue;
		if (from < first)
			parts.part[parts.count++] = {stay, from, first - 1};
		parts.part[parts.count++] = {number, Max(from, first), last};
		from = last + 1;
	}
	return parts;
}

void
create_segment(int32 queue, core::SegmentNumber number)
{
	execute_for(queue, number, tables_of_segment);
	catalog::execute(
		"INSERT INTO onceq.segment (queue_id, number, created_at) VALUES ($1, $2, $3)",
		{catalog::parameter(queue), catalog::parameter(int64{number}), catalog::parameter(base::now_wall())});
}

void
mark_sealed(int32 queue, core::SegmentNumber number, core::Wall at)
{
	mark("UPDATE onceq.segment SET sealed_at = $3 WHERE queue_id = $1 AND number = $2", queue, number, at);
}

void
mark_drained(int32 queue, core::SegmentNumber number, core::Wall at)
{
	mark("UPDATE onceq.segment SET drained_at = $3 WHERE queue_id = $1 AND number = $2", queue, number, at);
}

void
mark_archived(int32 queue, core::SegmentNumber number, core::JobId below, core::Wall at)
{
	if (catalog::execute("UPDATE onceq.segment SET archived_below = $3, archived_at = $4"
						 " WHERE queue_id = $1 AND number = $2 AND drained_at IS NOT NULL",
						 {catalog::parameter(queue), catalog::parameter(int64{number}),
						  catalog::parameter(int64{below}), catalog::parameter(at)}) != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("segment " INT64_FORMAT " of queue %d is gone, or in use again", int64{number}, queue)));
}

bool
lock_for_drain(int32 queue, core::SegmentNumber number)
{
	Tables const tables = find_tables(queue, number);
	return OidIsValid(tables.outcomes) && ConditionalLockRelationOid(tables.outcomes, ShareLock);
}

bool
reopen_segment(int32 queue, core::SegmentNumber number)
{
	// With this lock in hand, whoever marked the segment drained has committed, and its callback has run.
	OpenTable const outcomes = open_table(queue, number, &Tables::outcomes, RowExclusiveLock);
	if (outcomes.table == nullptr)
		return false;
	table_close(outcomes.table, NoLock);
	if (outcomes.tables.outcomes == find_tables(queue, stay).outcomes)
		return true;
	Segments const segments = all_segments(queue);
	int i = 0;
	while (i < segments.count && segments.segment[i].number != number)
		i++;
	if (i == segments.count)
		return false;
	return segments.segment[i].drained_at == core::wall_never ||
		   catalog::execute("UPDATE onceq.segment SET drained_at = NULL"
							" WHERE queue_id = $1 AND number = $2 AND archived_below IS NULL",
							{catalog::parameter(queue), catalog::parameter(int64{number})}) == 1;
}

bool
lock_for_drop(int32 queue, core::SegmentNumber number)
{
	Tables const tables = find_tables(queue, number);
	if (!OidIsValid(tables.jobs))
		return false;
	Relations locked{};
	if (try_lock_with_toast(locked, tables.jobs) && try_lock_with_toast(locked, tables.outcomes) &&
		try_lock_with_toast(locked, tables.results))
		return true;
	// Given back at once: the caller's transaction may go on with other queues.
	for (int i = 0; i < locked.count; i++)
		UnlockRelationOid(locked.oid[i], AccessExclusiveLock);
	return false;
}

void
drop_segment(int32 queue, core::SegmentNumber number)
{
	execute_for(queue, number, "DROP TABLE onceq_data.j?, onceq_data.o?, onceq_data.r?");
	catalog::execute("DELETE FROM onceq.segment WHERE queue_id = $1 AND number = $2",
					 {catalog::parameter(queue), catalog::parameter(int64{number})});
}

void
leave_remains(int32 queue, core::SegmentNumber number, core::Wall now)
{
	execute_for(queue, number, renaming_to_old);
	if (catalog::execute("UPDATE onceq.segment SET number = $3, drained_at = $4 WHERE queue_id = $1 AND number = $2",
						 {catalog::parameter(queue), catalog::parameter(int64{number}),
						  catalog::parameter(int64{remains_of(number)}), catalog::parameter(now)}) != 1)
		elog(ERROR, "segment " INT64_FORMAT " of queue %d is missing from the catalog", int64{number}, queue);
}

void
create_stay(int32 queue)
{
	execute_for(queue, stay, tables_of_segment);
	execute_for(queue, stay, settings_of_stay);
}

void
drop_stay(int32 queue)
{
	execute_for(queue, stay, "DROP TABLE onceq_data.j?, onceq_data.o?, onceq_data.r?");
}

} // namespace onceq::store
