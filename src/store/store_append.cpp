// SPDX-License-Identifier: PostgreSQL
// Appending rows without the executor: form the tuple, heap_insert, and only the indexes it belongs to.
#include "base/clock.hpp"
#include "base/scope.hpp"
#include "store/anchors.hpp"
#include "store/indexes.hpp"
#include "store/store.hpp"
#include "store/store_columns.hpp"

extern "C" {
#include <access/heapam.h>
}

namespace onceq::store {

namespace {

constexpr int batch_max = 500; // tuples of one heap_multi_insert

// A table of the segment that holds the id, locked for appending.
class Table : base::NotCopyable
{
  public:
	Table(int32 queue, core::JobId id, Oid Tables::*table, int columns)
		: open_(open_table(queue, core::segment_of(id), table, RowExclusiveLock))
	{
		if (open_.table == nullptr)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the queue does not exist any more"),
							errdetail("The segment of job " INT64_FORMAT " of queue %d was dropped.", id, queue)));
		if (RelationGetNumberOfAttributes(open_.table) != columns)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("table \"%s\" was altered", RelationGetRelationName(open_.table)),
							errhint("Undo the change, or restore the database from a backup.")));
	}
	~Table() { table_close(open_.table, NoLock); } // on ERROR: the resource owner closes it

	operator Relation() const { return open_.table; }

	Tables const &
	segment() const
	{
		return open_.tables;
	}

  private:
	OpenTable open_;
};

HeapTuple
form_job(TupleDesc desc, NewJob const &job, TimestampTz now)
{
	Datum values[job_column_count] = {};
	bool nulls[job_column_count] = {};
	values[job_id - 1] = Int64GetDatum(job.id);
	values[job_enqueued_at - 1] = TimestampTzGetDatum(now);
	values[job_run_at - 1] = TimestampTzGetDatum(job.run_at.us);
	nulls[job_run_at - 1] = job.run_at == core::wall_always;
	values[job_priority - 1] = Int16GetDatum(static_cast<int16>(job.priority));
	nulls[job_priority - 1] = job.priority == 0;
	values[job_ordering_key - 1] = PointerGetDatum(job.ordering_key);
	nulls[job_ordering_key - 1] = job.ordering_key == nullptr;
	values[job_options - 1] = job.options.any() ? form_options(job.options) : Datum{0};
	nulls[job_options - 1] = !job.options.any();
	values[job_payload - 1] = job.payload;
	values[job_headers - 1] = job.headers;
	nulls[job_headers - 1] = !job.has_headers;
	return heap_form_tuple(desc, values, nulls);
}

HeapTuple
form_outcome(TupleDesc desc, NewOutcome const &outcome, TimestampTz now)
{
	Datum values[outcome_column_count] = {};
	bool nulls[outcome_column_count] = {};
	bool const has_worker = outcome.worker != nullptr && outcome.worker[0] != '\0';
	values[outcome_first_id - 1] = Int64GetDatum(outcome.first_id);
	values[outcome_last_id - 1] = Int64GetDatum(outcome.last_id);
	values[outcome_at - 1] = TimestampTzGetDatum(outcome.at == core::wall_always ? now : outcome.at.us);
	values[outcome_due_at - 1] = TimestampTzGetDatum(outcome.due_at.us);
	nulls[outcome_due_at - 1] = outcome.due_at == core::wall_always;
	values[outcome_attempt - 1] = Int16GetDatum(static_cast<int16>(outcome.attempt));
	values[outcome_outcome - 1] = CharGetDatum(static_cast<char>(outcome.outcome));
	values[outcome_worker - 1] = has_worker ? CStringGetTextDatum(outcome.worker) : Datum{0};
	nulls[outcome_worker - 1] = !has_worker;
	values[outcome_detail - 1] = PointerGetDatum(outcome.detail);
	nulls[outcome_detail - 1] = outcome.detail == nullptr;
	return heap_form_tuple(desc, values, nulls);
}

// Jobs inserted by heap_multi_insert, in slots that are used again and again. Their descriptor is a
// copy: the table's own is counted by the resource owner, slot by slot, at the cost of an insertion.
class Batch : base::NotCopyable
{
  public:
	Batch(Relation heap, int capacity)
		: context_(AllocSetContextCreate(CurrentMemoryContext, "onceq append", ALLOCSET_DEFAULT_SIZES)),
		  tuples_(AllocSetContextCreate(context_, "onceq append tuples", ALLOCSET_DEFAULT_SIZES)),
		  bulk_(GetBulkInsertState()), heap_(heap), capacity_(capacity)
	{
		base::MemoryContextScope const scope(context_);
		desc_ = CreateTupleDescCopy(RelationGetDescr(heap));
		slots_ = static_cast<TupleTableSlot **>(palloc(sizeof(TupleTableSlot *) * capacity));
		for (int i = 0; i < capacity; i++)
			slots_[i] = MakeSingleTupleTableSlot(desc_, &TTSOpsHeapTuple);
	}
	~Batch() // on ERROR: the resource owner drops the pin of bulk_, and the memory goes with its parent
	{
		FreeBulkInsertState(bulk_);
		MemoryContextDelete(context_);
	}

