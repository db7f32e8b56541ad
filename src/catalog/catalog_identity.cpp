// SPDX-License-Identifier: PostgreSQL
#include "catalog/identity.hpp"

#include "base/scope.hpp"
#include "catalog/catalog.hpp"
#include "catalog/statement.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <access/xlog.h>
#include <storage/lmgr.h>
#include <utils/inval.h>
}

namespace onceq::catalog {

namespace {

enum class Use
{
	none, // no queue was made yet
	here,
	elsewhere, // restored or copied
};

struct Memory
{
	Oid table; // onceq.installation, whose invalidation is watched
	uint64 changes;
	bool is_here; // committed; all else is looked up each time
	bool is_watching;
};
constinit Memory memory{};

void
note_change(Datum, Oid relation)
{
	if (relation == InvalidOid || relation == memory.table)
	{
		memory.changes++;
		memory.is_here = false;
	}
}

struct Identity
{
	int64 system_identifier;
	int64 database;
	int64 relation;

	friend bool operator==(Identity const &, Identity const &) = default;
};

Identity
identity_here()
{
	return {static_cast<int64>(GetSystemIdentifier()), int64{MyDatabaseId}, int64{memory.table}};
}

struct Reading
{
	Identity identity;
	bool found;
	bool written_here;
};

bool
read_row(HeapTuple row, TupleDesc desc, void *argument)
{
	Reading &reading = *static_cast<Reading *>(argument);
	Datum values[installation_column_count];
	bool nulls[installation_column_count];
	heap_deform_tuple(row, desc, values, nulls);
	reading.identity = {DatumGetInt64(values[installation_system_identifier - 1]),
						DatumGetInt64(values[installation_database - 1]),
						DatumGetInt64(values[installation_relation - 1])};
	reading.found = true;
	reading.written_here = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data));
	return false;
}

Use
look_up_use()
{
	if (memory.is_here)
		return Use::here;
	if (!memory.is_watching)
	{
		CacheRegisterRelcacheCallback(note_change, Datum{0});
		memory.is_watching = true;
	}
	memory.table = find_catalog_oid("installation");
	if (!OidIsValid(memory.table))
		return Use::none;
	Reading reading{};
	base::RelationScope const table(memory.table, AccessShareLock);
	uint64 const changes = memory.changes;
	scan_rows(table, nullptr, 0, InvalidOid, Datum{0}, read_row, &reading);
	if (!reading.found) // a dump may have left the row out
		return all_queues().count == 0 ? Use::none : Use::elsewhere;
	if (reading.identity != identity_here())
		return Use::elsewhere;
	memory.is_here = !reading.written_here && changes == memory.changes;
	return Use::here;
}

void
insert_identity()
{
	Identity const here = identity_here();
	execute(
		"INSERT INTO onceq.installation (system_identifier, database, relation) VALUES ($1, $2, "
		"$3)",
		{parameter(here.system_identifier), parameter(here.database), parameter(here.relation)});
	announce_change("installation");
}

} // namespace

bool
is_adopted()
{
	return look_up_use() == Use::here;
}

void
require_adopted()
{
	if (look_up_use() == Use::elsewhere)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the queues of this database are in use elsewhere"),
			 errdetail("The database was restored, copied or upgraded: its jobs may still be done"
					   " by the original."),
			 errhint("To use them here: SELECT onceq.adopt();")));
}

void
record_identity()
{
	require_adopted();
	if (is_adopted())
		return;
	// Two first queues at once: the second waits, and then finds the row of the first.
	LockRelationOid(catalog_oid("installation"), ShareRowExclusiveLock);
	require_adopted();
	if (!is_adopted())
		insert_identity();
}

bool
adopt(bool keep_leases)
{
	LockRelationOid(catalog_oid("installation"), ShareRowExclusiveLock);
	if (look_up_use() != Use::elsewhere)
		return false;
	execute("DELETE FROM onceq.installation", {});
	insert_identity();
	if (!keep_leases)
		execute("DELETE FROM onceq.lease_journal", {});
	return true;
}

} // namespace onceq::catalog
