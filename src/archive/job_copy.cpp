// SPDX-License-Identifier: PostgreSQL
#include "archive/job_copy.hpp"

#include "archive/tables.hpp"
#include "base/fault.hpp"
#include "base/owner.hpp"
#include "base/scope.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <catalog/namespace.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <nodes/primnodes.h>
#include <storage/lmgr.h>
#include <utils/lsyscache.h>
#include <utils/varlena.h>
}

namespace onceq::archive {

namespace {

constexpr char const *batch_lock_timeout = "1s";

enum JobArchiveColumn
{
	copy_queue,
	copy_id,
	copy_state,
	copy_priority,
	copy_attempts,
	copy_enqueued_at,
	copy_run_at,
	copy_finished_at,
	copy_worker,
	copy_ordering_key,
	copy_payload,
	copy_headers,
	copy_result,
	copy_error,
	copy_column_count,
};

// No unique key: a queue that is dropped and made anew counts from 1 again.
constexpr char columns_of_archive[] =
	"(queue text COLLATE \"C\" NOT NULL, id bigint NOT NULL, state text NOT NULL, priority int NOT NULL,"
	" attempts int NOT NULL, enqueued_at timestamptz NOT NULL, run_at timestamptz, finished_at timestamptz"
	" NOT NULL, worker text, ordering_key text, payload jsonb NOT NULL, headers jsonb, result jsonb, error text)";

constexpr char insert_columns[] =
	"(queue, id, state, priority, attempts, enqueued_at, run_at, finished_at, worker, ordering_key, payload,"
	" headers, result, error) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

struct Copy
{
	catalog::Queue const &queue;
	store::EndList const &ends;
	core::SegmentNumber tables;
	SPIPlanPtr plan;
	MemoryContext context; // of one job
	char const *table;
	int64 left;
	Copied copied;
};

struct Row
{
	Datum values[copy_column_count];
	char nulls[copy_column_count];

	void
	set(JobArchiveColumn column, Datum value)
	{
		values[column] = value;
		nulls[column] = ' ';
	}

	void
	set(JobArchiveColumn column, text const *value)
	{
		if (value != nullptr)
			set(column, PointerGetDatum(value));
	}

	void
	set(JobArchiveColumn column, char const *value)
	{
		if (value != nullptr)
			set(column, CStringGetTextDatum(value));
	}
};

void
set_job(Row &row, catalog::Queue const &queue, store::Job const &job)
{
	row.set(copy_queue, queue.name);
	row.set(copy_id, Int64GetDatum(job.id));
	row.set(copy_priority, Int32GetDatum(job.priority));
	row.set(copy_enqueued_at, TimestampTzGetDatum(job.enqueued_at.us));
	if (job.run_at != core::wall_always)
		row.set(copy_run_at, TimestampTzGetDatum(job.run_at.us));
	row.set(copy_ordering_key, job.ordering_key);
	row.set(copy_payload, job.payload);
	if (job.has_headers)
		row.set(copy_headers, job.headers);
}

// false: it has not ended.
bool
set_end(Row &row, Copy const &copy, core::JobId id)
{
	store::History const history = store::read_history_in(copy.queue.id, copy.tables, id);
	row.set(copy_attempts, Int32GetDatum(history.failed_attempts));
	row.set(copy_error, history.detail);
	if (history.is_finished())
	{
		row.set(copy_state, history.last == store::Outcome::dead ? "dead" : "cancelled");
		row.set(copy_finished_at, TimestampTzGetDatum(history.at.us));
		row.set(copy_worker, history.worker);
		return true;
	}
	store::End const *const end = store::find_end(copy.ends, id);
	if (end == nullptr)
		return false;
	row.set(copy_finished_at, TimestampTzGetDatum(end->at.us));
	row.set(copy_worker, end->worker);
	bool const cancelled = end->outcome == store::Outcome::cancelled;
	row.set(copy_state, cancelled ? "cancelled" : "succeeded");
	Datum result;
	if (!cancelled)
		row.set(copy_attempts, Int32GetDatum(end->attempt));
	if (!cancelled && store::read_result_in(copy.queue.id, copy.tables, id, &result))
		row.set(copy_result, result);
	return true;
}

void
insert(Copy const &copy, Row &row)
{
	int const result = SPI_execute_plan(copy.plan, row.values, row.nulls, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	if (SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
						errmsg("archive \"%s\" did not take all jobs", copy.table),
						errhint("A trigger or rule of it drops rows.")));
}

bool
copy_job(store::Job const &job, void *argument)
{
	Copy &copy = *static_cast<Copy *>(argument);
	if (copy.left == 0)
		return false;
	CHECK_FOR_INTERRUPTS();
	base::MemoryContextScope const scope(copy.context);
	Row row;
	memset(row.nulls, 'n', sizeof(row.nulls));
	set_job(row, copy.queue, job);
	if (set_end(row, copy, job.id))
	{
		insert(copy, row);
		copy.copied.jobs++;
		copy.left--;
	}
	else if (copy.tables >= store::stay)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("job " INT64_FORMAT " of queue \"%s\" has no end", job.id, copy.queue.name),
						errdetail("Its segment has no unfinished jobs.")));
	MemoryContextReset(copy.context);
	copy.copied.next = job.id + 1;
	return true;
}

