// SPDX-License-Identifier: PostgreSQL
#include "worker/session.hpp"

extern "C" {
#include <catalog/pg_extension.h>
#include <commands/dbcommands.h> // get_database_name until PostgreSQL 18
#include <commands/extension.h>
#include <pgstat.h>
#include <postmaster/bgworker.h>
#include <storage/lock.h>
#include <utils/guc.h>
#include <utils/inval.h>
#include <utils/lsyscache.h> // get_database_name from PostgreSQL 19 on
}

namespace onceq::worker {

namespace {

struct Setting
{
	char const *name;
	char const *value;
};

// What users may have set for the database or for all roles must not reach our processes.
constexpr Setting session_settings[] = {
	{"default_transaction_deferrable", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"idle_in_transaction_session_timeout", "0"},
	{"lock_timeout", "100ms"},
	{"search_path", ""},
	{"session_replication_role", "origin"},
	{"statement_timeout", "30s"},
#if PG_VERSION_NUM >= 170000
	{"transaction_timeout", "0"},
#endif
	{"zero_damaged_pages", "off"},
};

} // namespace

void
open_session(Oid database, Oid role, char const *application)
{
	uint32 flags = 0;
#if PG_VERSION_NUM >= 170000
	flags |= BGWORKER_BYPASS_ROLELOGINCHECK;
#endif
	BackgroundWorkerInitializeConnectionByOid(database, role, flags);
	for (Setting const &setting : session_settings)
		SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
	pgstat_report_appname(application);
}

Oid
find_extension(char *name)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	Oid const extension = get_extension_oid("onceq", true);
	char const *const database = get_database_name(MyDatabaseId);
	strlcpy(name, database != nullptr ? database : "", NAMEDATALEN);
	CommitTransactionCommand();
	return extension;
}

Extension
lock_extension(Oid expected)
{
	LOCKTAG tag;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, expected, 0);
	if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return Extension::busy;
	AcceptInvalidationMessages();
	Oid const extension = get_extension_oid("onceq", true);
	return extension == expected ? Extension::present : OidIsValid(extension) ? Extension::replaced : Extension::gone;
}

} // namespace onceq::worker
