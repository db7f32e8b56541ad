// SPDX-License-Identifier: PostgreSQL
#include "board/effects.hpp"

#include "core/key_turns.hpp"

#include "base/errcode.hpp"

namespace onceq::board {

namespace {

// A due time that came before the commit is none: the look for due jobs may have passed it.
core::Wall
due_after(core::Wall now, core::Wall due) noexcept
{
	return due <= now ? core::wall_always : due;
}

void
end_jobs(core::Board &board, Entry const &entry, core::Wall now) noexcept
{
	core::LeaseSlot *const lease = leases().find(entry.ended.token);
	if (lease == nullptr || !core::owns(*lease, entry.ended.token) || !entry.ended.pinned)
		return;
	core::end(board, pool(), leases(), *lease, entry.ended.jobs, entry.ended.ending, due_after(now, entry.ended.due));
}

void
unpin_jobs(Entry &entry, core::Monotonic at_least) noexcept
{
	core::LeaseSlot *const lease = leases().find(entry.ended.token);
	auto *const unpin = entry.ended.ending == core::Ending::cancelled ? core::unpin_cancelled : core::unpin;
	if (entry.ended.pinned && lease != nullptr)
		unpin(*lease, entry.ended.token, entry.ended.jobs, at_least);
	entry.ended.pinned = false;
}

// The claim's rows were not returned: nothing happened. If they were, an attempt was begun.
void
abort_claim(core::Board &board, Entry const &entry) noexcept
{
	core::LeaseSlot *const lease = leases().find(entry.claimed.token);
	if (lease == nullptr || !core::owns(*lease, entry.claimed.token))
		return;
	if (lease->state.load(std::memory_order_relaxed) == core::LeaseState::provisional)
	{
		core::JobSet back = lease->held;
		if (entry.claimed.unreadable >= 0)
			back.remove(entry.claimed.unreadable);
		bool const all = back == lease->held;
		if (core::is_journalled(*lease))
			core::release_later(*lease, back);
		else
		{
			core::give_back(board, pool(), leases(), *lease, back);
			if (all)
				return;
		}
	}
	core::lose(*lease, entry.claimed.token);
}

void
journalled(core::Board &board, core::Token token, core::JobSet const &cleared) noexcept
{
	core::LeaseSlot *const lease = leases().find(token);
	if (lease == nullptr || !core::owns(*lease, token))
		return;
	lease->journal.store(core::LeaseJournal::written, std::memory_order_release);
	if (!cleared.empty())
		core::give_back(board, pool(), leases(), *lease, cleared);
}

// Whether jobs were released while the journal was being changed: they wait for the worker.
bool
has_released(core::Token token) noexcept
{
	core::LeaseSlot const *const lease = leases().find(token);
	return lease != nullptr && core::owns(*lease, token) && !lease->released.empty();
}

// A row that was not written is wanted again; one that was not deleted is still there.
void
not_journalled(core::Token token, core::LeaseJournal state) noexcept
{
	core::LeaseSlot *const lease = leases().find(token);
	if (lease != nullptr && core::owns(*lease, token))
		lease->journal.store(state, std::memory_order_release);
}

void
change_board(core::Board &board, Entry const &entry) noexcept
{
	std::int64_t const value = entry.change.value;
	switch (entry.change.what)
	{
		case Change::none:
			break;
		case Change::ceiling_raised:
			core::raise_ceiling(board, value);
			break;
		case Change::segment_prepared:
			board.prepared_end = Max(board.prepared_end, value);
			break;
		case Change::segment_sealed:
			core::seal(board, value);
			break;
		case Change::segment_forgotten:
			board.map.forget(pool(), value);
			break;
		case Change::queue_dropped:
			board.phase = core::BoardPhase::dropped;
			break;
		case Change::board_freed:
			free_leases(entry.board.index);
			core::free_board(board, pool());
			break;
		case Change::lease_journalled:
		case Change::journal_cleared:
			journalled(board, value, entry.change.jobs);
			break;
	}
}

} // namespace

Entry *
in_order_of_publication(Entry *newest) noexcept
{
	bool has_keys = false;
	for (Entry const *entry = newest; entry != nullptr && !has_keys; entry = entry->previous)
		has_keys = entry->kind == EntryKind::reserved && entry->reserved.key != core::no_key;
	if (!has_keys)
		return newest;
	Entry *oldest = nullptr;
	Entry *withdrawn = nullptr; // those go before what they withdraw
	while (newest != nullptr)
	{
		Entry *const entry = newest;
		newest = entry->previous;
		Entry *&list = entry->kind == EntryKind::withdrawn ? withdrawn : oldest;
		entry->previous = list;
		list = entry;
	}
	Entry **end = &withdrawn;
	while (*end != nullptr)
		end = &(*end)->previous;
	*end = oldest;
	return withdrawn;
}

void
raise_lost_at_commit(core::Token token, core::Ending ending)
{
	if (ending == core::Ending::cancelled)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("a running job was ended by others before it could be cancelled"),
						errhint("Repeat the transaction.")));
	ereport(ERROR, (errcode(ERRCODE_ONCEQ_LEASE_LOST), errmsg("the lease was lost before the transaction could commit"),
					errdetail("Its token is " INT64_FORMAT ".", token),
					errhint("The jobs are delivered again; this transaction changed nothing.")));
	pg_unreachable();
}