	// Returns how many were inserted, all or as many as there are slots for.
	int
	insert(NewJob const *job, int count, TimestampTz now, CommandId command)
	{
		base::MemoryContextScope const scope(tuples_);
		int const size = Min(count, capacity_);
		for (int i = 0; i < size; i++)
			ExecStoreHeapTuple(form_job(desc_, job[i], now), slots_[i], true);
		heap_multi_insert(heap_, slots_, size, command, 0, bulk_);
		return size;
	}

	// The i-th of those, with its tid, until clear.
	TupleTableSlot *
	slot(int i) const
	{
		return slots_[i];
	}

	void
	clear()
	{
		for (int i = 0; i < capacity_; i++)
			ExecClearTuple(slots_[i]);
		MemoryContextReset(tuples_);
	}

  private:
	MemoryContext context_;
	MemoryContext tuples_;
	BulkInsertState bulk_;
	Relation heap_;
	TupleDesc desc_;
	TupleTableSlot **slots_;
	int capacity_;
};

} // namespace

void
append_jobs(int32 queue, NewJob const *job, int count)
{
	Table const heap(queue, job[0].id, &Tables::jobs, job_column_count);
	Index by_id(heap.segment().jobs_by_id);
	Index by_due(heap.segment().jobs_by_due);
	Index by_key(heap.segment().jobs_by_key);
	OtherIndexes others(heap, {heap.segment().jobs_by_id, heap.segment().jobs_by_due, heap.segment().jobs_by_key});
	TimestampTz const now = base::now_wall().us;
	CommandId const command = GetCurrentCommandId(true);
	auto const add_to_indexes = [&](ItemPointer tid, NewJob const &added) {
		by_id.insert(heap, tid, Int64GetDatum(added.id));
		if (added.run_at != core::wall_always)
			by_due.insert(heap, tid, TimestampTzGetDatum(added.run_at.us));
		if (added.ordering_key != nullptr)
			by_key.insert(
				heap, tid,
				{Int64GetDatum(static_cast<int64>(hash_of_key(added.ordering_key))), Int64GetDatum(added.id)});
	};

	if (count == 1)
	{
		HeapTuple const tuple = form_job(RelationGetDescr(static_cast<Relation>(heap)), job[0], now);
		heap_insert(heap, tuple, command, 0, nullptr);
		add_to_indexes(&tuple->t_self, job[0]);
		others.insert(tuple);
		heap_freetuple(tuple);
		return;
	}

	Batch batch(heap, Min(count, batch_max));
	for (int done = 0; done < count;)
	{
		int const size = batch.insert(job + done, count - done, now, command);
		for (int i = 0; i < size; i++)
		{
			add_to_indexes(&batch.slot(i)->tts_tid, job[done + i]);
			others.insert(batch.slot(i));
		}
		batch.clear();
		done += size;
	}
}

void
append_outcomes(int32 queue, NewOutcome const *outcome, int count)
{
	Table const heap(queue, outcome[0].first_id, &Tables::outcomes, outcome_column_count);
	TupleDesc const desc = RelationGetDescr(static_cast<Relation>(heap));
	TimestampTz const now = base::now_wall().us;
	CommandId const command = GetCurrentCommandId(true);
	Index by_id(heap.segment().outcomes_by_id);
	Index by_ack(heap.segment().outcomes_by_ack);
	Index by_due(heap.segment().outcomes_by_due);
	OtherIndexes others(
		heap, {heap.segment().outcomes_by_id, heap.segment().outcomes_by_ack, heap.segment().outcomes_by_due});
	for (int i = 0; i < count; i++)
	{
		HeapTuple const tuple = form_outcome(desc, outcome[i], now);
		heap_insert(heap, tuple, command, 0, nullptr);
		if (outcome[i].outcome != Outcome::acked)
			by_id.insert(heap, &tuple->t_self, Int64GetDatum(outcome[i].first_id));
		else if (Anchor const anchor(heap, outcome[i].first_id, ItemPointerGetBlockNumber(&tuple->t_self));
				 anchor.is_needed())
		{
			by_ack.insert(heap, &tuple->t_self, Int64GetDatum(outcome[i].first_id));
			anchor.note();
		}
		if (outcome[i].due_at != core::wall_always)
			by_due.insert(heap, &tuple->t_self, TimestampTzGetDatum(outcome[i].due_at.us));
		others.insert(tuple);
		heap_freetuple(tuple);
	}
}

void
append_result(int32 queue, core::JobId id, Datum result)
{
	Table const heap(queue, id, &Tables::results, result_column_count);
	Datum values[result_column_count] = {Int64GetDatum(id), result};
	bool nulls[result_column_count] = {};
	HeapTuple const tuple = heap_form_tuple(RelationGetDescr(static_cast<Relation>(heap)), values, nulls);
	heap_insert(heap, tuple, GetCurrentCommandId(true), 0, nullptr);
	Index(heap.segment().results_by_id).insert(heap, &tuple->t_self, Int64GetDatum(id));
	OtherIndexes(heap, {heap.segment().results_by_id}).insert(tuple);
	heap_freetuple(tuple);
}

} // namespace onceq::store
