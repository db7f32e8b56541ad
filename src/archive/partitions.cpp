// SPDX-License-Identifier: PostgreSQL
#include "archive/partitions.hpp"

#include "archive/batch.hpp"
#include "base/fault.hpp"
#include "base/owner.hpp"
#include "base/scope.hpp"
#include "catalog/statement.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/partition.h>
#include <catalog/pg_class.h>
#include <catalog/pg_inherits.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <partitioning/partbounds.h>
#include <partitioning/partdesc.h>
#include <utils/date.h>
#include <utils/fmgroids.h>
#include <utils/fmgrprotos.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
#include <utils/syscache.h>
}

namespace onceq::archive {

namespace {

// Who waits for a lock on a table keeps all others waiting who come after.
constexpr char const *detach_lock_timeout = "100ms";
// Not so for transactions to end that have seen the partition.
constexpr char const *finalize_lock_timeout = "10s";

enum NoteColumn : AttrNumber
{
	note_partition = 1,
	note_source,
	note_bounds,
	note_column_count = note_bounds,
};

struct Note
{
	Oid source;
	PartitionMove move;
	List *outdated; // partitions whose notes mean nothing any more
};

// ---- notes

void
delete_note(Oid partition)
{
	catalog::execute("DELETE FROM onceq.archive_partition WHERE partition OPERATOR(pg_catalog.=) $1",
					 {{REGCLASSOID, ObjectIdGetDatum(partition), false}});
}

void
insert_note(Oid partition, Oid source, char const *bounds)
{
	catalog::execute("INSERT INTO onceq.archive_partition (partition, source, bounds) VALUES ($1, $2, $3)",
					 {{REGCLASSOID, ObjectIdGetDatum(partition), false},
					  {REGCLASSOID, ObjectIdGetDatum(source), false},
					  {TEXTOID, CStringGetTextDatum(bounds), false}});
}

// One that is attached as ever is chosen anew, if it still is old enough.
bool
read_note(HeapTuple row, TupleDesc desc, void *argument)
{
	Note &note = *static_cast<Note *>(argument);
	Datum values[note_column_count];
	bool nulls[note_column_count];
	catalog::deform(row, desc, note_column_count, values, nulls);
	if (DatumGetObjectId(values[note_source - 1]) != note.source)
		return true;
	Oid const partition = DatumGetObjectId(values[note_partition - 1]);
	bool const exists = SearchSysCacheExists1(RELOID, ObjectIdGetDatum(partition));
	bool const attached = exists && get_rel_relispartition(partition);
	if (!exists || (attached && !PartitionHasPendingDetach(partition)))
		note.outdated = lappend_oid(note.outdated, partition);
	else if (note.move.move == Move::none)
		note.move = {attached ? Move::finalize : Move::hand_over, partition, false,
					 TextDatumGetCString(values[note_bounds - 1])};
	return true;
}

PartitionMove
noted_move(Source const &source)
{
	Note note{source.oid, {Move::none, InvalidOid, false, nullptr}, NIL};
	{
		base::RelationScope const table(catalog::catalog_oid("archive_partition"), AccessShareLock);
		catalog::scan_rows(table, nullptr, 0, InvalidOid, Datum{0}, read_note, &note);
	}
	ListCell *cell;
	foreach (cell, note.outdated)
		delete_note(lfirst_oid(cell));
	return note.move;
}

// ---- partitions

bool
is_at_most(Datum bound, Datum cutoff, Oid type)
{
	if (type == DATEOID)
		return DatumGetDateADT(bound) <= DatumGetDateADT(cutoff);
	return DatumGetTimestampTz(bound) <= DatumGetTimestampTz(cutoff);
}

// The first partition whose upper bound, which is not in it, is not after the cutoff.
Oid
find_old_partition(PartitionDesc desc, Datum cutoff, Oid type)
{
	PartitionBoundInfo const bounds = desc->boundinfo;
	if (bounds == nullptr)
		return InvalidOid;
	for (int i = 0; i < bounds->ndatums; i++)
		if (bounds->indexes[i] >= 0 && bounds->kind[i][0] == PARTITION_RANGE_DATUM_VALUE &&
			is_at_most(bounds->datums[i][0], cutoff, type))
			return desc->oids[bounds->indexes[i]];
	return InvalidOid;
}

char *
bounds_of(Oid partition)
{
	HeapTuple const tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(partition));
	bool is_null = true;
	Datum bounds = 0;
	if (HeapTupleIsValid(tuple))
		bounds = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &is_null);
	if (is_null)
		elog(ERROR, "partition %u has no bounds", partition);
	char *const expression = TextDatumGetCString(DirectFunctionCall2(pg_get_expr, bounds, ObjectIdGetDatum(partition)));
	ReleaseSysCache(tuple);
	return expression;
}

