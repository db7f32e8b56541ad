// SPDX-License-Identifier: PostgreSQL
// Moves that several steps of the board's protocol share. For core/board*.cpp only.
#pragma once

#include "core/board.hpp"

#include <algorithm>

namespace onceq::core {

inline void
note_ready(Board &board, JobId first, int priority) noexcept
{
	board.lowest_ready[priority] = std::min(board.lowest_ready[priority], first);
}

// from → ready, or waiting if due above the watermark.
inline void
make_available(Board &board, FramePool &pool, JobId first, JobId last, JobState from, int priority, Wall due) noexcept
{
	if (due <= board.watermark)
	{
		board.map.move(pool, first, last, from, ready_at(priority));
		note_ready(board, first, priority);
	}
	else
	{
		board.map.move(pool, first, last, from, JobState::waiting);
		note_due(board, due);
	}
}

// The jobs leave their lease: their ordering keys, if they run under any, are free for the next ones.
void end_turns(Board &board, FramePool &pool, LeaseSlot &lease, JobSet const &jobs) noexcept;

} // namespace onceq::core
