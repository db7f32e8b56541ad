// SPDX-License-Identifier: PostgreSQL
// Waiting jobs become ready when they are due. The watermark rises before the tables are read, so that
// whoever commits a job meanwhile compares its due time with the new one; what is promoted by an outdated
// due time is found out by the claim.
#include <algorithm>

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/settings.hpp"
#include "board/board.hpp"
#include "board/each_queue.hpp"
#include "board/waiters.hpp"
#include "delivery/delivery.hpp"
#include "store/store.hpp"

namespace onceq::delivery {

namespace {

constexpr core::Microseconds retry_when_full = core::microseconds_per_second;

struct Promotion
{
	catalog::Queue const &queue;
	board::Handle board;
	bool complete;
};

bool
visit_due(core::JobId id, core::Wall, void *argument)
{
	Promotion &promotion = *static_cast<Promotion *>(argument);
	CHECK_FOR_INTERRUPTS();
	store::JobHead head{};
	store::read_head(promotion.queue.id, id, head);
	FAULT_POINT("due: before promote");
	{
		board::Locked board(promotion.board.index);
		promotion.complete =
			board.stands_for(promotion.board.key) && core::promote(*board, board::pool(), id, head.priority);
	}
	board::wake_claimers(promotion.board.index, 1);
	return promotion.complete;
}

core::Microseconds
until(core::Wall due, core::Wall now, core::Microseconds nap)
{
	return due.us <= now.us ? 0 : Min(due.us - now.us, nap);
}

core::Microseconds
promote_by_due_time(Promotion &promotion, core::Microseconds nap)
{
	catalog::Queue const &queue = promotion.queue;
	core::Wall const now = base::now_wall();
	core::Wall from;
	{
		board::Locked board(promotion.board.index);
		if (!board.stands_for(promotion.board.key))
			return nap;
		// A watermark in the future: the clock was set back. A promotion that lags: the last one failed.
		bool const in_order = board->watermark <= now && board->promoted_to >= board->watermark;
		if (board->earliest_due > now && in_order)
			return until(board->earliest_due, now, nap);
		from = core::advance_watermark(*board, now);
	}
	FAULT_POINT("due: after watermark");
	core::Wall earliest = core::wall_never;
	store::Segments const segments = store::all_segments(queue.id);
	for (int i = 0; i < segments.count && promotion.complete; i++)
		if (segments.segment[i].drained_at == core::wall_never)
			earliest = std::min(
				earliest, store::read_due(queue.id, segments.segment[i].number, from, now, visit_due, &promotion));
	if (promotion.complete)
		earliest = std::min(earliest, store::read_due(queue.id, store::stay, from, now, visit_due, &promotion));
	FAULT_POINT("due: after look");
	{
		board::Locked board(promotion.board.index);
		if (!board.stands_for(promotion.board.key))
			return nap;
		core::note_due(*board, earliest);
		if (promotion.complete)
			core::finish_promotion(*board, now);
		else
			core::note_due(*board, now + retry_when_full);
		earliest = board->earliest_due;
	}
	return until(earliest, now, nap);
}

// A job held back after an unclean start, unless it waits for its due time.
void
let_out(Promotion &promotion, core::JobId id, core::Wall watermark)
{
	store::History const history = store::read_history(promotion.queue.id, id);
	store::JobHead job{id, core::wall_never, 0, false};
	store::read_head(promotion.queue.id, id, job);
	if (history.due(job.run_at) > watermark)
		return;
	FAULT_POINT("spread: before promote");
	{
		board::Locked board(promotion.board.index);
		promotion.complete =
			board.stands_for(promotion.board.key) && core::promote(*board, board::pool(), id, job.priority);
	}
	board::wake_claimers(promotion.board.index, 1);
}

// Those whose time has come; returns when the next ones follow.
core::Microseconds
let_out_held_back(Promotion &promotion, core::Microseconds nap)
{
	core::Spread spread;
	core::Wall watermark;
	{
		board::Locked board(promotion.board.index, LW_SHARED);
		if (!board.stands_for(promotion.board.key))
			return nap;
		spread = board->spread;
		watermark = board->watermark;
	}
	if (spread.done == core::spread_steps)
		return nap;
	int const step = core::spread_step(spread, base::now_monotonic());
	for (core::JobId start = spread.first; start != 0 && promotion.complete;)
	{
		CHECK_FOR_INTERRUPTS();
		core::HeldBack next{0, 0};
		if (board::Locked board(promotion.board.index, LW_SHARED); board.stands_for(promotion.board.key))
			next = core::next_held_back(*board, board::pool(), start, step);
		if (next.id != 0)
			let_out(promotion, next.id, watermark);
		start = next.next;
	}
	if (!promotion.complete)
		return retry_when_full;
	board::Locked board(promotion.board.index);
	if (board.stands_for(promotion.board.key))
		core::finish_spread_step(*board, spread, step);
	return Min(spread.span / core::spread_steps, nap);
}

core::Microseconds
promote_due_of(catalog::Queue const &queue)
{
	core::Microseconds const nap = base::from_ms(base::settings.worker_naptime_ms);
	Promotion promotion{queue, {}, true};
	if (!board::try_open(queue, promotion.board))
		return nap;
	core::Microseconds const next = let_out_held_back(promotion, nap);
	promotion.complete = true;
	// A function, not Min(): the macro would promote twice.
	return std::min(next, promote_by_due_time(promotion, nap));
}

} // namespace

core::Microseconds
promote_due()
{
	return board::for_each_queue("promoting due jobs", promote_due_of, base::from_ms(base::settings.worker_naptime_ms));
}

} // namespace onceq::delivery
