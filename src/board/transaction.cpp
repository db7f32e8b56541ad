// SPDX-License-Identifier: PostgreSQL
#include "board/transaction.hpp"

#include "base/clock.hpp"
#include "base/errcode.hpp"
#include "base/fault.hpp"
#include "base/settings.hpp"
#include "board/effects.hpp"
#include "board/waiters.hpp"
#include "notify/notify.hpp"

extern "C" {
#include <utils/memutils.h>
}

namespace onceq::board {

namespace {

// What a transaction that failed to end a job leaves its holder at least.
constexpr core::Microseconds grace_after_abort = 5 * core::microseconds_per_second;

// How long one hold of B in a callback may be, in entries.
constexpr int entries_per_hold = 64;

constinit Entry *newest = nullptr;
constinit Spare *spares = nullptr;
constinit bool registered = false;

void
forget_all()
{
	newest = nullptr;
	spares = nullptr;
}

void
void_spares()
{
	for (Spare *spare = spares; spare != nullptr; spare = spare->next)
	{
		if (spare->first > spare->last)
			continue;
		Locked board(spare->board.index);
		if (board->key == spare->board.key)
			core::abandon(*board, pool(), spare->first, spare->last);
	}
}

// Applies effect to the entries up to end, newest first, holding B for a slice of them at a time; not for
// entries that it does nothing to.
template <typename HasEffect, typename Effect>
void
for_entries(Entry const *end, HasEffect has_effect, Effect effect)
{
	bool wake_worker = false;
	for (Entry *entry = newest; entry != end;)
	{
		if (!has_effect(*entry))
		{
			entry = entry->previous;
			continue;
		}
		std::uint32_t const index = entry->board.index;
		Wakes wakes{};
		{
			Locked board(index);
			std::int64_t const claimable = core::claimable_count(*board);
			std::int64_t const running = board->map.count(core::JobState::leased);
			for (int i = 0; i < entries_per_hold && entry != end && entry->board.index == index; i++)
			{
				if (board->key == entry->board.key)
					effect(*board, *entry, wakes);
				entry = entry->previous;
			}
			wakes.ready = core::claimable_count(*board) - claimable;
			if (board->ends_are_awaited)
				wakes.ready = Max(wakes.ready, running - board->map.count(core::JobState::leased));
		}
		wake_claimers(index, wakes.ready);
		wake_worker |= wakes.worker;
	}
	if (wake_worker)
		notify::wake_worker(MyDatabaseId);
}

void
pin_all()
{
	Entry *lost = nullptr;
	for (Entry *entry = newest; entry != nullptr && lost == nullptr; entry = entry->previous)
	{
		if (entry->kind != EntryKind::ended)
			continue;
		Locked board(entry->board.index);
		core::LeaseSlot *const lease = leases().find(entry->ended.token);
		auto *const pin = entry->ended.ending == core::Ending::cancelled ? core::pin_cancelled : core::pin;
		entry->ended.pinned =
			lease != nullptr && board->key == entry->board.key && pin(*lease, entry->ended.token, entry->ended.jobs);
		if (!entry->ended.pinned)
			lost = entry;
	}
	if (lost != nullptr) // ABORT unpins those of this pass
		raise_lost_at_commit(lost->ended.token, lost->ended.ending);
}

void
after_commit()
{
	newest = in_order_of_publication(newest);
	core::Wall const now = base::now_wall();
	CALLBACK_FAULT_POINT("commit: after clock");
	for_entries(nullptr, has_commit_effect,
				[now](core::Board &board, Entry &entry, Wakes &wakes) { commit_effect(board, entry, now, wakes); });
	void_spares();
	for (Entry *entry = newest; entry != nullptr; entry = entry->previous)
		if (entry->kind == EntryKind::change)
			ConditionVariableBroadcast(&changed(entry->board.index));
	forget_all();
}

// Undoes the entries up to end, newest first.
void
abort_entries(Entry const *end)
{
	core::Monotonic const at_least = base::now_monotonic() + grace_after_abort;
	auto const always = [](Entry const &) { return true; };
	for_entries(end, always, [at_least](core::Board &board, Entry &entry, Wakes &wakes) {
		abort_effect(board, entry, at_least, wakes);
	});
}

void
after_abort()
{
	abort_entries(nullptr);
	void_spares();
	forget_all();
}

void
refuse_prepare()
{
	if (newest != nullptr || spares != nullptr)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has enqueued, claimed or ended jobs"),
						errhint("Use COMMIT.")));
}