SPIPlanPtr
prepare_insert(Oid archive)
{
	Oid types[copy_column_count] = {TEXTOID,        INT8OID,        TEXTOID,        INT4OID, INT4OID,
									TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
									JSONBOID,       JSONBOID,       JSONBOID,       TEXTOID};
	char *const sql = psprintf("INSERT INTO %s %s", qualified_name(archive), insert_columns);
	SPIPlanPtr const plan = SPI_prepare(sql, copy_column_count, types);
	if (plan == nullptr)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

void
execute(char const *sql)
{
	if (int const result = SPI_execute(sql, false, 0); result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

// Locked, so that it keeps its owner. Requires: SPI is connected.
Oid
open_archive(JobTable const &table, Oid role)
{
	char const *const schema = NameStr(table.schema);
	char const *const name = NameStr(table.table);
	Oid archive = catalog::find_relation(schema, name);
	if (!OidIsValid(archive))
	{
		char const *const qualified = quote_qualified_identifier(schema, name);
		execute(psprintf("CREATE TABLE %s %s", qualified, columns_of_archive));
		execute(psprintf("CREATE INDEX ON %s (queue, id)", qualified));
		CommandCounterIncrement();
		archive = catalog::find_relation(schema, name);
	}
	LockRelationOid(archive, RowExclusiveLock);
	check_archive(archive, InvalidOid, role);
	return archive;
}

} // namespace

JobTable
job_table_of(int32 queue)
{
	RangeVar const *const name = makeRangeVarFromNameList(textToQualifiedNameList(catalog::archive_of(queue)));
	JobTable table{};
	namestrcpy(&table.schema, name->schemaname);
	namestrcpy(&table.table, name->relname);
	return table;
}

Copied
copy_jobs(catalog::Queue const &queue, Oid role, JobTable const &table, store::EndList const &ends,
		  core::SegmentNumber tables, JobRange const *range, int ranges, int64 at_most)
{
	base::AsRole as(role);
	base::set_locally("lock_timeout", batch_lock_timeout);
	catalog::require_privilege(queue, catalog::may_look);
	MemoryContext const context =
		AllocSetContextCreate(CurrentMemoryContext, "onceq archived job", ALLOCSET_DEFAULT_SIZES);
	base::SpiScope const spi;
	execute("SET CONSTRAINTS ALL IMMEDIATE");
	Oid const archive = open_archive(table, role);
	Copy copy{queue, ends, tables, prepare_insert(archive), context, NameStr(table.table), at_most, {0, 0, false}};
	for (int i = 0; i < ranges; i++)
		store::read_jobs_in(queue.id, tables, range[i].first, range[i].last, copy_job, &copy);
	copy.copied.all = copy.left > 0;
	FAULT_POINT("archive jobs: after batch");
	as.finish();
	return copy.copied;
}

} // namespace onceq::archive
