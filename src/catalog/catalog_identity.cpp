// SPDX-License-Identifier: PostgreSQL
#include "catalog/identity.hpp"

#include "base/scope.hpp"
#include "base/version.hpp"
#include "catalog/catalog.hpp"
#include "catalog/statement.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <access/table.h>
#include <access/xlog.h>
#include <catalog/pg_extension.h>
#include <storage/lmgr.h>
#include <utils/builtins.h>
#include <utils/fmgroids.h>
#include <utils/inval.h>
}

namespace onceq::catalog {

namespace {

enum class Use
{
	none, // no queue was made yet
	here,
	elsewhere,     // restored or copied
	other_version, // its SQL objects are not of this library's version
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
	deform(row, desc, installation_column_count, values, nulls);
	reading.identity = {DatumGetInt64(values[installation_system_identifier - 1]),
						DatumGetInt64(values[installation_database - 1]),
						DatumGetInt64(values[installation_relation - 1])};
	reading.found = true;
	reading.written_here = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data));
	return false;
}

// Of the extension in this database; nullptr: it is not there. palloc'd.
char *
installed_version()
{
	base::RelationScope const table(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("onceq"));
	SysScanDesc const scan = systable_beginscan(table, ExtensionNameIndexId, true, nullptr, 1, &key);
	char *version = nullptr;
	if (HeapTuple const tuple = systable_getnext(scan); HeapTupleIsValid(tuple))
	{
		bool is_null;
		Datum const value =
			heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(static_cast<Relation>(table)), &is_null);
		version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	return version;
}

bool
is_other_version()
{
	char *const version = installed_version();
	bool const other = version != nullptr && strcmp(version, base::version) != 0;
	if (version != nullptr)
		pfree(version);
	return other;
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
	uint64 const changes = memory.changes;
	if (is_other_version())
		return Use::other_version;
	base::RelationScope const table(memory.table, AccessShareLock);
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
	execute("INSERT INTO onceq.installation (system_identifier, database, relation) VALUES ($1, $2, "
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

bool
is_refused()
{
	Use const use = look_up_use();
	return use == Use::elsewhere || use == Use::other_version;
}

void
require_adopted()
{
	Use const use = look_up_use();
	if (use == Use::other_version)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension onceq and the library of the server have different versions"),
						errdetail("The extension in this database is %s; the server has loaded %s.",
								  installed_version(), base::version),
						errhint("After new files were installed, restart the server and run"
								" ALTER EXTENSION onceq UPDATE in each database.")));
	if (use == Use::elsewhere)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the queues of this database are in use elsewhere"),
						errdetail("The database was restored, copied or upgraded: its jobs may still be done"
								  " by the original."),
						errhint("To use them here: SELECT onceq.adopt();")));
}

void
announce_update()
{
	memory.is_here = false;
	if (OidIsValid(find_catalog_oid("installation")))
		announce_change("installation");
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
	Use const use = look_up_use();
	if (use == Use::other_version)
		require_adopted();
	if (use != Use::elsewhere)
		return false;
	execute("DELETE FROM onceq.installation", {});
	insert_identity();
	if (!keep_leases)
		execute("DELETE FROM onceq.lease_journal", {});
	return true;
}

} // namespace onceq::catalog
