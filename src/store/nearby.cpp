// SPDX-License-Identifier: PostgreSQL
#include "store/nearby.hpp"

#include "store/store_columns.hpp"

extern "C" {
#include <access/heapam.h>
#include <access/htup_details.h>
#include <storage/bufmgr.h>
#include <utils/snapmgr.h>
}

namespace onceq::store {

namespace {

// While jobs lie otherwise, a look is taken after 1, 3, 7 … rows that were found by the index.
constexpr int pause_max = 63;

// Where the last single row was.
struct Place
{
	Oid table;
	Oid file; // a rewritten table has another
	BlockNumber block;
	int pause; // rows not to look for, as the last looks were in vain
	int passed;
};
constinit Place place{};

bool
is_place_in(Relation jobs)
{
	return place.table == RelationGetRelid(jobs) && place.file == jobs->rd_rel->relfilenode;
}

// The first column, which is never null and needs no alignment of its own.
core::JobId
id_of(HeapTupleHeader row)
{
	static_assert(job_id == 1);
	core::JobId id;
	memcpy(&id, reinterpret_cast<char const *>(row) + row->t_hoff, sizeof(id));
	return id;
}

// Requires: the buffer is locked. Versions that are not visible are passed over.
bool
find_on_page(Relation jobs, Buffer buffer, core::JobId id, HeapTuple row)
{
	Page const page = BufferGetPage(buffer);
	OffsetNumber const last = PageGetMaxOffsetNumber(page);
	for (OffsetNumber at = FirstOffsetNumber; at <= last; at = OffsetNumberNext(at))
	{
		ItemId const item = PageGetItemId(page, at);
		if (!ItemIdIsNormal(item))
			continue;
		row->t_data = reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item));
		if (id_of(row->t_data) != id)
			continue;
		row->t_len = ItemIdGetLength(item);
		row->t_tableOid = RelationGetRelid(jobs);
		ItemPointerSet(&row->t_self, BufferGetBlockNumber(buffer), at);
		if (HeapTupleSatisfiesVisibility(row, SnapshotSelf, buffer))
			return true;
	}
	return false;
}

bool
fetch_from_page(Relation jobs, BlockNumber block, core::JobId id, TupleTableSlot *slot)
{
	HeapTuple const row = &reinterpret_cast<BufferHeapTupleTableSlot *>(slot)->base.tupdata;
	Buffer const buffer = ReadBuffer(jobs, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	bool const found = find_on_page(jobs, buffer, id, row);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (found)
		ExecStorePinnedBufferHeapTuple(row, slot, buffer);
	else
		ReleaseBuffer(buffer);
	return found;
}

} // namespace

bool
fetch_nearby(Relation jobs, core::JobId id, TupleTableSlot *slot)
{
	if (!is_place_in(jobs) || place.passed++ < place.pause)
		return false;
	place.passed = 0;
	BlockNumber const blocks = RelationGetNumberOfBlocks(jobs);
	for (BlockNumber block = place.block; block < Min(blocks, place.block + 2); block++)
		if (fetch_from_page(jobs, block, id, slot))
		{
			place.block = block;
			place.pause = 0;
			return true;
		}
	place.pause = Min(place.pause * 2 + 1, pause_max);
	return false;
}

void
note_place(Relation jobs, TupleTableSlot const *slot)
{
	if (!is_place_in(jobs))
		place = {.table = RelationGetRelid(jobs), .file = jobs->rd_rel->relfilenode};
	place.block = ItemPointerGetBlockNumber(&slot->tts_tid);
}

} // namespace onceq::store
