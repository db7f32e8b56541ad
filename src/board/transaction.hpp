// SPDX-License-Identifier: PostgreSQL
// What the current transaction has done to boards, so that its end can be told to them.
//
// A list of entries, each made before the board is touched, so that nothing done can be forgotten;
// keyed by subtransaction. The callbacks of commit and abort walk it: they raise nothing, allocate
// nothing and match entries by (slot, token), never by id alone.
//
//	PRE_COMMIT   jobs to be ended are pinned; OQ001 if the lease was lost meanwhile
//	COMMIT       what was done takes effect on the board
//	ABORT        what was done is undone, of a savepoint too
//	PRE_PREPARE  refused: at COMMIT PREPARED no callback of ours would run
#pragma once

#include "board/board.hpp"

namespace onceq::board {

// ---- produce

struct Ids
{
	core::JobId first;
	int count;
};

// Neighbouring ids, all of one segment, at most wanted; they become jobs of this priority and due time
// when the transaction commits. Waits at most onceq.segment_wait for the worker to prepare room.
// Raises 42704 (queue dropped), 53400 (onceq.state_memory), 55000 (no room in time).
Ids reserve_ids(catalog::Queue const &queue, int wanted, int priority, core::Wall due);

// One id, of a job with this ordering key. A transaction that asks again and again reserves growing chunks.
core::JobId reserve_id(catalog::Queue const &queue, int priority, core::Wall due, core::KeyHash key);

// A job that this transaction enqueued is not delivered if the transaction commits.
void withdraw_at_commit(Handle const &board, core::JobId id);

// ---- claim

struct Entry;

// To be called before the lease is granted. An abort of the (sub)transaction gives the jobs back, or
// loses the lease once its rows were returned.
Entry *begin_claim(Handle const &board);
void set_token(Entry *claim, core::Token token);
// The row of this job cannot be read: when the claim aborts, the attempt counts for it alone.
void set_unreadable(Entry *claim, int job);

// ---- end

// At commit the jobs leave the lease, which must be held under this token until then.
void end_at_commit(Handle const &board, core::Token token, core::JobSet const &jobs, core::Ending ending,
				   core::Wall due);

// Jobs of the lease that this transaction has asked to end already.
core::JobSet asked_to_end(core::Token token);

// Whether the job, which is leased or seized, is finished if this transaction commits.
bool finishes_job(Handle const &board, core::JobId id);

// The worker's own hold on an expired lease: lost again if the transaction aborts.
void expire_at_commit(Handle const &board, core::Token token);

// ---- maintain

// Takes the jobs in this state with ids first … last away from everybody else until the end of the
// transaction: gone at commit, where they were at abort. Calls visit for each run taken.
using VisitSeized = void (*)(core::Seized const &seized, void *argument);
std::int64_t seize_jobs(catalog::Queue const &queue, core::JobState state, core::JobId first, core::JobId last,
						VisitSeized visit, void *argument);

// The same, but at commit they are where they were, too.
std::int64_t borrow_jobs(catalog::Queue const &queue, core::JobState state, core::JobId first, core::JobId last,
						 VisitSeized visit, void *argument);

// A job that has ended and that nobody owns is seized until the end of the transaction; false: it is not, or memory
// is used up.
bool borrow_ended_job(Handle const &board, core::JobId id);

// One job that nobody owns → seized, until settled or the transaction aborts; nullptr: somebody owns it.
Entry *seize_job(Handle const &board, core::JobId id, core::JobState &was);
// Gives it the state that the tables say; returns that. At once, whatever becomes of the transaction.
core::JobState settle_job(Entry *seized, bool live, bool history, int priority, core::Wall due);

// One job that is in a state that is wanted, taken away from everybody else until the end of the transaction, as
// by seize_jobs; nullptr: it is not. is: its state. Raises 42704, 53400.
using StateFilter = bool (*)(core::JobState state);
Entry *seize_job_if(catalog::Queue const &queue, core::JobId id, StateFilter wanted, core::JobState &is);

// Gives it back at once: it is where it was. No transaction has changed it since it was seized.
void give_back(Entry *seized);

// When the transaction commits the seized job is ready, or waits until it is due, and has a history.
void revive_at_commit(Entry *seized, int priority, core::Wall due);

// When the transaction commits the seized job is dead.
void bury_at_commit(Entry *seized, bool blocks_its_key);

enum class Change : std::uint8_t
{
	ceiling_raised,   // value: the new ceiling
	segment_prepared, // value: the number after it
	segment_sealed,   // value: its number
	segment_forgotten,
	none,
	queue_dropped,
	board_freed,
	lease_journalled, // value: its token; at abort it is wanted again
	journal_cleared,  // value: the token of a lease some of whose jobs are out of the journal
};

// The board learns of the change when the transaction commits; unless it is cancelled.
Entry *change_at_commit(Handle const &board, Change change, std::int64_t value);

void cancel_change(Entry *change);
// From lease_journalled to journal_cleared: at commit the journal does not have these jobs of the lease any
// more, and they are ready again.
void make_clearing(Entry *change, core::JobSet const &released);

// The board was built for a queue that this transaction made: it goes if the queue does.
void free_board_at_abort(Handle const &board);

} // namespace onceq::board
