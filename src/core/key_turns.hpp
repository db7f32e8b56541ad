// SPDX-License-Identifier: PostgreSQL
// Jobs with an ordering key take turns: each step of doc/internals/ordering.md that needs the board.
//
// Whether a job may start is proved when it is claimed, so that ready means no more than "worth a try" for
// a job with a key, and blocked no more than "not worth one": safety hangs on begin_turn and check_turn alone.
// That no job stays blocked for ever hangs on this: whoever blocks a job does so in a hold in which a job of
// its key runs, whose end will put the key on the list of those to be looked at, or puts it there.
//
// Requires, for every function: B is held by the caller.
#pragma once

#include "core/board.hpp"

namespace onceq::core {

// COMMIT of the producer of one job with a key: reserved → ready, waiting, or blocked if its key is busy.
void publish_keyed(Board &board, FramePool &pool, JobId id, int priority, Wall due, KeyHash key) noexcept;

// A walk over the jobs of a key by ascending id, whose rows are read outside of B.
struct KeyWalk
{
	KeyHash key;
	JobId from;            // low when the walk began
	JobId passed;          // and what it may be at the end
	std::uint32_t version; // of the key when the walk began
};

// A job of the key, as its row says.
struct KeyedJob
{
	JobId id;
	int priority;
};

// ---- the claim

enum class Turn : std::uint8_t
{
	granted,
	busy,   // leased → blocked: the job has left the lease
	refused // no memory; still leased
};

// So many jobs of a key may run at once, as the queue's options say now.
void set_key_limit(Board &board, int limit) noexcept;

// A claimer has learnt the key of a job it took: limit jobs of a key may run at once. Granted: nobody else
// begins one beyond that; with a limit of 1 the walk over the lower ids has to prove that it is its turn.
Turn begin_turn(Board &board, FramePool &pool, LeaseSlot &lease, int job, JobId id, KeyHash key, int limit,
				KeyWalk &walk) noexcept;

// The next of the lower jobs: busy if one of them is unfinished, else granted so far.
Turn check_turn(Board &board, FramePool &pool, LeaseSlot &lease, int job, JobId id, KeyWalk &walk,
				KeyedJob const *lower, int count) noexcept;

// No job of the key below walk.passed has to be looked at again.
void finish_walk(Board &board, FramePool &pool, KeyWalk const &walk) noexcept;

// A lease of the journal: the job runs, whatever the limit. false: no memory.
bool restore_turn(Board &board, FramePool &pool, LeaseSlot &lease, int job, KeyHash key) noexcept;

// ---- who is next

struct KeyLook
{
	KeyWalk walk;
	int room;      // jobs of the key that may still begin
	bool in_order; // only the first unfinished one may
	bool gap;      // an unfinished one was passed
};

// The key that waits longest to be looked at, of which jobs may begin; false: none.
bool begin_look(Board &board, FramePool &pool, int limit, KeyLook &look) noexcept;

enum class LookStep : std::uint8_t
{
	more, // all were looked at
	over,
	ask, // whether job number index is dead and blocks its key
};

// Jobs of the key from number index on: the first unfinished one, or as many as there is room for, blocked → ready.
LookStep look_at(Board &board, FramePool &pool, KeyLook &look, KeyedJob const *jobs, int count, int &index) noexcept;

// The answer to ask, after which the look goes on with the job after it.
LookStep answer_look(Board &board, FramePool &pool, KeyLook &look, KeyedJob const &job, bool dead) noexcept;

// Jobs of the key may be blocked though none of it is there to end: it is to be looked at.
void doubt_key(Board &board, FramePool &pool, KeyHash key) noexcept;

} // namespace onceq::core
