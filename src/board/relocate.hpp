// SPDX-License-Identifier: PostgreSQL
// Jobs that outlive their segment.
#pragma once

#include "board/board.hpp"
#include "store/store.hpp"

namespace onceq::board {

// Whether it is time for the last jobs of a sealed segment to outlive it, and nobody has any of them in hand.
bool has_stragglers(catalog::Queue const &queue, Handle const &board, store::Segment const &segment, core::Wall now);

// Moves them to the queue's stay tables, and drops the segment, or leaves its remains to the archive; false: somebody
// has something of it in hand, and the caller has to undo what it did.
bool relocate_stragglers(catalog::Queue const &queue, Handle const &board, store::Segment const &segment,
						 core::Wall now);

// Drops remains that were archived, or need not be, at most as many; returns how many.
int drop_remains(catalog::Queue const &queue, int at_most);

// Stragglers that ended before the retention. They are the caller's until its transaction ends.
inline constexpr int ended_stragglers_max = 200; // each needs a page of memory for as long as it takes
int take_ended_stragglers(catalog::Queue const &queue, Handle const &board, core::Wall now, store::OldEnd *end);

// Whether there are such.
bool has_ended_stragglers(catalog::Queue const &queue, core::Wall now);

// Deletes them, unless they are to be archived, and gives memory back. segments: all of the queue.
void keep_stay(catalog::Queue const &queue, Handle const &board, store::Segments const &segments, core::Wall now);

} // namespace onceq::board
