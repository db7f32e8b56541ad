// SPDX-License-Identifier: PostgreSQL
// What a transaction's entries do to a board when it ends. Everything here runs in callbacks, under B:
// noexcept, no memory, no PostgreSQL call.
#pragma once

#include "board/transaction.hpp"

namespace onceq::board {

enum class EntryKind : std::uint8_t
{
	reserved,
	claimed,
	ended,
	expiring,
	seized,
	borrowed,
	withdrawn,
	revived,
	buried,
	change,
	built
};

struct Entry
{
	Entry *previous;
	Handle board;
	SubTransactionId subtransaction;
	EntryKind kind;
	union
	{
		struct
		{
			core::JobId first;
			core::JobId last; // first - 1: none yet
			int priority;
			core::Wall due;
			core::KeyHash key; // of one job
		} reserved;
		struct
		{
			core::Token token;
			int unreadable; // job number; -1: none
		} claimed;          // and expiring
		struct
		{
			core::Token token;
			core::JobSet jobs;
			core::Ending ending;
			bool pinned;
			core::Wall due;
		} ended;
		core::Seized seized; // and borrowed; first 0 or above last: none
		struct
		{
			core::JobId id;
		} withdrawn;
		struct
		{
			core::Seized job; // one
			int priority;
			core::Wall due;
		} revived;
		struct
		{
			core::Seized job; // one
			bool blocks_its_key;
		} buried;
		struct
		{
			Change what;
			std::int64_t value;
			core::JobSet jobs; // journal_cleared: those released by then
		} change;
	};
};

// Ids reserved ahead by a transaction that enqueues singly, first … last still unused.
struct Spare
{
	Spare *next;
	Handle board;
	core::JobId first;
	core::JobId last;
	int chunk; // to be reserved next
};

// The list of the current transaction, newest first (transaction.cpp).
Entry *newest_entry();
Entry *add_entry(EntryKind kind, Handle const &board);

// Whom to wake after B is released.
struct Wakes
{
	bool worker;
	std::int64_t ready; // jobs of this board that became ready
};

// Jobs of an ordering key become available in the order in which they were enqueued, however the holds of B
// are sliced: the list, turned round if there are any.
Entry *in_order_of_publication(Entry *newest) noexcept;

// PRE_COMMIT found that the jobs to be ended are not held any more.
[[noreturn]] void raise_lost_at_commit(core::Token token, core::Ending ending);

// A claim that commits changes nothing: its jobs are the lease's already.
bool has_commit_effect(Entry const &entry) noexcept;
// now: by the clock, read before B.
void commit_effect(core::Board &board, Entry &entry, core::Wall now, Wakes &wakes) noexcept;
void abort_effect(core::Board &board, Entry &entry, core::Monotonic at_least, Wakes &wakes) noexcept;

// Frees every lease of a board that goes. Requires: B.
void free_leases(std::uint32_t index) noexcept;

} // namespace onceq::board
