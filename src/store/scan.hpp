// SPDX-License-Identifier: PostgreSQL
// Walking a segment table or one of its indexes. The table stays locked until the transaction ends.
// On ERROR the resource owner closes what these hold.
#pragma once

#include "base/scope.hpp"
#include "store/nearby.hpp"
#include "store/store.hpp"

extern "C" {
#include <access/genam.h>
#include <access/heapam.h>
#include <access/skey.h>
#include <access/stratnum.h>
#include <access/tableam.h>
#include <catalog/pg_operator.h>
#include <executor/tuptable.h>
#include <storage/lmgr.h>
#include <utils/fmgroids.h>
#include <utils/rel.h>
#include <utils/snapmgr.h>
}

namespace onceq::store {

// A table that may be gone already: then every scan of it is empty.
class TableScan : base::NotCopyable
{
  public:
	TableScan(int32 queue, core::SegmentNumber segment, Oid Tables::*table)
		: table_(open_table(queue, segment, table, AccessShareLock).table)
	{
	}
	~TableScan()
	{
		if (scan_ != nullptr)
			table_endscan(scan_);
		if (slot_ != nullptr)
			ExecDropSingleTupleTableSlot(slot_);
		if (table_ != nullptr)
			table_close(table_, NoLock);
	}

	void
	begin(Snapshot snapshot)
	{
		if (table_ == nullptr)
			return;
		slot_ = table_slot_create(table_, nullptr);
#if PG_VERSION_NUM >= 190000
		scan_ = table_beginscan(table_, snapshot, 0, nullptr, SO_NONE);
#else
		scan_ = table_beginscan(table_, snapshot, 0, nullptr);
#endif
	}

	// count blocks from first on, as far as there are any.
	void
	begin_blocks(Snapshot snapshot, BlockNumber first, BlockNumber count)
	{
		if (table_ == nullptr)
			return;
		slot_ = table_slot_create(table_, nullptr);
		scan_ = table_beginscan_strat(table_, snapshot, 0, nullptr, false, false);
		BlockNumber const blocks = reinterpret_cast<HeapScanDesc>(scan_)->rs_nblocks;
		if (first < blocks)
			heap_setscanlimits(scan_, first, Min(count, blocks - first));
		else
		{
			table_endscan(scan_);
			scan_ = nullptr;
		}
	}

	// nullptr: no more.
	TupleTableSlot *
	next()
	{
		return scan_ != nullptr && table_scan_getnextslot(scan_, ForwardScanDirection, slot_) ? slot_ : nullptr;
	}

	// The same without the slot, which costs more than finding the row. Valid until the next one.
	HeapTuple
	next_tuple()
	{
		return scan_ != nullptr ? heap_getnext(scan_, ForwardScanDirection) : nullptr;
	}

	TupleDesc
	desc() const
	{
		return RelationGetDescr(table_);
	}

  private:
	Relation table_;
	TableScanDesc scan_ = nullptr;
	TupleTableSlot *slot_ = nullptr;
};

class IndexScan : base::NotCopyable
{
  public:
	IndexScan(int32 queue, core::SegmentNumber segment, Oid Tables::*table, Oid Tables::*index, Wait wait = Wait::yes)
	{
		OpenTable const opened = open_table(queue, segment, table, AccessShareLock, wait);
		table_ = opened.table;
		index_oid_ = opened.tables.*index;
		wait_ = wait;
	}
	~IndexScan()
	{
		if (scan_ != nullptr)
			index_endscan(scan_);
		if (slot_ != nullptr)
			ExecDropSingleTupleTableSlot(slot_);
		if (index_ != nullptr)
			index_close(index_, NoLock);
		if (table_ != nullptr)
			table_close(table_, NoLock);
	}

	void
	begin(ScanKey keys, int count)
	{
		if (table_ == nullptr || (wait_ == Wait::no && !ConditionalLockRelationOid(index_oid_, AccessShareLock)))
			return;
		index_ = index_open(index_oid_, wait_ == Wait::yes ? AccessShareLock : NoLock);
		need_slot();
#if PG_VERSION_NUM >= 190000
		scan_ = index_beginscan(table_, index_, SnapshotSelf, nullptr, count, 0, SO_NONE);
#elif PG_VERSION_NUM >= 180000
		scan_ = index_beginscan(table_, index_, SnapshotSelf, nullptr, count, 0);
#else
		scan_ = index_beginscan(table_, index_, SnapshotSelf, count, 0);
#endif
		index_rescan(scan_, keys, count, nullptr, 0);
	}

	// The row of a job without the index, which is opened by begin(). nullptr: it is not known where.
	TupleTableSlot *
	find_nearby(core::JobId id)
	{
		if (table_ == nullptr)
			return nullptr;
		need_slot();
		return fetch_nearby(table_, id, slot_) ? slot_ : nullptr;
	}

	// Where to look next time.
	void
	note_place(TupleTableSlot const *slot) const
	{
		store::note_place(table_, slot);
	}

	// nullptr: no more.
	TupleTableSlot *
	next(ScanDirection direction = ForwardScanDirection)
	{
		return scan_ != nullptr && index_getnext_slot(scan_, direction, slot_) ? slot_ : nullptr;
	}

	// Where the next row is, visible or not.
	ItemPointer
	next_tid()
	{
		return scan_ != nullptr ? index_getnext_tid(scan_, ForwardScanDirection) : nullptr;
	}

  private:
	void
	need_slot()
	{
		if (slot_ == nullptr)
			slot_ = table_slot_create(table_, nullptr);
	}

	Relation table_;
	Oid index_oid_;
	Wait wait_;
	Relation index_ = nullptr;
	IndexScanDesc scan_ = nullptr;
	TupleTableSlot *slot_ = nullptr;
};

} // namespace onceq::store
