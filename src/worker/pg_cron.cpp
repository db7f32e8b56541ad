// SPDX-License-Identifier: PostgreSQL
// pg_cron in the place of the worker: it calls the procedures that do the worker's chores.
#include <initializer_list>

#include "base/require.hpp"
#include "base/scope.hpp"
#include "base/settings.hpp"
#include "base/wall.hpp"
#include "catalog/catalog.hpp"

extern "C" {
#include <catalog/pg_database.h> // get_database_oid from PostgreSQL 19 on
#include <catalog/pg_type.h>
#include <commands/dbcommands.h> // get_database_name, get_database_oid until PostgreSQL 18
#include <commands/extension.h>
#include <utils/guc.h>
#include <utils/lsyscache.h> // get_database_name from PostgreSQL 19 on
}

namespace onceq::worker {

namespace {

struct Job
{
	char const *name;
	char const *command;
};

// In the order of use_pg_cron's arguments.
constexpr Job jobs[] = {
	{"recover", "CALL onceq.recover()"},
	{"maintain", "CALL onceq.maintain()"},
	{"archive", "CALL onceq.archive()"},
};
constexpr int job_count = static_cast<int>(lengthof(jobs));

void
require_pg_cron()
{
	if (!OidIsValid(get_extension_oid("pg_cron", true)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension pg_cron is not installed in this database"),
				 errhint("Preload pg_cron, and CREATE EXTENSION pg_cron in the database that cron.database_name names."
						 " Jobs for other databases are registered there, too.")));
}

char const *
database_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return get_database_name(MyDatabaseId);
	char const *const database = NameStr(*PG_GETARG_NAME(number));
	get_database_oid(database, false);
	return database;
}

// A name of pg_cron is unique among all databases, and no longer than theirs.
char const *
name_of(Job const &job, char const *database)
{
	return strlen(database) <= NAMEDATALEN / 2
			   ? psprintf("onceq %s %s", job.name, database)
			   : psprintf("onceq %s database %u", job.name, get_database_oid(database, false));
}

// As the current user, so that pg_cron's own rules hold for him; with names of no path but the system's.
uint64
execute_for_user(char const *sql, std::initializer_list<char const *> arguments)
{
	Oid types[4];
	Datum values[4];
	int count = 0;
	for (char const *const argument : arguments)
	{
		types[count] = TEXTOID;
		values[count++] = CStringGetTextDatum(argument);
	}
	int const level = NewGUCNestLevel();
	set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
					  false);
	base::SpiScope const spi;
	int const result = SPI_execute_with_args(sql, count, types, values, nullptr, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	AtEOXact_GUC(false, level);
	return SPI_processed;
}

void
schedule(Job const &job, char const *schedule, char const *database)
{
	if (strcmp(database, get_database_name(MyDatabaseId)) == 0)
		execute_for_user("SELECT cron.schedule($1, $2, $3)", {name_of(job, database), schedule, job.command});
	else
		execute_for_user("SELECT cron.schedule_in_database($1, $2, $3, $4)",
						 {name_of(job, database), schedule, job.command, database});
}

// Those the user may see: his own, and all for a superuser.
uint64
unschedule(char const *database)
{
	uint64 count = 0;
	for (Job const &job : jobs)
		count += execute_for_user("SELECT cron.unschedule(jobid) FROM cron.job"
								  " WHERE jobname = $1::pg_catalog.name AND database = $2",
								  {name_of(job, database), database});
	return count;
}

} // namespace

// use_pg_cron(recover, maintain, archive, database) returns int
ONCEQ_FUNCTION(onceq_use_pg_cron)
{
	base::require_writable("onceq.use_pg_cron()");
	catalog::require_administrator("register jobs of pg_cron");
	require_pg_cron();
	char const *const database = database_argument(fcinfo, job_count);
	unschedule(database);
	int count = 0;
	for (int i = 0; i < job_count; i++)
		if (!PG_ARGISNULL(i))
		{
			schedule(jobs[i], text_to_cstring(PG_GETARG_TEXT_PP(i)), database);
			count++;
		}
	if (count > 0 && !base::settings.worker_passive)
		ereport(NOTICE, (errmsg("the worker does these chores, too"),
						 errhint("ALTER SYSTEM SET onceq.worker_passive = on; SELECT pg_reload_conf();")));
	PG_RETURN_INT32(count);
}

// leave_pg_cron(database) returns int
ONCEQ_FUNCTION(onceq_leave_pg_cron)
{
	base::require_writable("onceq.leave_pg_cron()");
	catalog::require_administrator("remove jobs of pg_cron");
	require_pg_cron();
	uint64 const count = unschedule(database_argument(fcinfo, 0));
	if (count > 0 && base::settings.worker_passive)
		ereport(NOTICE, (errmsg("the worker is passive: nobody does its chores now"),
						 errhint("ALTER SYSTEM RESET onceq.worker_passive; SELECT pg_reload_conf();")));
	PG_RETURN_INT32(static_cast<int32>(count));
}

} // namespace onceq::worker
