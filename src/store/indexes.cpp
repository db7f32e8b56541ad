// SPDX-License-Identifier: PostgreSQL
#include "store/indexes.hpp"

extern "C" {
#include <access/genam.h>
#include <catalog/index.h>
#include <executor/executor.h>
}

namespace onceq::store {

Index::~Index()
{
	if (relation_ != nullptr)
		index_close(relation_, NoLock); // on ERROR: the resource owner closes it
}

void
Index::insert(Relation heap, ItemPointer tid, Keys const &keys)
{
	if (relation_ == nullptr)
		open();
	bool nulls[index_keys_max] = {};
	index_insert(relation_, const_cast<Datum *>(keys.data()), nulls, tid, heap,
				 info_->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info_);
}

void
Index::open()
{
	base::MemoryContextScope const scope(context_);
	relation_ = index_open(oid_, RowExclusiveLock);
	info_ = BuildIndexInfo(relation_);
}

OtherIndexes::OtherIndexes(Relation heap, std::initializer_list<Oid> known) : heap_(heap)
{
	List *const all = RelationGetIndexList(heap);
	ListCell *cell;
	foreach (cell, all)
	{
		Oid const oid = lfirst_oid(cell);
		bool is_known = false;
		for (Oid const each : known)
			is_known |= each == oid;
		if (is_known)
			continue;
		if (other_ == nullptr)
			other_ = static_cast<Other *>(palloc(sizeof(Other) * list_length(all)));
		open(oid);
	}
	list_free(all);
}

// On ERROR the resource owner closes the indexes, and the memory goes with its context.
OtherIndexes::~OtherIndexes()
{
	for (int i = 0; i < count_; i++)
		index_close(other_[i].relation, NoLock);
	if (slot_ != nullptr)
		ExecDropSingleTupleTableSlot(slot_);
	if (estate_ != nullptr)
		FreeExecutorState(estate_);
}

void
OtherIndexes::open(Oid oid)
{
	if (estate_ == nullptr)
	{
		estate_ = CreateExecutorState();
		slot_ = MakeSingleTupleTableSlot(RelationGetDescr(heap_), &TTSOpsHeapTuple);
	}
	Relation const relation = index_open(oid, RowExclusiveLock);
	IndexInfo *const info = BuildIndexInfo(relation);
	// Not ready: whoever builds it waits for this transaction before it looks at the table.
	if (!info->ii_ReadyForInserts)
	{
		index_close(relation, NoLock);
		return;
	}
	ExprState *const predicate = info->ii_Predicate != NIL ? ExecPrepareQual(info->ii_Predicate, estate_) : nullptr;
	other_[count_++] = {relation, info, predicate};
}

void
OtherIndexes::insert_into_all(TupleTableSlot *slot)
{
	ExprContext *const context = GetPerTupleExprContext(estate_);
	context->ecxt_scantuple = slot;
	for (int i = 0; i < count_; i++)
	{
		Other const &other = other_[i];
		if (other.predicate != nullptr && !ExecQual(other.predicate, context))
			continue;
		Datum values[INDEX_MAX_KEYS];
		bool nulls[INDEX_MAX_KEYS];
		FormIndexDatum(other.info, slot, estate_, values, nulls);
		index_insert(other.relation, values, nulls, &slot->tts_tid, heap_,
					 other.info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, other.info);
	}
	ResetPerTupleExprContext(estate_);
}

} // namespace onceq::store
