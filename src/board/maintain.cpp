// SPDX-License-Identifier: PostgreSQL
// What a transaction of maintenance does to boards: jobs that it takes away from everybody else, and
// changes that a board learns of at commit.
#include "base/fault.hpp"
#include "board/effects.hpp"
#include "board/transaction.hpp"
#include "board/waiters.hpp"
#include "notify/notify.hpp"

namespace onceq::board {

namespace {

std::int64_t
take_away(EntryKind kind, catalog::Queue const &queue, core::JobState state, core::JobId first, core::JobId last,
		  VisitSeized visit, void *argument)
{
	Handle const handle = open(queue);
	std::int64_t total = 0;
	for (core::JobId start = first; start <= last;)
	{
		CHECK_FOR_INTERRUPTS();
		Entry *const entry = add_entry(kind, handle);
		entry->seized = {1, 0, state};
		core::Refusal refusal = core::Refusal::not_standing;
		{
			Locked board(handle.index);
			if (board.stands_for(handle.key))
				entry->seized = core::seize_next(*board, pool(), state, start, last, refusal);
		}
		if (refusal == core::Refusal::no_memory)
			raise_no_state_memory();
		if (entry->seized.first == 0 || refusal != core::Refusal::none)
			break;
		FAULT_POINT("seize: after seize");
		visit(entry->seized, argument);
		total += entry->seized.last - entry->seized.first + 1;
		start = entry->seized.last + 1;
	}
	return total;
}

} // namespace

std::int64_t
seize_jobs(catalog::Queue const &queue, core::JobState state, core::JobId first, core::JobId last, VisitSeized visit,
		   void *argument)
{
	return take_away(EntryKind::seized, queue, state, first, last, visit, argument);
}

std::int64_t
borrow_jobs(catalog::Queue const &queue, core::JobState state, core::JobId first, core::JobId last, VisitSeized visit,
			void *argument)
{
	return take_away(EntryKind::borrowed, queue, state, first, last, visit, argument);
}

bool
borrow_ended_job(Handle const &board, core::JobId id)
{
	Entry *const entry = add_entry(EntryKind::borrowed, board);
	entry->seized = {1, 0, core::JobState::none};
	Locked locked(board.index);
	return locked.stands_for(board.key) && locked->map.state(pool(), id) == core::JobState::none &&
		   core::seize_one(*locked, pool(), id, entry->seized);
}

Entry *
seize_job(Handle const &board, core::JobId id, core::JobState &was)
{
	Entry *const entry = add_entry(EntryKind::seized, board);
	entry->seized = {1, 0, core::JobState::none};
	Locked locked(board.index);
	if (!locked.stands_for(board.key) || !core::seize_one(*locked, pool(), id, entry->seized))
		return nullptr;
	was = entry->seized.origin;
	return entry;
}

core::JobState
settle_job(Entry *seized, bool live, bool history, int priority, core::Wall due)
{
	core::JobId const id = seized->seized.first;
	core::JobState state;
	{
		Locked board(seized->board.index);
		core::settle_seized(*board, pool(), id, live, history, priority, due);
		state = board->map.state(pool(), id);
	}
	seized->seized = {1, 0, core::JobState::none};
	wake_claimers(seized->board.index, core::is_ready(state));
	return state;
}

Entry *
seize_job_if(catalog::Queue const &queue, core::JobId id, StateFilter wanted, core::JobState &is)
{
	Handle const handle = open(queue);
	Entry *const entry = add_entry(EntryKind::seized, handle);
	entry->seized = {1, 0, core::JobState::none};
	bool stands = false;
	bool is_wanted = false;
	bool seized = false;
	{
		Locked board(handle.index);
		stands = board.stands_for(handle.key);
		is = board->map.state(pool(), id);
		is_wanted = stands && id < board->next_id && wanted(is);
		seized = is_wanted && core::seize_one(*board, pool(), id, entry->seized);
	}
	if (!stands)
		raise_no_such_queue(queue);
	if (is_wanted && !seized)
		raise_no_state_memory();
	return seized ? entry : nullptr;
}

void
give_back(Entry *seized)
{
	std::uint32_t const index = seized->board.index;
	// It may have come due meanwhile.
	bool for_worker = seized->seized.origin == core::JobState::waiting;
	if (Locked board(index); board.stands_for(seized->board.key))
	{
		core::restore_seized(*board, pool(), seized->seized);
		for_worker |= board->keys_are_in_doubt;
	}
	wake_claimers(index, core::is_ready(seized->seized.origin));
	if (for_worker)
		notify::wake_worker(MyDatabaseId);
	seized->seized = {1, 0, core::JobState::none};
}

void
revive_at_commit(Entry *seized, int priority, core::Wall due)
{
	core::Seized const job = seized->seized;
	seized->kind = EntryKind::revived;
	seized->revived = {job, priority, due};
}

void
bury_at_commit(Entry *seized, bool blocks_its_key)
{
	core::Seized const job = seized->seized;
	seized->kind = EntryKind::buried;
	seized->buried = {job, blocks_its_key};
}

Entry *
change_at_commit(Handle const &board, Change change, std::int64_t value)
{
	Entry *const entry = add_entry(EntryKind::change, board);
	entry->change = {change, value, {}};
	return entry;
}

void
cancel_change(Entry *change)
{
	change->change = {Change::none, 0, {}};
}

void
make_clearing(Entry *change, core::JobSet const &released)
{
	change->change = {Change::journal_cleared, change->change.value, released};
}

void
free_board_at_abort(Handle const &board)
{
	add_entry(EntryKind::built, board);
}

} // namespace onceq::board
