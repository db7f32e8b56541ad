// SPDX-License-Identifier: PostgreSQL
// How jobs and their attempts ended: acks, which are indexed by few of them only (anchors.hpp), and what was cancelled in whole runs.
#include "core/lease.hpp"

#include "base/make_room.hpp"
#include "store/anchors.hpp"
#include "store/scan.hpp"
#include "store/store.hpp"
#include "store/store_columns.hpp"

namespace onceq::store {

namespace {

constexpr core::JobId ack_run_max = core::lease_jobs_max;
constexpr core::JobId cancelled_run_max = core::ids_per_page;

struct Look
{
	core::JobId id;
	VisitEnd visit;
	void *argument;
	bool only;  // the end that covers the id, none of the others
	bool found; // that one
	bool over;  // the visitor has seen enough
};

void
visit_end(Look &look, TupleTableSlot *slot)
{
	auto const value = [slot](AttrNumber column) { return slot->tts_values[column - 1]; };
	slot_getsomeattrs(slot, outcome_last_id);
	core::JobId const first = DatumGetInt64(value(outcome_first_id));
	core::JobId const last = DatumGetInt64(value(outcome_last_id));
	bool const covers = first <= look.id && look.id <= last;
	if (look.only && !covers)
		return;
	slot_getallattrs(slot);
	auto const outcome = static_cast<Outcome>(DatumGetChar(value(outcome_outcome)));
	if (outcome != Outcome::acked && outcome != Outcome::cancelled)
		return;
	char *const worker = slot->tts_isnull[outcome_worker - 1] ? nullptr : TextDatumGetCString(value(outcome_worker));
	core::Wall const at{DatumGetTimestampTz(value(outcome_at))};
	bool const more =
		look.visit(End{first, last, outcome, DatumGetInt16(value(outcome_attempt)), at, worker}, look.argument);
	look.found |= covers;
	look.over = !more || (look.only && covers);
	if (worker != nullptr)
		pfree(worker);
}

void
between(ScanKey keys, core::JobId first, core::JobId last)
{
	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
}

// Of the rows in the index that begin at first … the id, from the last one back, those down to the one that
// covers the id; or only the last one.
void
look_back(Look &look, core::SegmentNumber segment, int32 queue, Oid Tables::*index, core::JobId first, bool only_last)
{
	IndexScan scan(queue, segment, &Tables::outcomes, index);
	ScanKeyData key[2];
	between(key, first, look.id);
	scan.begin(key, 2);
	while (TupleTableSlot *const slot = scan.next(BackwardScanDirection))
	{
		visit_end(look, slot);
		if (look.found || only_last)
			return;
	}
}

int
compare_blocks(void const *left, void const *right)
{
	BlockNumber const a = *static_cast<BlockNumber const *>(left);
	BlockNumber const b = *static_cast<BlockNumber const *>(right);
	return (a > b) - (a < b);
}

// The blocks of the anchors whose groups the id's ack may belong to, in order.
struct Blocks
{
	BlockNumber *block;
	int count;
};

Blocks
anchors_of(core::JobId id, core::SegmentNumber segment, int32 queue)
{
	constexpr int anchors_max = 2 * anchor_group;
	Blocks blocks{static_cast<BlockNumber *>(palloc(sizeof(BlockNumber) * anchors_max)), 0};
	IndexScan scan(queue, segment, &Tables::outcomes, &Tables::outcomes_by_ack);
	ScanKeyData key[2];
	between(key, first_id_of_group(Max(id - ack_run_max + 1, core::JobId{0})),
			first_id_of_group(id) + anchor_group - 1);
	scan.begin(key, 2);
	while (ItemPointer const tid = blocks.count < anchors_max ? scan.next_tid() : nullptr)
		blocks.block[blocks.count++] = ItemPointerGetBlockNumber(tid);
	qsort(blocks.block, blocks.count, sizeof(BlockNumber), compare_blocks);
	return blocks;
}

void
look_in_blocks(Look &look, core::SegmentNumber segment, int32 queue, BlockNumber first, BlockNumber count)
{
	TableScan scan(queue, segment, &Tables::outcomes);
	scan.begin_blocks(SnapshotSelf, first, count);
	while (TupleTableSlot *const slot = look.over ? nullptr : scan.next())
		visit_end(look, slot);
}

// The blocks near the anchors, each once, the oldest first, until the end is found.
void
look_near(Look &look, core::SegmentNumber segment, int32 queue, Blocks const &anchors)
{
	BlockNumber next = 0; // blocks before it were read
	for (int i = 0; i < anchors.count; i++)
	{
		BlockNumber const anchor = anchors.block[i];
		BlockNumber const first = Max(next, anchor > anchor_reach_back ? anchor - anchor_reach_back : 0);
		BlockNumber const end = anchor + (anchor_reach - anchor_reach_back);
		if (first >= end)
			continue;
		CHECK_FOR_INTERRUPTS();
		look_in_blocks(look, segment, queue, first, end - first);
		if (look.found)
			return;
		next = end;
	}
}

} // namespace

void
read_ends_near(int32 queue, core::JobId id, bool only, VisitEnd visit, void *argument)
{
	Look look{id, visit, argument, only, false, false};
	core::SegmentNumber const segment = core::segment_of(id);
	look_back(look, segment, queue, &Tables::outcomes_by_ack, id - ack_run_max + 1, true);
	if (look.found)
		return;
	Blocks const anchors = anchors_of(id, segment, queue);
	look_near(look, segment, queue, anchors);
	pfree(anchors.block);
	if (!look.found)
		look_back(look, segment, queue, &Tables::outcomes_by_id, id - cancelled_run_max + 1, false);
}

namespace {

struct AttemptList
{
	EndedAttempt *attempt;
	int count;
};

int
compare_attempts(void const *left, void const *right)
{
	auto const &a = *static_cast<EndedAttempt const *>(left);
	auto const &b = *static_cast<EndedAttempt const *>(right);
	return a.attempt != b.attempt ? (a.attempt > b.attempt) - (a.attempt < b.attempt) : (a.at > b.at) - (a.at < b.at);
}

EndedAttempt
attempt_in(TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	auto const value = [slot](AttrNumber column) { return slot->tts_values[column - 1]; };
	auto const is_null = [slot](AttrNumber column) { return slot->tts_isnull[column - 1]; };
	return {DatumGetInt16(value(outcome_attempt)), static_cast<Outcome>(DatumGetChar(value(outcome_outcome))),
			core::Wall{DatumGetTimestampTz(value(outcome_at))},
			is_null(outcome_worker) ? nullptr : TextDatumGetCString(value(outcome_worker)),
			is_null(outcome_detail) ? nullptr : DatumGetTextPCopy(value(outcome_detail))};
}

} // namespace

void
read_attempts(int32 queue, core::JobId id, VisitAttempt visit, void *argument)
{
	AttemptList list{nullptr, 0};
	{
		IndexScan scan(queue, core::segment_of(id), &Tables::outcomes, &Tables::outcomes_by_id);
		ScanKeyData key;
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
		scan.begin(&key, 1);
		while (TupleTableSlot *const slot = scan.next())
		{
			base::make_room(list.attempt, list.count);
			list.attempt[list.count++] = attempt_in(slot);
		}
	}
	if (list.count > 1)
		qsort(list.attempt, list.count, sizeof(EndedAttempt), compare_attempts);
	for (int i = 0; i < list.count; i++)
		if (!visit(list.attempt[i], argument))
			break;
}

void
read_ends(int32 queue, core::SegmentNumber segment, VisitEnd visit, void *argument)
{
	Look look{0, visit, argument, false, false, false};
	TableScan scan(queue, segment, &Tables::outcomes);
	scan.begin(SnapshotSelf);
	while (TupleTableSlot *const slot = look.over ? nullptr : scan.next())
	{
		CHECK_FOR_INTERRUPTS();
		visit_end(look, slot);
	}
}

} // namespace onceq::store