bool
has_commit_effect(Entry const &entry) noexcept
{
	return entry.kind != EntryKind::claimed && entry.kind != EntryKind::expiring;
}

void
commit_effect(core::Board &board, Entry &entry, core::Wall now, Wakes &wakes) noexcept
{
	core::Wall const earliest = board.earliest_due;
	switch (entry.kind)
	{
		case EntryKind::reserved:
			if (entry.reserved.key != core::no_key)
				core::publish_keyed(board, pool(), entry.reserved.first, entry.reserved.priority,
									due_after(now, entry.reserved.due), entry.reserved.key);
			else if (entry.reserved.first <= entry.reserved.last)
				core::publish(board, pool(), entry.reserved.first, entry.reserved.last, entry.reserved.priority,
							  due_after(now, entry.reserved.due));
			break;
		case EntryKind::ended:
			end_jobs(board, entry, now);
			break;
		case EntryKind::seized:
			if (entry.seized.first != 0 && entry.seized.first <= entry.seized.last)
				core::finish_seized(board, pool(), entry.seized);
			break;
		case EntryKind::withdrawn: // before what it was reserved with, which is the older entry
			core::withdraw(board, pool(), entry.withdrawn.id);
			break;
		case EntryKind::borrowed:
			if (entry.seized.first != 0 && entry.seized.first <= entry.seized.last)
				core::restore_seized(board, pool(), entry.seized);
			wakes.worker = true;
			break;
		case EntryKind::revived:
			core::settle_seized(board, pool(), entry.revived.job.first, true, true, entry.revived.priority,
								entry.revived.due);
			break;
		case EntryKind::buried:
			core::bury_seized(board, pool(), entry.buried.job.first, entry.buried.blocks_its_key);
			break;
		case EntryKind::change:
			change_board(board, entry);
			wakes.worker |=
				entry.change.what == Change::queue_dropped ||
				((entry.change.what == Change::lease_journalled || entry.change.what == Change::journal_cleared) &&
				 has_released(entry.change.value));
			break;
		case EntryKind::built:
			board.provisional = false;
			break;
		case EntryKind::claimed:
		case EntryKind::expiring:
			break;
	}
	wakes.worker |= board.earliest_due < earliest || board.keys_are_in_doubt;
}

void
abort_effect(core::Board &board, Entry &entry, core::Monotonic at_least, Wakes &wakes) noexcept
{
	switch (entry.kind)
	{
		case EntryKind::reserved:
			if (entry.reserved.first <= entry.reserved.last)
				core::abandon(board, pool(), entry.reserved.first, entry.reserved.last);
			break;
		case EntryKind::claimed:
			abort_claim(board, entry);
			wakes.worker = true;
			break;
		case EntryKind::ended:
			unpin_jobs(entry, at_least);
			break;
		case EntryKind::expiring:
			if (core::LeaseSlot *const lease = leases().find(entry.claimed.token);
				lease != nullptr && core::owns(*lease, entry.claimed.token))
				core::cancel_expiry(*lease);
			break;
		case EntryKind::seized:
		case EntryKind::borrowed:
			if (entry.seized.first != 0 && entry.seized.first <= entry.seized.last)
				core::restore_seized(board, pool(), entry.seized);
			wakes.worker = true;
			break;
		case EntryKind::withdrawn:
			break;
		case EntryKind::revived:
			core::restore_seized(board, pool(), entry.revived.job);
			// One that is dead again concerns nobody but those behind it.
			wakes.worker |= entry.revived.job.origin != core::JobState::none || board.keys_are_in_doubt;
			break;
		case EntryKind::buried:
			core::restore_seized(board, pool(), entry.buried.job);
			wakes.worker = true;
			break;
		case EntryKind::built:
			free_leases(entry.board.index);
			core::free_board(board, pool());
			break;
		case EntryKind::change:
			if (entry.change.what == Change::lease_journalled)
				not_journalled(entry.change.value, core::LeaseJournal::wanted);
			else if (entry.change.what == Change::journal_cleared)
				not_journalled(entry.change.value, core::LeaseJournal::written);
			break;
	}
}

void
free_leases(std::uint32_t index) noexcept
{
	for (std::uint32_t i = 0; i < leases().high_water(); i++)
	{
		core::LeaseSlot &lease = leases().slot(i);
		if (lease.token.load(std::memory_order_relaxed) != core::no_token &&
			lease.board.load(std::memory_order_relaxed) == index)
			leases().free(pool(), lease);
	}
}

} // namespace onceq::board
