// SPDX-License-Identifier: PostgreSQL
// What the current transaction has asked for so far, as far as others ask.
#include "board/effects.hpp"

namespace onceq::board {

core::JobSet
asked_to_end(core::Token token)
{
	core::JobSet asked{};
	for (Entry *entry = newest_entry(); entry != nullptr; entry = entry->previous)
		if (entry->kind == EntryKind::ended && entry->ended.token == token)
			asked |= entry->ended.jobs;
	return asked;
}

bool
finishes_job(Handle const &board, core::JobId id)
{
	for (Entry *entry = newest_entry(); entry != nullptr; entry = entry->previous)
	{
		if (entry->board.index != board.index || entry->board.key != board.key)
			continue;
		if (entry->kind == EntryKind::seized && entry->seized.first <= id && id <= entry->seized.last)
			return true;
		if (entry->kind == EntryKind::buried && entry->buried.job.first == id)
			return true;
		if (entry->kind != EntryKind::ended || entry->ended.ending == core::Ending::failed)
			continue;
		Locked locked(board.index, LW_SHARED);
		core::LeaseSlot const *const lease = leases().find(entry->ended.token);
		if (lease == nullptr || !core::owns(*lease, entry->ended.token))
			continue;
		int const job = core::job_of(pool(), *lease, id);
		if (job >= 0 && entry->ended.jobs.contains(job))
			return true;
	}
	return false;
}

void
withdraw_at_commit(Handle const &board, core::JobId id)
{
	add_entry(EntryKind::withdrawn, board)->withdrawn = {id};
}

} // namespace onceq::board
