// SPDX-License-Identifier: PostgreSQL
// The board as the tables say it: what a start of the server costs.
#pragma once

#include "board/board.hpp"

namespace onceq::board {

// Fills a board in phase building, which is the caller's alone, from the queue's segments and the
// lease journal, and lets it stand. Raises 53400 when onceq.state_memory does not suffice.
void build_board(core::Board &board, std::uint32_t index, catalog::Queue const &queue);

// Fills a board in phase building with the unfinished jobs that the active snapshot shows; those due by
// now are ready. Returns the number after the last segment. Raises 53400 when the frames do not suffice.
core::SegmentNumber place_live_jobs(core::Board &board, core::FramePool &frames, core::Wall now,
									catalog::Queue const &queue);

} // namespace onceq::board
