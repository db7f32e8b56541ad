// SPDX-License-Identifier: PostgreSQL
// Leases of the journal, held again on a board that is built.
#include "core/key_turns.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/owner.hpp"
#include "board/journal.hpp"
#include "catalog/table.hpp"
#include "store/store.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_type.h>
#include <utils/acl.h>
}

namespace onceq::board {

namespace {

struct Row
{
	core::Token token;
	core::JobId first;
	core::JobId last;
	int attempt;
	int priority;
	core::LeaseHolder holder;
};

Row
row_at(SPITupleTable *rows, uint64 i)
{
	auto const column = [&](int number) {
		bool null;
		return SPI_getbinval(rows->vals[i], rows->tupdesc, number, &null);
	};
	Row row{};
	row.token = DatumGetInt64(column(1));
	row.first = DatumGetInt64(column(2));
	row.last = DatumGetInt64(column(3));
	row.attempt = DatumGetInt32(column(4));
	row.priority = DatumGetInt16(column(5));
	row.holder.span = DatumGetInt64(column(6));
	row.holder.hold = DatumGetBool(column(7)) ? core::LeaseHold::session : core::LeaseHold::time;
	row.holder.soft_time_limit = DatumGetInt64(column(11));
	row.holder.hard_time_limit = DatumGetInt64(column(12));
	row.holder.role = get_role_oid(NameStr(*DatumGetName(column(8))), true);
	row.holder.claimed_at = core::Wall{DatumGetTimestampTz(column(10))};
	strlcpy(row.holder.worker, TextDatumGetCString(column(9)), sizeof(row.holder.worker));
	return row;
}

bool
is_restorable(core::Board const &board, int32 queue, core::JobId id, int attempt)
{
	core::JobState const state = board.map.state(pool(), id);
	if (state == core::JobState::none || state == core::JobState::leased)
		return false;
	return !board.map.history(pool(), id) || store::read_history(queue, id).failed_attempts < attempt;
}

// Jobs that were cancelled while the lease held them: its holder is to learn of it.
void
note_cancelled(int32 queue, core::LeaseSlot &lease, Row const &row, core::JobId id)
{
	store::History const history = store::read_history(queue, id);
	if (history.any && history.last == store::Outcome::cancelled && history.failed_attempts == row.attempt)
		core::restore_cancelled(pool(), lease, id, id, row.priority, row.attempt);
}

struct RestoredTurns
{
	core::Board &board;
	core::LeaseSlot &lease;
};

bool
restore_turn(store::Job const &job, void *argument)
{
	auto const &[board, lease] = *static_cast<RestoredTurns *>(argument);
	if (job.ordering_key != nullptr && !core::restore_turn(board, pool(), lease, core::job_of(pool(), lease, job.id),
														   store::hash_of_key(job.ordering_key)))
		raise_no_state_memory();
	return true;
}

// The ordering keys of jobs that run are busy.
void
restore_turns(core::Board &board, int32 queue, core::LeaseSlot &lease, core::JobId first, core::JobId last)
{
	RestoredTurns restored{board, lease};
	if (board.has_keys)
		store::read_jobs(queue, first, last, restore_turn, &restored);
}

void
restore_row(core::Board &board, int32 queue, core::LeaseSlot &lease, Row const &row)
{
	for (core::JobId first = row.first; first <= row.last;)
	{
		core::JobId end = first; // after the last restorable neighbour
		while (end <= row.last && is_restorable(board, queue, end, row.attempt))
			end++;
		if (end > first && !core::restore_run(board, pool(), lease, first, end - 1, row.priority, row.attempt))
			return;
		if (end > first)
			restore_turns(board, queue, lease, first, end - 1);
		if (end <= row.last)
			note_cancelled(queue, lease, row, end);
		first = end + 1;
	}
}

// A lease of the journal, which begins with this row.
struct JournalledLease
{
	Row first;
	core::LeaseSlot *slot; // nullptr: there are no slots left, and its jobs are ready
};

struct JournalledLeases
{
	JournalledLease *lease; // in the order of the rows
	int count;
};

JournalledLeases
leases_in(SPITupleTable *rows)
{
	JournalledLeases leases{};
	leases.lease = static_cast<JournalledLease *>(
		palloc_extended(sizeof(JournalledLease) * Max(rows->numvals, 1), MCXT_ALLOC_HUGE));
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		Row const row = row_at(rows, i);
		if (leases.count == 0 || leases.lease[leases.count - 1].first.token != row.token)
			leases.lease[leases.count++] = {row, nullptr};
	}
	return leases;
}

int
compare_slots(void const *left, void const *right)
{
	std::uint32_t const a = core::slot_of((*static_cast<JournalledLease *const *>(left))->first.token);
	std::uint32_t const b = core::slot_of((*static_cast<JournalledLease *const *>(right))->first.token);
	return a < b ? -1 : a > b;
}

// In the order of slots, which is that in which the table gives them out: otherwise each would be searched for.
void
take_slots(core::Board &board, std::uint32_t index, JournalledLeases const &journalled)
{
	auto **const by_slot = static_cast<JournalledLease **>(
		palloc_extended(sizeof(JournalledLease *) * Max(journalled.count, 1), MCXT_ALLOC_HUGE));
	for (int i = 0; i < journalled.count; i++)
		by_slot[i] = &journalled.lease[i];
	qsort(by_slot, journalled.count, sizeof(JournalledLease *), compare_slots);
	for (int i = 0; i < journalled.count; i++)
	{
		JournalledLease &lease = *by_slot[i];
		lease.slot = leases().restore(index, lease.first.token, lease.first.holder);
		board.leases += lease.slot != nullptr;
		FAULT_POINT("restore: after slot");
	}
	pfree(by_slot);
}

void
finish_lease(core::Board &board, core::LeaseSlot &lease)
{
	if (lease.held.empty())
	{
		core::close_lease(board, pool(), leases(), lease);
		return;
	}
	core::Monotonic const now = base::now_monotonic();
	core::begin_limits(lease, now); // anew, as its time is
	core::hold(board, lease, now + lease.holder.span);
	board.counters.restored += lease.held.size();
	lease.journal.store(core::LeaseJournal::written, std::memory_order_release);
	if (lease.holder.hold == core::LeaseHold::session)
		core::lose(lease, lease.token.load(std::memory_order_relaxed));
}

} // namespace