void
transaction_callback(XactEvent event, void *)
{
	if (newest == nullptr && spares == nullptr)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			FAULT_POINT("pre-commit: before pin");
			pin_all();
			FAULT_POINT("pre-commit: after pin");
			break;
		case XACT_EVENT_COMMIT:
			CALLBACK_FAULT_POINT("commit: before effects");
			after_commit();
			CALLBACK_FAULT_POINT("commit: after effects");
			break;
		case XACT_EVENT_ABORT:
			CALLBACK_FAULT_POINT("abort: before effects");
			after_abort();
			CALLBACK_FAULT_POINT("abort: after effects");
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			break;
		default:
			break;
	}
}

// Entries of the subtransaction are the newest ones, without a gap: while it ran, nobody else's were made.
void
subtransaction_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (Entry *entry = newest; entry != nullptr && entry->subtransaction == mine; entry = entry->previous)
			entry->subtransaction = parent;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		Entry *outer = newest;
		while (outer != nullptr && outer->subtransaction == mine)
			outer = outer->previous;
		abort_entries(outer);
		newest = outer;
	}
}

} // namespace

Entry *
newest_entry()
{
	return newest;
}

Entry *
add_entry(EntryKind kind, Handle const &board)
{
	if (!registered)
	{
		RegisterXactCallback(transaction_callback, nullptr);
		RegisterSubXactCallback(subtransaction_callback, nullptr);
		registered = true;
	}
	auto *const entry = static_cast<Entry *>(MemoryContextAllocZero(TopTransactionContext, sizeof(Entry)));
	entry->kind = kind;
	entry->board = board;
	entry->subtransaction = GetCurrentSubTransactionId();
	entry->previous = newest;
	newest = entry;
	return entry;
}

// ---- produce

namespace {

[[noreturn]] void
raise_no_room(catalog::Queue const &queue)
{
	bool const absent = notify::worker_pid(MyDatabaseId) == 0;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("no room was prepared for new jobs of queue \"%s\" in time", queue.name),
					absent ? errdetail("No onceq worker runs for this database.") : 0,
					errhint("Try again; see onceq.workers and the setting onceq.segment_wait.")));
	pg_unreachable();
}

// Reserves ids, waiting for the worker to prepare room when there is none.
core::Reservation
reserve_waiting(catalog::Queue const &queue, Handle const &handle, int wanted)
{
	// The worker, who is waited for, has no one to wait for.
	bool const is_worker = notify::worker_pid(MyDatabaseId) == MyProcPid;
	core::Monotonic const deadline =
		base::now_monotonic() + (is_worker ? 0 : base::from_ms(base::settings.segment_wait_ms));
	for (bool in_time = true;;)
	{
		core::Reservation reservation{0, 0, core::Refusal::not_standing};
		bool low = false;
		{
			Locked board(handle.index);
			if (board.stands_for(handle.key))
			{
				reservation = core::reserve(*board, pool(), wanted);
				low = core::is_room_low(*board);
			}
		}
		if (low)
			notify::wake_worker(MyDatabaseId);
		if (reservation.count > 0 || !in_time)
		{
			ConditionVariableCancelSleep();
			return reservation;
		}
		if (reservation.refusal == core::Refusal::not_standing)
			raise_no_such_queue(queue);
		if (reservation.refusal == core::Refusal::no_memory)
			raise_no_state_memory();
		FAULT_POINT("wait: for room");
		// The first call only registers, so that nothing that happens from here on is missed.
		in_time = wait_for_change(handle.index, deadline);
	}
}

core::Reservation
reserve_or_raise(catalog::Queue const &queue, Handle const &handle, int wanted)
{
	core::Reservation const reservation = reserve_waiting(queue, handle, wanted);
	if (reservation.count == 0)
		raise_no_room(queue);
	return reservation;
}

