// SPDX-License-Identifier: PostgreSQL
#include "store/unique_key.hpp"

#include "base/scope.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/heapam.h>
#include <access/htup_details.h>
#include <access/tableam.h>
#include <access/xact.h>
#include <catalog/indexing.h>
#include <common/hashfn.h>
#include <common/pg_prng.h>
#include <executor/tuptable.h>
#include <storage/bufmgr.h>
#include <storage/lock.h>
#include <utils/fmgroids.h>
}

namespace onceq::store {

namespace {

// onceq.unique_key
enum KeyColumn : AttrNumber
{
	key_queue_id = 1, // int NOT NULL
	key_key,          // text COLLATE "C" NOT NULL
	key_job_id,       // bigint NOT NULL
	key_kept_until,   // timestamptz; null: as long as the job is unfinished
	key_column_count = key_kept_until,
};

constexpr BlockNumber blocks_of_piece = 64;

LOCKTAG
lock_of(UniqueKey const &key)
{
	auto const *const bytes = reinterpret_cast<unsigned char const *>(VARDATA_ANY(key.key));
	uint64 const hash = hash_bytes_extended(bytes, static_cast<int>(VARSIZE_ANY_EXHDR(key.key)), key.queue);
	LOCKTAG tag;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, catalog::catalog_oid("unique_key"), static_cast<uint32>(hash),
					   static_cast<uint16>(hash >> 32));
	return tag;
}

KeyRow
row_in(HeapTuple tuple, TupleDesc desc)
{
	Datum values[key_column_count];
	bool nulls[key_column_count];
	catalog::deform(tuple, desc, key_column_count, values, nulls);
	KeyRow row{};
	row.found = true;
	row.job = DatumGetInt64(values[key_job_id - 1]);
	row.kept_until =
		nulls[key_kept_until - 1] ? core::wall_always : core::Wall{DatumGetTimestampTz(values[key_kept_until - 1])};
	row.xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	row.tid = tuple->t_self;
	return row;
}

// snapshot nullptr: a fresh one.
SysScanDesc
begin_scan(Relation table, UniqueKey const &key, Snapshot snapshot)
{
	ScanKeyData scan_key[2];
	ScanKeyInit(&scan_key[0], key_queue_id, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(key.queue));
	ScanKeyInit(&scan_key[1], key_key, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(key.key));
	return systable_beginscan(table, catalog::catalog_oid("unique_key_pkey"), true, snapshot, 2, scan_key);
}

KeyRow
read_key_in(Relation table, UniqueKey const &key)
{
	SnapshotData dirty;
	InitDirtySnapshot(dirty);
	SysScanDesc const scan = begin_scan(table, key, &dirty);
	KeyRow row{};
	while (HeapTuple const tuple = systable_getnext(scan))
	{
		row = row_in(tuple, RelationGetDescr(table));
		row.changed_by = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (TransactionIdIsValid(row.changed_by))
			break; // there may be a second version of it
	}
	systable_endscan(scan);
	return row;
}

} // namespace

void
lock_key(UniqueKey const &key)
{
	LOCKTAG const tag = lock_of(key);
	(void)LockAcquire(&tag, ExclusiveLock, false, false);
}

void
unlock_key(UniqueKey const &key)
{
	LOCKTAG const tag = lock_of(key);
	LockRelease(&tag, ExclusiveLock, false);
}

KeyRow
look_up_key(UniqueKey const &key)
{
	// So that the snapshot shows what this statement did before.
	CommandCounterIncrement();
	base::RelationScope const table(catalog::catalog_oid("unique_key"), AccessShareLock);
	SysScanDesc const scan = begin_scan(table, key, nullptr);
	HeapTuple const tuple = systable_getnext(scan);
	KeyRow const row = tuple != nullptr ? row_in(tuple, RelationGetDescr(static_cast<Relation>(table))) : KeyRow{};
	systable_endscan(scan);
	return row;
}

KeyRow
read_key(UniqueKey const &key)
{
	base::RelationScope const table(catalog::catalog_oid("unique_key"), AccessShareLock);
	return read_key_in(table, key);
}

void
write_key(UniqueKey const &key, KeyRow const &row, core::JobId job, core::Wall kept_until)
{
	base::RelationScope const table(catalog::catalog_oid("unique_key"), RowExclusiveLock);
	catalog::require_columns(RelationGetDescr(static_cast<Relation>(table)), key_column_count);
	Datum values[key_column_count] = {Int32GetDatum(key.queue), PointerGetDatum(key.key), Int64GetDatum(job),
									  TimestampTzGetDatum(kept_until.us)};
	bool nulls[key_column_count] = {};
	nulls[key_kept_until - 1] = kept_until == core::wall_always;
	HeapTuple const tuple = heap_form_tuple(RelationGetDescr(static_cast<Relation>(table)), values, nulls);
	if (row.found)
	{
		// One statement may call us twice, and no command changes what it made itself.
		if (TransactionIdIsCurrentTransactionId(row.xmin))
			CommandCounterIncrement();
		ItemPointerData tid = row.tid;
		CatalogTupleUpdate(table, &tid, tuple);
	}
	else
		CatalogTupleInsert(table, tuple);
	heap_freetuple(tuple);
}

// ---- removal

namespace {

// The row's key is locked for the look and the change, unless somebody else has it: then the row is in use.
void
remove_if_stale(Relation table, UniqueKey const &key, IsStale is_stale, void *argument)
{
	LOCKTAG const tag = lock_of(key);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	KeyRow row = read_key_in(table, key);
	if (row.found && !TransactionIdIsValid(row.changed_by) && is_stale(key.queue, row, argument))
		CatalogTupleDelete(table, &row.tid);
	LockRelease(&tag, ExclusiveLock, false);
}

} // namespace

BlockNumber
sweep_keys(BlockNumber start, IsStale is_stale, void *argument)
{
	base::RelationScope const table(catalog::catalog_oid("unique_key"), RowExclusiveLock);
	BlockNumber const blocks = RelationGetNumberOfBlocks(static_cast<Relation>(table));
	if (start == InvalidBlockNumber)
		start = pg_prng_uint32(&pg_global_prng_state) % (blocks / blocks_of_piece + 1) * blocks_of_piece;
	if (start >= blocks)
		return 0;
	BlockNumber const piece = Min(blocks_of_piece, blocks - start);
	TableScanDesc const scan = table_beginscan_strat(table, GetActiveSnapshot(), 0, nullptr, true, false);
	heap_setscanlimits(scan, start, piece);
	TupleDesc const desc = RelationGetDescr(static_cast<Relation>(table));
	while (HeapTuple const tuple = heap_getnext(scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		bool is_null;
		int32 const queue = DatumGetInt32(heap_getattr(tuple, key_queue_id, desc, &is_null));
		if (!is_stale(queue, row_in(tuple, desc), argument))
			continue;
		UniqueKey const key{queue, DatumGetTextPP(heap_getattr(tuple, key_key, desc, &is_null))};
		remove_if_stale(table, key, is_stale, argument);
	}
	table_endscan(scan);
	return start + piece < blocks ? start + piece : 0;
}

} // namespace onceq::store
