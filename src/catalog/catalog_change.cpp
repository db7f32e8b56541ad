// SPDX-License-Identifier: PostgreSQL
#include "core/queue_name.hpp"
#include "core/segment_plan.hpp"

#include "base/clock.hpp"
#include "base/scope.hpp"
#include "catalog/catalog.hpp"
#include "catalog/identity.hpp"
#include "catalog/options.hpp"
#include "catalog/statement.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_type.h>
#include <commands/extension.h>
#include <lib/stringinfo.h>
#include <storage/lmgr.h>
#include <utils/fmgroids.h>
}

namespace onceq::catalog {

namespace {

void
require_queue_name(text const *name)
{
	std::string_view const view(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (!core::is_queue_name(view))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("this cannot be the name of a queue"),
						errdetail("A name is 1 to %d characters long, begins with a letter a to z, and goes on with"
								  " letters a to z, digits, \"_\", \".\" or \"-\".",
								  core::queue_name_length_max),
						errhint("Choose another name, such as \"mail.welcome\".")));
}

int64
random_incarnation()
{
	int64 incarnation;
	if (!pg_strong_random(&incarnation, sizeof(incarnation)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random number")));
	return incarnation;
}

// 0: another live queue has the name, or gets it now; whoever comes second waits for the first.
int32
insert_queue(text const *name, Options const &options)
{
	constexpr int count = 2 + option_count;
	Parameter parameters[count] = {{TEXTOID, PointerGetDatum(name), false}, parameter(random_incarnation())};
	StringInfoData columns;
	StringInfoData values;
	initStringInfo(&columns);
	initStringInfo(&values);
	for (int i = 0; i < option_count; i++)
	{
		parameters[2 + i] = option_parameter(options, i);
		appendStringInfo(&columns, ", %s", option_name(i));
		appendStringInfo(&values, ", $%d", 3 + i);
	}
	return execute_returning(psprintf("INSERT INTO onceq.queue (name, incarnation%s) VALUES ($1, $2%s)"
									  " ON CONFLICT (name) WHERE dropped_at IS NULL DO NOTHING RETURNING id",
									  columns.data, values.data),
							 parameters, count);
}

void
create_anchor(int32 queue)
{
	// Administrators hold the grant options, so that whoever of them granted, another can revoke.
	char sql[256];
	snprintf(sql, sizeof(sql),
			 "CREATE TABLE onceq_data.q%d ();"
			 " GRANT ALL ON TABLE onceq_data.q%d TO onceq_admin WITH GRANT OPTION",
			 queue, queue);
	execute_ddl(sql);
}

void
require_one(uint64 rows, int32 queue)
{
	if (rows != 1)
		elog(ERROR, "queue %d is missing from the catalog", queue);
}

void
update_one(char const *sql, std::initializer_list<Parameter> parameters, int32 queue)
{
	require_one(execute(sql, parameters), queue);
}

} // namespace

int32
create_queue(text const *name, Options const &options)
{
	require_queue_name(name);
	// The tables would become members of that extension, and pg_dump would leave the jobs out.
	if (creating_extension)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a queue cannot be created by the script of an extension"),
						errhint("Create it after CREATE EXTENSION.")));
	record_identity();
	int32 const queue = insert_queue(name, options);
	if (queue == 0)
		return 0;
	execute("INSERT INTO onceq.id_ceiling (queue_id, ceiling, step, raised_at) VALUES ($1, $2, $3, $4)",
			{parameter(queue), parameter(int64{1 + core::ceiling_step_min}), parameter(int64{core::ceiling_step_min}),
			 parameter(base::now_wall())});
	create_anchor(queue);
	record_archive(queue, options);
	announce_change("queue");
	return queue;
}

void
alter_queue(int32 queue, Options const &options)
{
	Parameter parameters[1 + option_count] = {parameter(queue)};
	int count = 1;
	StringInfoData sql;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "UPDATE onceq.queue SET");
	for (int i = 0; i < option_count; i++)
		if (!options.is_null[i])
		{
			parameters[count++] = option_parameter(options, i);
			appendStringInfo(&sql, "%s %s = $%d", count == 2 ? "" : ",", option_name(i), count);
		}
	appendStringInfoString(&sql, " WHERE id = $1");
	if (count > 1)
		require_one(execute(sql.data, parameters, count), queue);
	record_archive(queue, options);
	announce_change("queue");
}

void
set_paused(int32 queue, bool paused)
{
	update_one("UPDATE onceq.queue SET paused = $2 WHERE id = $1", {parameter(queue), parameter(paused)}, queue);
	announce_change("queue");
}

void
mark_dropped(int32 queue)
{
	update_one("UPDATE onceq.queue SET dropped_at = $2 WHERE id = $1", {parameter(queue), parameter(base::now_wall())},
			   queue);
	announce_change("queue");
}

bool
forget_queue(int32 queue)
{
	Oid const anchor = find_anchor(queue);
	if (OidIsValid(anchor))
	{
		if (!ConditionalLockRelationOid(anchor, AccessExclusiveLock))
			return false;
		char sql[64];
		snprintf(sql, sizeof(sql), "DROP TABLE onceq_data.q%d", queue);
		execute_ddl(sql);
	}
	execute("DELETE FROM onceq.segment WHERE queue_id = $1", {parameter(queue)});
	execute("DELETE FROM onceq.job_archive WHERE queue_id = $1", {parameter(queue)});
	execute("DELETE FROM onceq.unique_key WHERE queue_id = $1", {parameter(queue)});
	execute("DELETE FROM onceq.lease_journal WHERE queue_id = $1", {parameter(queue)});
	execute("DELETE FROM onceq.id_ceiling WHERE queue_id = $1", {parameter(queue)});
	execute("DELETE FROM onceq.queue WHERE id = $1", {parameter(queue)});
	announce_change("queue");
	return true;
}

// ---- the id ceiling

namespace {

struct CeilingReading
{
	Ceiling ceiling;
	bool found;
};

bool
read_ceiling_row(HeapTuple row, TupleDesc desc, void *argument)
{
	auto &reading = *static_cast<CeilingReading *>(argument);
	Datum values[ceiling_column_count];
	bool nulls[ceiling_column_count];
	deform(row, desc, ceiling_column_count, values, nulls);
	reading.ceiling = {DatumGetInt64(values[ceiling_ceiling - 1]), DatumGetInt64(values[ceiling_step - 1]),
					   core::Wall{DatumGetTimestampTz(values[ceiling_raised_at - 1])}};
	reading.found = true;
	return false;
}

} // namespace

Ceiling
read_ceiling(int32 queue)
{
	CeilingReading reading{};
	base::RelationScope const table(catalog_oid("id_ceiling"), AccessShareLock);
	scan_rows(table, "id_ceiling_pkey", ceiling_queue_id, F_INT4EQ, Int32GetDatum(queue), read_ceiling_row, &reading);
	if (!reading.found)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the queue was dropped meanwhile")));
	return reading.ceiling;
}

void
raise_ceiling(int32 queue, core::JobId value, core::JobId step)
{
	// Whoever raises it at the same time may have gone further already.
	update_one("UPDATE onceq.id_ceiling SET ceiling = greatest(ceiling, $2), step = $3, raised_at = $4"
			   " WHERE queue_id = $1",
			   {parameter(queue), parameter(int64{value}), parameter(int64{step}), parameter(base::now_wall())}, queue);
	ForceSyncCommit();
}

} // namespace onceq::catalog
