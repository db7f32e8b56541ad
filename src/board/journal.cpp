// SPDX-License-Identifier: PostgreSQL
#include "board/journal.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/owner.hpp"
#include "base/settings.hpp"
#include "board/lease_copy.hpp"
#include "board/transaction.hpp"
#include "catalog/table.hpp"
#include "notify/notify.hpp"
#include "store/store.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_type.h>
#include <utils/acl.h>
}

namespace onceq::board {

namespace {

// The leases in the journal when this process looked last; unknown: something was written since, perhaps
// of a lease that ended meanwhile.
constexpr std::uint64_t unknown = ~std::uint64_t{0};
constinit std::uint64_t seen = unknown;

constexpr core::Microseconds journal_wait = 10 * core::microseconds_per_second;
constexpr core::Microseconds round_min = 10 * 1000; // with onceq.lease_journal_after = 0

enum class Action { none, write, clear };

// What the journal should do about a lease that is not in it, or has released jobs. Requires: B.
Action
action_for(core::LeaseSlot const &lease, core::Wall held_since, bool all)
{
	core::LeaseJournal const journal = lease.journal.load(std::memory_order_relaxed);
	// A row that another session is writing cannot be deleted before it commits.
	if (!lease.released.empty())
		return journal == core::LeaseJournal::writing ? Action::none : Action::clear;
	core::LeaseState const state = lease.state.load(std::memory_order_relaxed);
	if (journal == core::LeaseJournal::wanted)
		return state == core::LeaseState::held || state == core::LeaseState::provisional ? Action::write
																						 : Action::none;
	bool const wanted = journal == core::LeaseJournal::none && state == core::LeaseState::held &&
						lease.holder.hold == core::LeaseHold::time &&
						(all || lease.holder.claimed_at <= held_since);
	return wanted ? Action::write : Action::none;
}

// Copies a lease that the journal should act on. One to be written is marked: from here on its release
// waits for us.
Action
begin_action(core::LeaseSlot &lease, core::Token token, Handle const &handle, core::Wall held_since, bool all,
			 LeaseCopy &copy)
{
	Locked board(handle.index);
	if (!board.stands_for(handle.key) || !core::owns(lease, token))
		return Action::none;
	Action const action = action_for(lease, held_since, all);
	if (action == Action::none)
		return action;
	copy_lease(handle, lease, lease.held - lease.released, copy);
	if (action == Action::write)
		lease.journal.store(core::LeaseJournal::writing, std::memory_order_release);
	return action;
}

void
insert_run(LeaseCopy const &copy, core::LeasedIds const &ids)
{
	constexpr int arguments = 12;
	static const Oid types[arguments] = {INT4OID, INT8OID, INT8OID, INT8OID, INT4OID,
										 INT2OID, INT8OID, BOOLOID, OIDOID,	 TEXTOID,
										 INT8OID, INT8OID};
	Datum values[arguments] = {
		Int32GetDatum(copy.board.key.queue),
		Int64GetDatum(copy.token),
		Int64GetDatum(ids.first),
		Int64GetDatum(ids.last),
		Int32GetDatum(ids.attempt),
		Int16GetDatum(static_cast<int16>(ids.priority)),
		Int64GetDatum(copy.holder.span),
		BoolGetDatum(copy.holder.hold == core::LeaseHold::session),
		ObjectIdGetDatum(copy.holder.role),
		CStringGetTextDatum(copy.holder.worker),
		Int64GetDatum(copy.holder.soft_time_limit),
		Int64GetDatum(copy.holder.hard_time_limit),
	};
	SPI_execute_with_args(
		"INSERT INTO onceq.lease_journal (queue_id, token, first_id, last_id, attempt, priority, lease, hold,"
		" role, worker, soft_time_limit, hard_time_limit, journalled_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7 * interval '1 microsecond',"
		" CASE WHEN $8 THEN 's' ELSE 't' END, pg_catalog.pg_get_userbyid($9), $10,"
		" nullif($11, 0) * interval '1 microsecond', nullif($12, 0) * interval '1 microsecond',"
		" pg_catalog.clock_timestamp())"
		" ON CONFLICT DO NOTHING",
		arguments, const_cast<Oid *>(types), values, nullptr, false, 0);
}

void
delete_lease(int32 queue, core::Token token)
{
	Oid types[2] = {INT4OID, INT8OID};
	Datum values[2] = {Int32GetDatum(queue), Int64GetDatum(token)};
	SPI_execute_with_args("DELETE FROM onceq.lease_journal WHERE queue_id = $1 AND token = $2", 2, types,
						  values, nullptr, false, 0);
}

void
write_lease(core::LeaseSlot &lease, core::Wall held_since, bool all, LeaseCopy &copy)
{
	core::Token const token = lease.token.load(std::memory_order_acquire);
	Handle const board = handle_of(lease.board.load(std::memory_order_relaxed));
	if (token == core::no_token || board.key.database != MyDatabaseId ||
		action_for(lease, held_since, all) == Action::none) // looked up without B: looked at again below
		return;
	// Made before the lease is marked, so that an abort unmarks it.
	Entry *const change = change_at_commit(board, Change::lease_journalled, token);
	Action const action = begin_action(lease, token, board, held_since, all, copy);
	FAULT_POINT("journal: after mark");
	if (action != Action::write)
		cancel_change(change);
	if (action == Action::none)
		return;
	seen = unknown;
	ForceSyncCommit();
	if (action == Action::write)
		copy.runs().for_each(copy.jobs, [&](core::LeasedIds const &ids) { insert_run(copy, ids); });
	else
	{
		change_at_commit(board, Change::journal_cleared, token);
		delete_lease(board.key.queue, token);
	}
	FAULT_POINT("journal: after insert");
}

void
write_leases(bool all)
{
	core::Wall const held_since =
		base::now_wall() + -base::from_ms(base::settings.lease_journal_after_ms);
	auto *const copy = static_cast<LeaseCopy *>(palloc(sizeof(LeaseCopy)));
	for (std::uint32_t i = 0; i < leases().high_water(); i++)
	{
		CHECK_FOR_INTERRUPTS();
		write_lease(leases().slot(i), held_since, all, *copy);
	}
	pfree(copy);
}

// Whether a lease in the journal is over. While its queue has no standing board it is still to be restored.
bool
has_ended(int32 queue_id, core::Token token)
{
	catalog::Queue const *const queue = catalog::find_queue(queue_id);
	if (queue == nullptr || queue->dropped)
		return true;
	Handle handle;
	if (!find(*queue, handle))
		return false;
	Locked board(handle.index, LW_SHARED);
	core::LeaseSlot const *const lease = leases().find(token);
	return board.stands_for(handle.key) &&
		   (lease == nullptr || lease->token.load(std::memory_order_acquire) != token);
}

// The same for the same set of leases that are, or may be, in the journal.
std::uint64_t
sum_of_journalled()
{
	std::uint64_t sum = 0;
	for (std::uint32_t i = 0; i < leases().high_water(); i++)
	{
		core::LeaseSlot const &lease = leases().slot(i);
		core::Token const token = lease.token.load(std::memory_order_acquire);
		if (token != core::no_token && core::is_journalled(lease) &&
			handle_of(lease.board.load(std::memory_order_relaxed)).key.database == MyDatabaseId)
			sum += static_cast<std::uint64_t>(token);
	}
	return sum;
}

// Leases that ended are looked for only if the set has changed since this process looked last: under
// an old snapshot each look walks over all rows that were ever deleted.
void
delete_ended()
{
	std::uint64_t const sum = sum_of_journalled();
	if (sum == seen)
		return;
	seen = sum;
	SPI_execute("SELECT DISTINCT queue_id, token FROM onceq.lease_journal", false, 0);
	SPITupleTable *const rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		bool null;
		int32 const queue = DatumGetInt32(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &null));
		core::Token const token = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &null));
		if (has_ended(queue, token))
			delete_lease(queue, token);
	}
}

