// SPDX-License-Identifier: PostgreSQL
// Reading rows by id, without the executor.
//
// Jobs and outcomes are read with SnapshotSelf: whatever is committed now, or was written by this
// transaction. It is no MVCC snapshot, so it is never older than the claim that asks, and it takes no
// predicate locks under SERIALIZABLE.
#include "store/scan.hpp"
#include "store/store.hpp"
#include "store/store_columns.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_collation.h>
#include <utils/builtins.h>
#include <utils/rel.h>
}

namespace onceq::store {

namespace {

bool
is_null(TupleTableSlot *slot, AttrNumber column)
{
	return slot->tts_isnull[column - 1];
}

Datum
value(TupleTableSlot *slot, AttrNumber column)
{
	return slot->tts_values[column - 1];
}

core::Wall
wall_or_always(TupleTableSlot *slot, AttrNumber column)
{
	return is_null(slot, column) ? core::wall_always : core::Wall{DatumGetTimestampTz(value(slot, column))};
}

int
small_or_zero(TupleTableSlot *slot, AttrNumber column)
{
	return is_null(slot, column) ? 0 : DatumGetInt16(value(slot, column));
}

TransactionId
xmin_of(TupleTableSlot *slot)
{
	bool null;
	return DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &null));
}

// Requires: all columns are deformed.
Job
job_in(TupleTableSlot *slot)
{
	Job job{};
	job.id = DatumGetInt64(value(slot, job_id));
	job.enqueued_at = core::Wall{DatumGetTimestampTz(value(slot, job_enqueued_at))};
	job.run_at = wall_or_always(slot, job_run_at);
	job.priority = small_or_zero(slot, job_priority);
	if (!is_null(slot, job_ordering_key))
		job.ordering_key = DatumGetTextPP(value(slot, job_ordering_key));
	if (!is_null(slot, job_options))
		job.options = read_options(value(slot, job_options));
	job.payload = value(slot, job_payload);
	job.headers = value(slot, job_headers);
	job.has_headers = !is_null(slot, job_headers);
	return job;
}

// Column by column, because most are null: a rebuild reads every job of the backlog.
JobHead
head_in(HeapTuple row, TupleDesc desc)
{
	bool is_null;
	JobHead job{};
	job.id = DatumGetInt64(heap_getattr(row, job_id, desc, &is_null));
	Datum const run_at = heap_getattr(row, job_run_at, desc, &is_null);
	job.run_at = is_null ? core::wall_always : core::Wall{DatumGetTimestampTz(run_at)};
	Datum const priority = heap_getattr(row, job_priority, desc, &is_null);
	job.priority = is_null ? 0 : DatumGetInt16(priority);
	job.has_key = !heap_attisnull(row, job_ordering_key, desc);
	return job;
}

StoredOutcome
outcome_in(TupleTableSlot *slot)
{
	return {DatumGetInt64(value(slot, outcome_first_id)), DatumGetInt64(value(slot, outcome_last_id)),
			static_cast<Outcome>(DatumGetChar(value(slot, outcome_outcome))),
			DatumGetInt16(value(slot, outcome_attempt)), wall_or_always(slot, outcome_due_at)};
}

bool
is_failure(Outcome outcome)
{
	return outcome == Outcome::failed || outcome == Outcome::dead;
}

// Says when the job is due, and no attempt ended.
bool
is_due_only(Outcome outcome)
{
	return outcome == Outcome::redriven || outcome == Outcome::rescheduled;
}

// What came later has the higher rank. Neither the order of the rows nor the clock tells; only of those that were
// rescheduled with the same number of attempts the time does, because it is made to rise.
int
rank_of(StoredOutcome const &outcome)
{
	switch (outcome.outcome)
	{
		case Outcome::cancelled:
			return 1 << 30; // nothing comes after it
		case Outcome::rescheduled:
			return outcome.attempt * 4 + 3;
		case Outcome::redriven:
			return outcome.attempt * 4 + 2;
		case Outcome::dead:
			return outcome.attempt * 4 + 1;
		default:
			return outcome.attempt * 4;
	}
}

