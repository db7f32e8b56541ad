// SPDX-License-Identifier: PostgreSQL
// Jobs with an ordering key take turns (doc/internals/ordering.md): the steps that read tables.
#pragma once

#include "core/key_turns.hpp"

#include "delivery/delivery.hpp"
#include "store/store.hpp"

namespace onceq::delivery {

// Jobs of one key that may run at once.
inline int
key_limit(catalog::Queue const &queue)
{
	return Max(queue.max_running_per_key, 1);
}

// A dead job with a key is in the way of the others.
inline bool
dead_jobs_block(catalog::Queue const &queue)
{
	return !queue.continues_after_dead_key && key_limit(queue) == 1;
}

// A job of this provisional lease, the number-th, has a key: whether it may be handed over.
core::Turn take_turn(catalog::Queue const &queue, board::Handle const &board, core::LeaseSlot &lease, core::Token token,
					 int number, store::Job const &job);

// Looks who is next of at most so many keys of which a job has ended. Returns how many it looked at.
int look_at_keys(catalog::Queue const &queue, board::Handle const &board, int at_most);

} // namespace onceq::delivery
