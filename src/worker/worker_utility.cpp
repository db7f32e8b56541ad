// SPDX-License-Identifier: PostgreSQL
// Statements that concern a database's worker.
//
// Some need a database without sessions: its worker is asked to leave first.
// PostgreSQL looks for sessions after it has locked the database, and nobody can connect from then on.
// So the worker is held off for the short time between, whatever becomes of the statement; what the
// statement may not do, PostgreSQL says.
#include "core/time.hpp"

#include "base/postgres.hpp"
#include "catalog/catalog.hpp"
#include "notify/notify.hpp"
#include "notify/slots.hpp"
#include "worker/archiver.hpp"
#include "worker/worker.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_authid.h>
#include <catalog/pg_database.h>
#include <commands/dbcommands.h>
#include <commands/defrem.h>
#include <commands/extension.h>
#include <nodes/parsenodes.h>
#include <tcop/utility.h>
#include <utils/acl.h>
#include <utils/syscache.h>
}

namespace onceq::worker {

namespace {

// As long as PostgreSQL waits for sessions to leave.
constexpr core::Microseconds patience = 5 * core::microseconds_per_second;

constinit ProcessUtility_hook_type previous_hook = nullptr;

bool
owns(Oid database)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, GetUserId());
#else
	return pg_database_ownercheck(database, GetUserId());
#endif
}

bool
is_template(Oid database)
{
	HeapTuple const tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(tuple))
		return false;
	bool const result = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}

bool
may_create_databases()
{
	HeapTuple const tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	bool const result = reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return result || superuser();
}

// The value of an option; nullptr: it is not given.
char const *
find_option(List *options, char const *name)
{
	ListCell *cell;
	foreach (cell, options)
	{
		auto *const option = static_cast<DefElem *>(lfirst(cell));
		if (strcmp(option->defname, name) == 0 && option->arg != nullptr)
			return defGetString(option);
	}
	return nullptr;
}

// The database if its owner has been asked for, and the user is that.
Oid
owned_database(char const *name)
{
	Oid const database = name == nullptr ? InvalidOid : get_database_oid(name, true);
	return OidIsValid(database) && owns(database) ? database : InvalidOid;
}

Oid
database_to_copy(CreatedbStmt *statement)
{
	char const *const name = find_option(statement->options, "template");
	Oid const database = get_database_oid(name != nullptr ? name : "template1", true);
	bool const allowed = OidIsValid(database) && may_create_databases() && (is_template(database) || owns(database));
	return allowed ? database : InvalidOid;
}

// The database a statement needs for itself and the user may use so; InvalidOid: none.
Oid
database_needed_by(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return owned_database(reinterpret_cast<DropdbStmt *>(statement)->dbname);
		case T_CreatedbStmt:
			return database_to_copy(reinterpret_cast<CreatedbStmt *>(statement));
		case T_AlterDatabaseStmt:
		{
			auto *const alter = reinterpret_cast<AlterDatabaseStmt *>(statement);
			return find_option(alter->options, "tablespace") != nullptr ? owned_database(alter->dbname) : InvalidOid;
		}
		case T_RenameStmt:
		{
			auto *const rename = reinterpret_cast<RenameStmt *>(statement);
			return rename->renameType == OBJECT_DATABASE ? owned_database(rename->subname) : InvalidOid;
		}
		default:
			return InvalidOid;
	}
}

// What becomes of the extension by a statement. It stands here because the statement is not to be
// looked at after it has run: a COMMIT in it may have freed it.
enum class Change
{
	none,
	extension_created, // some extension, with all it requires
	extension_dropped,
	extension_updated, // onceq itself
	database_created,
};

Change
change_by(Node *statement)
{
	if (IsA(statement, CreateExtensionStmt))
		return Change::extension_created;
	if (IsA(statement, CreatedbStmt))
		return Change::database_created;
	if (IsA(statement, AlterExtensionStmt))
		return strcmp(reinterpret_cast<AlterExtensionStmt *>(statement)->extname, "onceq") == 0
				   ? Change::extension_updated
				   : Change::none;
	bool const drops =
		IsA(statement, DropStmt) && reinterpret_cast<DropStmt *>(statement)->removeType == OBJECT_EXTENSION;
	return drops ? Change::extension_dropped : Change::none;
}

// Where a worker is wanted now, or is to find out that it is not any more; InvalidOid: nowhere.
Oid
database_to_wake(Change change, char const *created_database)
{
	switch (change)
	{
		case Change::none:
			return InvalidOid;
		case Change::extension_updated:
			catalog::announce_update();
			return MyDatabaseId;
		case Change::extension_created:
			return OidIsValid(get_extension_oid("onceq", true)) ? MyDatabaseId : InvalidOid;
		case Change::extension_dropped:
			return notify::worker_pid(MyDatabaseId) != 0 ? MyDatabaseId : InvalidOid;
		case Change::database_created:
			CommandCounterIncrement();
			return get_database_oid(created_database, true);
	}
	pg_unreachable();
}

void
run_statement(PlannedStmt *statement, char const *text, bool read_only_tree, ProcessUtilityContext context,
			  ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion)
{
	Oid const needed = database_needed_by(statement->utilityStmt);
	Change change = change_by(statement->utilityStmt);
	char created_database[NAMEDATALEN] = "";

	if (change == Change::database_created)
		strlcpy(created_database, reinterpret_cast<CreatedbStmt *>(statement->utilityStmt)->dbname,
				sizeof(created_database));
	bool const has_extension = OidIsValid(needed) && notify::hold_off(needed);
	if (OidIsValid(needed))
	{
		notify::wait_until_left(needed, patience);
		send_archiver_away(needed, patience); // only a worker could start the next one
	}
	if (change == Change::database_created && !has_extension)
		change = Change::none; // nor has the copy

	(previous_hook != nullptr ? previous_hook : standard_ProcessUtility)(statement, text, read_only_tree, context,
																		 params, environment, receiver, completion);

	if (Oid const database = database_to_wake(change, created_database); OidIsValid(database))
		notify::wake_worker_at_commit(database);
}

} // namespace

void
install_hooks()
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = run_statement;
}

} // namespace onceq::worker