void
execute(char const *sql)
{
	base::SpiScope const spi;
	if (int const result = SPI_execute(sql, false, 0); result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

} // namespace

bool
moves_partitions(Policy const &policy, Source const &source)
{
	if (!source.split_by_age)
		return false;
	if (!policy.keeps_rows())
		return true;
	Oid const archive = catalog::find_relation(NameStr(policy.archive_schema), NameStr(policy.archive_table));
	return OidIsValid(archive) && get_rel_relkind(archive) == RELKIND_PARTITIONED_TABLE &&
		   inspect_source(archive, NameStr(policy.age_column)).split_by_age;
}

Oid
default_partition_of(Source const &source)
{
	return get_default_partition_oid(source.oid);
}

PartitionMove
next_move(Policy const &policy, Source const &source, Datum cutoff)
{
	PartitionMove const noted = noted_move(source);
	if (noted.move != Move::none)
		return noted;
	base::AsRole as(role_of(policy, source));
	// As literals that mean the same whatever the settings are when they are read.
	base::set_locally("datestyle", "ISO, YMD");
	base::RelationScope const relation(source.oid, AccessShareLock);
	Oid const partition = find_old_partition(RelationGetPartitionDesc(relation, true), cutoff, source.age_type);
	char *const bounds = OidIsValid(partition) ? bounds_of(partition) : nullptr;
	as.finish();
	if (!OidIsValid(partition))
		return {Move::none, InvalidOid, false, nullptr};
	insert_note(partition, source.oid, bounds);
	FAULT_POINT("archive partition: after note");
	return {Move::detach, partition, !OidIsValid(default_partition_of(source)), bounds};
}

char *
detach_command(Source const &source, PartitionMove const &move, bool concurrently)
{
	return psprintf("ALTER TABLE %s DETACH PARTITION %s%s", qualified_name(source.oid), qualified_name(move.partition),
					move.move == Move::finalize ? " FINALIZE"
					: concurrently              ? " CONCURRENTLY"
												: "");
}

void
detach(Policy const &policy, Source const &source, PartitionMove const &move)
{
	base::AsRole as(role_of(policy, inspect_source(source.oid, NameStr(policy.age_column))));
	base::set_locally("lock_timeout", move.move == Move::finalize ? finalize_lock_timeout : detach_lock_timeout);
	execute(detach_command(source, move, false));
	FAULT_POINT("archive partition: after detach");
	as.finish();
}

void
hand_over(Policy const &policy, Source const &source, PartitionMove const &move)
{
	base::AsRole as(role_of(policy, inspect_source(source.oid, NameStr(policy.age_column))));
	base::set_locally("lock_timeout", "1s");
	base::set_locally("datestyle", "ISO, YMD");
	char const *const partition = qualified_name(move.partition);
	Oid const archive = archive_of(policy, source);
	if (OidIsValid(archive))
		execute(psprintf("ALTER TABLE %s ATTACH PARTITION %s %s", qualified_name(archive), partition, move.bounds));
	else
		execute(psprintf("DROP TABLE %s", partition));
	as.finish();
	delete_note(move.partition);
	FAULT_POINT("archive partition: after hand-over");
}

} // namespace onceq::archive