// ---- restore

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
	row.holder.role = get_role_oid(NameStr(*DatumGetName(column(8))), true);
	row.holder.claimed_at = core::Wall{DatumGetTimestampTz(column(10))};
	row.holder.soft_time_limit = DatumGetInt64(column(11));
	row.holder.hard_time_limit = DatumGetInt64(column(12));
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
		core::lose(lease);
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
build_board_of(core::Token token)
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
	if (Handle board; find(queue, board) && Locked(board.index, LW_SHARED).stands_for(board.key))
		return false;
	open(queue);
	return true;
}

// One turn of the worker; all: the server stops. Of a database that is not adopted nothing is touched.
static void
take_turn(bool all)
{
	if (!catalog::is_adopted())
		return;
	base::AsOwner owner;
	{
		base::SpiScope const spi;
		delete_ended();
		write_leases(all);
	}
	owner.finish();
}

core::Microseconds
keep_journal()
{
	take_turn(false);
	return Max(base::from_ms(base::settings.lease_journal_after_ms) / 2, round_min);
}

core::Microseconds
journal_at_shutdown()
{
	take_turn(true);
	return 0;
}

void
wait_until_journalled(Handle const &board, core::Token token)
{
	core::LeaseSlot &lease = *leases().find(token);
	core::Monotonic const deadline = base::now_monotonic() + journal_wait;
	notify::wake_worker(MyDatabaseId);
	ConditionVariablePrepareToSleep(&changed(board.index));
	while (lease.journal.load(std::memory_order_acquire) != core::LeaseJournal::written)
		if (!wait_for_change(board.index, deadline))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the lease could not be made durable in time"),
					 errdetail("After an unclean start of the server, older jobs are delivered only once the"
							   " onceq worker has journalled their lease."),
					 errhint("Try again; see onceq.workers.")));
	ConditionVariableCancelSleep();
}

} // namespace onceq::board
