// SPDX-License-Identifier: PostgreSQL
// The protocol of one queue's board: what is ready, leased or waiting now, and every step that
// changes it. Each function is one step of doc/internals/board.md, and all of it happens in one hold of
// the board's lock ("B"). Nothing here can fail half way: a function either does its step or returns
// why not, having changed nothing.
//
// Requires, for every function: B is held by the caller.
#pragma once

#include "core/ageing.hpp"
#include "core/key_table.hpp"
#include "core/lease.hpp"
#include "core/limits.hpp"
#include "core/state_map.hpp"

namespace onceq::core {

struct BoardKey
{
	std::uint32_t database;
	std::int32_t queue;
	std::int64_t incarnation; // random, so that a reused oid or number is not taken for the old queue

	friend constexpr bool operator==(BoardKey const &, BoardKey const &) noexcept = default;
};

enum class BoardPhase : std::uint8_t
{
	free,     // no queue's
	building, // one session reads the tables, the others wait
	standing,
	dropped // the queue is gone; the worker frees the board when no transaction can touch it
};

enum class Refusal : std::uint8_t
{
	none,
	not_standing,
	no_segment, // the next segment is not prepared yet
	no_ids,     // the durable id ceiling is reached
	no_memory   // the page pool is used up
};

// Since the board was built. Counts of jobs, except claims.
struct BoardCounters
{
	std::int64_t enqueued;
	std::int64_t claims;
	std::int64_t delivered;
	std::int64_t succeeded;
	std::int64_t failed;
	std::int64_t dead;
	std::int64_t cancelled;
	std::int64_t released;
	std::int64_t expired;
	std::int64_t restored;  // in leases of the journal, when the board was built
	std::int64_t held_back; // see Spread
};

// After an unclean start the jobs that somebody most likely had in hand wait, each for a time of its own
// within a span, so that their effects are not repeated all at once.
struct Spread
{
	JobId first; // among first … last, in state waiting; above last: there are none
	JobId last;
	Monotonic since;
	Microseconds span;
	std::int32_t done;     // of spread_steps
	std::int32_t returned; // how often jobs came back that may have been passed over meanwhile
};
inline constexpr int spread_steps = 64;

struct Board
{
	BoardKey key;
	BoardPhase phase;
	bool provisional; // its queue was made by a transaction that has not committed
	JobId next_id;
	JobId id_ceiling;                       // ids below it may be given out: raised durably before use
	JobId ceiling_step;                     // by which it was raised last
	SegmentNumber prepared_end;             // segments below it have their tables
	JobId first_new_id;                     // ids below it were given out before this life of the server
	Monotonic standing_since;               // before it nobody could be given a job in this life
	JobId lowest_ready[priority_max + 1];   // no job of that priority is ready below it
	WaitingTimes waiting[priority_max + 1]; // of ready jobs, while they age
	std::int32_t leases;                    // of this queue now
	bool ends_are_awaited;                  // a claim was refused because too many jobs run
	TokenBucket bucket;                     // of jobs that may be delivered, if their rate is limited
	Wall watermark;                         // jobs due at or before it are ready, not waiting
	Wall promoted_to;                       // waiting jobs due at or before it were promoted
	Wall promoting_to;                      // how far the look under way goes; wall_always: none, or it missed a job
	Wall earliest_due;                      // no waiting job is due before it
	Spread spread;
	BoardCounters counters;
	StateMap map;
	KeyTable keys;
	std::int32_t key_limit; // jobs of one key that may run at once, as was said last
	bool has_keys;          // when it was built, a job had an ordering key
	bool keys_are_in_doubt; // blocked jobs may wait for one that has left without a word
};
static_assert(std::is_standard_layout_v<Board>);

// ---- life of the board

void begin_building(Board &board, BoardKey key) noexcept;
// After place() of every live job.
void finish_building(Board &board, JobId first_new_id, JobId id_ceiling, SegmentNumber prepared_end, Wall now) noexcept;
void raise_ceiling(Board &board, JobId ceiling) noexcept;
void free_board(Board &board, FramePool &pool) noexcept;

// ---- produce

struct Reservation
{
	JobId first;
	int count; // 0: refused
	Refusal refusal;
};

// Takes up to wanted neighbouring ids of one segment: none → reserved.
Reservation reserve(Board &board, FramePool &pool, int wanted) noexcept;

// Whether the worker should raise the ceiling or prepare segments now.
bool is_room_low(Board const &board) noexcept;

// COMMIT of the producer: reserved → ready, or waiting if due above the watermark.
void publish(Board &board, FramePool &pool, JobId first, JobId last, int priority, Wall due) noexcept;

// ABORT of the producer, or the unused rest of a reservation: reserved → none.
void abandon(Board &board, FramePool &pool, JobId first, JobId last) noexcept;

// COMMIT of a producer that replaced a job of its own, before the job is published: reserved → none.
void withdraw(Board &board, FramePool &pool, JobId id) noexcept;

// ---- claim

inline std::int64_t
ready_count(Board const &board) noexcept
{
	std::int64_t count = 0;
	for (int priority = 0; priority <= priority_max; priority++)
		count += board.map.count(ready_at(priority));
	return count;
}

// The same, with the keys that are to be looked at, each of which may have a job that becomes ready.
inline std::int64_t
claimable_count(Board const &board) noexcept
{
	return ready_count(board) + board.keys.waiting();
}

// How many of so many jobs the limits let start now.
int allowed(Board &board, Limits const &limits, int wanted, Monotonic now) noexcept;

// A provisional lease of this board; nullptr: the queue has leases_max, or the table is full.
LeaseSlot *open_lease(Board &board, LeaseTable &table, std::uint32_t index, std::uint64_t random,
					  LeaseHolder const &holder, std::int32_t leases_max) noexcept;
// Its last job has left it, or it never had one.
void close_lease(Board &board, FramePool &pool, LeaseTable &table, LeaseSlot &lease) noexcept;

// Moves the lowest ready jobs of the highest priority, or of that which ageing puts first, into the lease;
// returns how many, at most count. refusal is no_memory when there would have been more.
int take(Board &board, FramePool &pool, LeaseSlot &lease, int count, Refusal &refusal,
		 Ageing const &ageing = no_ageing) noexcept;

// What the claimer found when it looked for the rows of the taken jobs.
struct Findings
{
	JobSet absent;     // no row: nothing was enqueued → none
	JobSet early;      // due above the watermark → waiting; ready again if the watermark rose meanwhile
	JobSet unseen;     // not visible to the claimer's fixed snapshot, or not to go with the others → ready, uncounted
	Wall earliest_due; // of the early ones
};
void settle(Board &board, FramePool &pool, LeaseSlot &lease, Findings const &findings) noexcept;

// The time limits of the lease's jobs begin to count. To be called before hold.
void begin_limits(LeaseSlot &lease, Monotonic now) noexcept;

// The rows are about to be handed over: PROVISIONAL → HELD.
void hold(Board &board, LeaseSlot &lease, Monotonic deadline) noexcept;

// ---- end

inline bool
owns(LeaseSlot const &lease, Token token) noexcept
{
	return lease.token.load(std::memory_order_relaxed) == token && token != no_token;
}

// Whether the jobs may be ended under this token: held, and no commit that ends them under way.
inline bool
may_end(LeaseSlot const &lease, Token token, JobSet const &jobs) noexcept
{
	return owns(lease, token) && (lease.held - lease.pinned).includes(jobs);
}

// A new deadline for what is still held, at most the hard time limit; false: the lease is lost.
bool extend(LeaseSlot &lease, Token token, Monotonic deadline) noexcept;

// PRE_COMMIT of the transaction that ends the jobs; false: the lease is lost, nothing changed.
bool pin(LeaseSlot &lease, Token token, JobSet const &jobs) noexcept;

// ABORT after a pin: HELD again, at least until the deadline given.
void unpin(LeaseSlot &lease, Token token, JobSet const &jobs, Monotonic at_least) noexcept;

// pin and unpin for a transaction that cancels jobs of a lease that it need not hold. From here on the
// lease says so, because its holder may have begun to work on them: "all of it" must not be taken as done.
bool pin_cancelled(LeaseSlot &lease, Token token, JobSet const &jobs) noexcept;
void unpin_cancelled(LeaseSlot &lease, Token token, JobSet const &jobs, Monotonic at_least) noexcept;

enum class Ending : std::uint8_t
{
	succeeded,
	failed, // and comes again: ready, or waiting if due above the watermark
	dead,
	dead_and_blocks, // the later jobs of its ordering key
	cancelled,
};

constexpr bool
is_dead(Ending ending) noexcept
{
	return ending == Ending::dead || ending == Ending::dead_and_blocks;
}

// COMMIT: the jobs leave the lease; the last one frees it.
void end(Board &board, FramePool &pool, LeaseTable &table, LeaseSlot &lease, JobSet const &jobs, Ending ending,
		 Wall due) noexcept;

// leased → ready, nothing counted; the last job frees the lease. Requires: not journalled.
void give_back(Board &board, FramePool &pool, LeaseTable &table, LeaseSlot &lease, JobSet const &jobs) noexcept;

// As give_back, but of a journalled lease: the jobs wait, pinned, until the worker has taken them out of
// the journal and gives them back; else a restart could restore a lease that a newer one followed.
void release_later(LeaseSlot &lease, JobSet const &jobs) noexcept;

// Whether the lease may be in the journal, so that its jobs are released later.
inline bool
is_journalled(LeaseSlot const &lease) noexcept
{
	return lease.journal.load(std::memory_order_relaxed) >= LeaseJournal::writing;
}

// The holder is gone: HELD → LOST; the worker counts a failed attempt of each job still held. Nothing if the
// token does not own the lease.
void lose(LeaseSlot &lease, Token token) noexcept;

// ---- expire

// Whether the worker may take the lease away now.
inline bool
may_expire(LeaseSlot const &lease, Monotonic now) noexcept
{
	LeaseState const state = lease.state.load(std::memory_order_relaxed);
	bool const over = state == LeaseState::lost ||
					  (state == LeaseState::held && lease.deadline.load(std::memory_order_relaxed) <= now.us);
	return over && lease.pinned.empty();
}

// The system owns the jobs before it writes their outcomes: from here on the holder's token does not match.
void begin_expiry(LeaseSlot &lease, std::uint32_t slot, std::uint64_t random) noexcept;
// ABORT of the worker: it will be tried again.
void cancel_expiry(LeaseSlot &lease) noexcept;

// ---- due

// Makes now the watermark and returns since when waiting jobs have to be looked for: all that are
// due after it, up to now. Until the look is finished promoted_to is below the watermark.
Wall advance_watermark(Board &board, Wall now) noexcept;
// waiting → ready; false: stopped by lack of memory.
bool promote(Board &board, FramePool &pool, JobId id, int priority) noexcept;
void note_due(Board &board, Wall due) noexcept;
// All jobs due up to now were promoted.
void finish_promotion(Board &board, Wall now) noexcept;

// ---- spread, after an unclean start

// While the board is built: makes the first ready jobs of each priority wait. Claims take the lowest ids
// first, so that what was in somebody's hands is among them. Returns how many.
std::int64_t hold_back(Board &board, FramePool &pool, Microseconds span, Monotonic now) noexcept;

// How many of the spread_steps should be done by now.
int spread_step(Spread const &spread, Monotonic now) noexcept;

// Looks through a few jobs from start on for one of the steps after done up to step.
struct HeldBack
{
	JobId id;   // 0: none of them
	JobId next; // where to go on; 0: nowhere
};
HeldBack next_held_back(Board const &board, FramePool &pool, JobId start, int step) noexcept;

// All of the steps up to this one were promoted, unless a job came back since this was the spread.
void finish_spread_step(Board &board, Spread const &then, int step) noexcept;

// Whether the job may wait although its due time has come.
inline bool
may_be_held_back(Board const &board, JobId id) noexcept
{
	return board.spread.done < spread_steps && board.spread.first <= id && id <= board.spread.last;
}

// ---- maintain

// A job, or neighbouring jobs, owned by a transaction of maintenance, and where they were.
struct Seized
{
	JobId first;
	JobId last;
	JobState origin;
};

// The next jobs at or after start in this state → seized; first 0: none, or no memory (refusal).
Seized seize_next(Board &board, FramePool &pool, JobState state, JobId start, JobId end, Refusal &refusal) noexcept;
// One job, unless a transaction or a lease owns it, whatever it is → seized. false: owned, or no memory.
bool seize_one(Board &board, FramePool &pool, JobId id, Seized &seized) noexcept;
// seized → what the tables say of it: none, or ready, or waiting if due above the watermark, or blocked if
// due is wall_never: it is dead and blocks its key.
void settle_seized(Board &board, FramePool &pool, JobId id, bool live, bool history, int priority, Wall due) noexcept;

// seized → none: it is dead; or blocked, if it blocks its ordering key.
void bury_seized(Board &board, FramePool &pool, JobId id, bool blocks_its_key) noexcept;

// seized → none at COMMIT, → where they were at ABORT.
void finish_seized(Board &board, FramePool &pool, Seized const &seized) noexcept;
void restore_seized(Board &board, FramePool &pool, Seized const &seized) noexcept;

// A job found in the tables: none → state. false: no memory.
bool place(Board &board, FramePool &pool, JobId first, JobId last, JobState state, bool history) noexcept;

// Jobs of a journalled lease, live on the board being built: whatever they were → leased. false: no memory,
// or the lease can take no more runs.
bool restore_run(Board &board, FramePool &pool, LeaseSlot &lease, JobId first, JobId last, int priority,
				 int attempt) noexcept;

// Jobs of a journalled lease that were cancelled: the lease restored says so again. false: it can take no more runs.
bool restore_cancelled(FramePool &pool, LeaseSlot &lease, JobId first, JobId last, int priority, int attempt) noexcept;

// An outcome found in the tables: what first … last (of one segment) were → none. false: no memory.
bool remove(Board &board, FramePool &pool, JobId first, JobId last) noexcept;

// No more ids of this segment: the next job is the first of the next one.
void seal(Board &board, SegmentNumber segment) noexcept;

inline bool
is_sealed(Board const &board, SegmentNumber segment) noexcept
{
	return segment < segment_of(board.next_id);
}

// Sealed, and no job of it is unfinished or in the hands of a transaction.
inline bool
is_drained(Board const &board, FramePool &pool, SegmentNumber segment) noexcept
{
	return is_sealed(board, segment) && board.map.is_empty(pool, segment);
}

} // namespace onceq::core