void
restore_leases(core::Board &board, std::uint32_t index, catalog::Queue const &queue)
{
	base::AsOwner owner;
	base::SpiScope const spi;
	Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(queue.id)};
	SPI_execute_with_args(
		"SELECT token, first_id, last_id, attempt, priority,"
		" (extract(epoch FROM lease) * 1000000)::bigint, hold = 's', role, coalesce(worker, ''), journalled_at,"
		" coalesce((extract(epoch FROM soft_time_limit) * 1000000)::bigint, 0),"
		" coalesce((extract(epoch FROM hard_time_limit) * 1000000)::bigint, 0)"
		" FROM onceq.lease_journal WHERE queue_id = $1 ORDER BY max(journalled_at) OVER (PARTITION BY token)"
		" DESC, token, first_id",
		1, types, values, nullptr, true, 0);
	SPITupleTable *const rows = SPI_tuptable;
	JournalledLeases const journalled = leases_in(rows);
	take_slots(board, index, journalled);
	// Of two leases of the same job, the newer one has it.
	JournalledLease const *lease = journalled.lease;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		Row const row = row_at(rows, i);
		if (lease->first.token != row.token)
			lease++;
		if (lease->slot != nullptr)
			restore_row(board, queue.id, *lease->slot, row);
	}
	for (int i = 0; i < journalled.count; i++)
		if (journalled.lease[i].slot != nullptr)
			finish_lease(board, *journalled.lease[i].slot);
	owner.finish();
}

namespace {

struct Search
{
	core::Token token;
	int32 queue; // 0: not found
};

bool
compare_token(HeapTuple row, TupleDesc desc, void *argument)
{
	constexpr AttrNumber queue_column = 1, token_column = 2;
	auto &search = *static_cast<Search *>(argument);
	bool null;
	if (DatumGetInt64(heap_getattr(row, token_column, desc, &null)) != search.token)
		return true;
	search.queue = DatumGetInt32(heap_getattr(row, queue_column, desc, &null));
	return false;
}

} // namespace

bool
open_board_of(core::Token token)
{
	if (!catalog::is_adopted())
		return false;
	Search search{token, 0};
	{
		base::RelationScope const journal(catalog::catalog_oid("lease_journal"), AccessShareLock);
		catalog::scan_rows(journal, nullptr, 0, InvalidOid, Datum{0}, compare_token, &search);
	}
	catalog::Queue const *const found = search.queue != 0 ? catalog::find_queue(search.queue) : nullptr;
	if (found == nullptr || found->dropped)
		return false;
	catalog::Queue const queue = *found;
	FAULT_POINT("lookup: before build");
	open(queue);
	return true;
}

} // namespace onceq::board