text *
text_copy(TupleTableSlot *slot, AttrNumber column)
{
	return is_null(slot, column) ? nullptr : DatumGetTextPCopy(value(slot, column));
}

// Calls visit for each key in (from, to] of the index, and returns the first key after to.
core::Wall
read_due_index(IndexScan &scan, AttrNumber id_column, AttrNumber due_column, core::Wall from, core::Wall to,
			   VisitDue visit, void *argument)
{
	ScanKeyData key;
	ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT, TimestampTzGetDatum(from.us));
	scan.begin(&key, 1);
	while (TupleTableSlot *const slot = scan.next())
	{
		slot_getsomeattrs(slot, due_column);
		core::Wall const due = wall_or_always(slot, due_column);
		if (due > to)
			return due;
		if (!visit(DatumGetInt64(value(slot, id_column)), due, argument))
			break;
	}
	return core::wall_never;
}

bool
visit_row(TupleTableSlot *slot, VisitJob visit, void *argument)
{
	slot_getallattrs(slot);
	Job job = job_in(slot);
	job.xmin = xmin_of(slot);
	return visit(job, argument);
}

void
read_by_id(IndexScan &scan, core::JobId first, core::JobId last, VisitJob visit, void *argument)
{
	if (first == last)
		if (TupleTableSlot *const slot = scan.find_nearby(first))
		{
			visit_row(slot, visit, argument);
			return;
		}
	ScanKeyData key[2];
	ScanKeyInit(&key[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&key[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	scan.begin(key, 2);
	while (TupleTableSlot *const slot = scan.next())
	{
		if (first == last)
			scan.note_place(slot);
		if (!visit_row(slot, visit, argument))
			break;
	}
}

} // namespace

void
read_jobs(int32 queue, core::JobId first, core::JobId last, VisitJob visit, void *argument, Wait wait)
{
	IndexScan scan(queue, core::segment_of(first), &Tables::jobs, &Tables::jobs_by_id, wait);
	read_by_id(scan, first, last, visit, argument);
}

bool
read_head(int32 queue, core::JobId id, JobHead &head)
{
	struct Found
	{
		JobHead *head;
		bool is;
	} found{&head, false};
	read_jobs(
		queue, id, id,
		[](Job const &job, void *argument) {
			Found &wanted = *static_cast<Found *>(argument);
			*wanted.head = {job.id, job.run_at, job.priority, job.ordering_key != nullptr};
			wanted.is = true;
			return false;
		},
		&found);
	return found.is;
}

void
read_jobs_in(int32 queue, core::SegmentNumber tables, core::JobId first, core::JobId last, VisitJob visit,
			 void *argument)
{
	IndexScan scan(queue, tables, &Tables::jobs, &Tables::jobs_by_id);
	read_by_id(scan, first, last, visit, argument);
}

void
read_jobs_of_key(int32 queue, core::SegmentNumber segment, core::KeyHash key, core::JobId first, core::JobId last,
				 VisitKeyedJob visit, void *argument)
{
	// Of a segment that was dropped, the unfinished jobs were moved.
	bool const dropped = !OidIsValid(find_tables(queue, segment).jobs);
	IndexScan scan(queue, dropped ? stay : segment, &Tables::jobs, &Tables::jobs_by_key);
	ScanKeyData keys[3];
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(static_cast<int64>(key)));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	scan.begin(keys, 3);
	while (TupleTableSlot *const slot = scan.next())
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, job_priority);
		if (!visit(DatumGetInt64(value(slot, job_id)), small_or_zero(slot, job_priority), argument))
			break;
	}
}

core::KeyHash
hash_of_key(text const *ordering_key)
{
	if (ordering_key == nullptr)
		return core::no_key;
	Datum const hash =
		DirectFunctionCall2Coll(hashtextextended, C_COLLATION_OID, PointerGetDatum(ordering_key), Int64GetDatum(0));
	return static_cast<core::KeyHash>(DatumGetInt64(hash)) | 1;
}

History
read_history(int32 queue, core::JobId id)
{
	return read_history_in(queue, core::segment_of(id), id);
}

