// SPDX-License-Identifier: PostgreSQL
// Jobs that outlive their segment.
#pragma once

#include "board/board.hpp"
#include "store/store.hpp"

namespace onceq::board {

// Moves the last jobs of a sealed segment that is older than the retention to the queue's stay tables, and
// drops the segment; false: it is not yet time, or somebody has something of it in hand.
bool relocate_stragglers(catalog::Queue const &queue, Handle const &board, store::Segment const &segment, core::Wall now);

// Deletes stragglers that ended before the retention, and gives memory back. segments: all of the queue.
void keep_stay(catalog::Queue const &queue, Handle const &board, store::Segments const &segments, core::Wall now);

} // namespace onceq::board