Spare *
find_spare(Handle const &board)
{
	for (Spare *spare = spares; spare != nullptr; spare = spare->next)
		// A board that was undone with a savepoint may have left its place to this one.
		if (spare->board.index == board.index && spare->board.key == board.key)
			return spare;
	auto *const spare = static_cast<Spare *>(MemoryContextAllocZero(TopTransactionContext, sizeof(Spare)));
	*spare = Spare{spares, board, 1, 0, 1};
	spares = spare;
	return spare;
}

// The entry for the next id: the newest one, if the id just continues it.
Entry *
entry_for(Handle const &board, core::JobId id, int priority, core::Wall due, core::KeyHash key)
{
	bool const continues = key == core::no_key && newest != nullptr && newest->kind == EntryKind::reserved &&
						   newest->subtransaction == GetCurrentSubTransactionId() &&
						   newest->board.index == board.index && newest->reserved.last + 1 == id &&
						   newest->reserved.priority == priority && newest->reserved.due == due &&
						   newest->reserved.key == core::no_key;
	if (continues)
		return newest;
	Entry *const entry = add_entry(EntryKind::reserved, board);
	entry->reserved = {id, id - 1, priority, due, key};
	return entry;
}

} // namespace

Ids
reserve_ids(catalog::Queue const &queue, int wanted, int priority, core::Wall due)
{
	Handle const board = open(queue);
	Entry *const entry = add_entry(EntryKind::reserved, board);
	entry->reserved = {1, 0, priority, due, core::no_key};
	core::Reservation const reservation = reserve_or_raise(queue, board, wanted);
	entry->reserved.first = reservation.first;
	entry->reserved.last = reservation.first + reservation.count - 1;
	return {reservation.first, reservation.count};
}

core::JobId
reserve_id(catalog::Queue const &queue, int priority, core::Wall due, core::KeyHash key)
{
	constexpr int chunk_max = 64;

	Handle const board = open(queue);
	Spare *const spare = find_spare(board);
	// Made before ids are reserved, so that they cannot be forgotten.
	Entry *entry = add_entry(EntryKind::reserved, board);
	entry->reserved = {1, 0, priority, due, core::no_key};
	if (spare->first > spare->last)
	{
		core::Reservation const reservation = reserve_or_raise(queue, board, spare->chunk);
		spare->first = reservation.first;
		spare->last = reservation.first + reservation.count - 1;
		spare->chunk = Min(spare->chunk * 2, chunk_max);
	}
	core::JobId const id = spare->first;
	newest = entry->previous;
	Entry *const target = entry_for(board, id, priority, due, key);
	spare->first++;
	target->reserved.last = id;
	return id;
}

Entry *
begin_claim(Handle const &board)
{
	// One that found nothing, and waits or looks elsewhere, goes on with its entry.
	bool const unused = newest != nullptr && newest->kind == EntryKind::claimed &&
						newest->subtransaction == GetCurrentSubTransactionId() &&
						newest->claimed.token == core::no_token;
	Entry *const entry = unused ? newest : add_entry(EntryKind::claimed, board);
	entry->board = board;
	entry->claimed = {core::no_token, -1};
	return entry;
}

void
set_token(Entry *claim, core::Token token)
{
	claim->claimed.token = token;
}

void
set_unreadable(Entry *claim, int job)
{
	claim->claimed.unreadable = job;
}

void
end_at_commit(Handle const &board, core::Token token, core::JobSet const &jobs, core::Ending ending, core::Wall due)
{
	bool const continues = newest != nullptr && newest->kind == EntryKind::ended &&
						   newest->subtransaction == GetCurrentSubTransactionId() && newest->ended.token == token &&
						   newest->ended.ending == ending && newest->ended.due == due;
	if (continues)
		newest->ended.jobs |= jobs;
	else
		add_entry(EntryKind::ended, board)->ended = {token, jobs, ending, false, due};
}

void
expire_at_commit(Handle const &board, core::Token token)
{
	add_entry(EntryKind::expiring, board)->claimed = {token, -1};
}

} // namespace onceq::board