History
read_history_in(int32 queue, core::SegmentNumber tables, core::JobId id)
{
	History history{};
	history.due_at = core::wall_always;
	int last_rank = -1;
	int detail_rank = -1;
	IndexScan scan(queue, tables, &Tables::outcomes, &Tables::outcomes_by_id);
	ScanKeyData key;
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan.begin(&key, 1);
	while (TupleTableSlot *const slot = scan.next())
	{
		slot_getallattrs(slot);
		StoredOutcome const found = outcome_in(slot);
		int const rank = rank_of(found);
		history.any = true;
		history.failed_attempts = Max(history.failed_attempts, found.attempt);
		if (found.outcome == Outcome::redriven)
			history.fresh_from = Max(history.fresh_from, found.attempt);
		bool const explains = is_failure(found.outcome) || !is_null(slot, outcome_detail);
		if (explains && rank > detail_rank)
		{
			detail_rank = rank;
			history.detail = text_copy(slot, outcome_detail);
		}
		core::Wall const at{DatumGetTimestampTz(value(slot, outcome_at))};
		if (rank < last_rank || (rank == last_rank && at <= history.at))
			continue;
		last_rank = rank;
		history.last = found.outcome;
		history.due_at = found.due_at;
		history.at = at;
		if (!is_due_only(found.outcome))
			history.worker = text_copy(slot, outcome_worker);
	}
	return history;
}

void
read_dead(int32 queue, core::SegmentNumber tables, core::JobId first, core::JobId last, VisitId visit, void *argument)
{
	IndexScan scan(queue, tables, &Tables::outcomes, &Tables::outcomes_by_id);
	ScanKeyData key[2];
	ScanKeyInit(&key[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&key[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	scan.begin(key, 2);
	while (TupleTableSlot *const slot = scan.next())
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, outcome_outcome);
		StoredOutcome const found = outcome_in(slot);
		if (found.outcome == Outcome::dead && !visit(found.first_id, argument))
			break;
	}
}

bool
read_result(int32 queue, core::JobId id, Datum *result)
{
	return read_result_in(queue, core::segment_of(id), id, result);
}

bool
read_result_in(int32 queue, core::SegmentNumber tables, core::JobId id, Datum *result)
{
	IndexScan scan(queue, tables, &Tables::results, &Tables::results_by_id);
	ScanKeyData key;
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan.begin(&key, 1);
	TupleTableSlot *const slot = scan.next();
	if (slot == nullptr)
		return false;
	slot_getallattrs(slot);
	*result = PointerGetDatum(PG_DETOAST_DATUM_COPY(value(slot, result_result)));
	return true;
}

void
scan_jobs(int32 queue, core::SegmentNumber segment, VisitHead visit, void *argument)
{
	TableScan scan(queue, segment, &Tables::jobs);
	scan.begin(GetActiveSnapshot());
	while (HeapTuple const row = scan.next_tuple())
	{
		CHECK_FOR_INTERRUPTS();
		visit(head_in(row, scan.desc()), argument);
	}
}

void
scan_outcomes(int32 queue, core::SegmentNumber segment, VisitOutcome visit, void *argument)
{
	TableScan scan(queue, segment, &Tables::outcomes);
	scan.begin(GetActiveSnapshot());
	while (TupleTableSlot *const slot = scan.next())
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, outcome_outcome);
		if (!visit(outcome_in(slot), argument))
			break;
	}
}

core::Wall
read_due(int32 queue, core::SegmentNumber segment, core::Wall from, core::Wall to, VisitDue visit, void *argument)
{
	IndexScan jobs(queue, segment, &Tables::jobs, &Tables::jobs_by_due);
	IndexScan outcomes(queue, segment, &Tables::outcomes, &Tables::outcomes_by_due);
	core::Wall const delayed = read_due_index(jobs, job_id, job_run_at, from, to, visit, argument);
	core::Wall const failed = read_due_index(outcomes, outcome_first_id, outcome_due_at, from, to, visit, argument);
	return Min(delayed, failed);
}

} // namespace onceq::store
