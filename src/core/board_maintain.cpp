// SPDX-License-Identifier: PostgreSQL
// Steps of those who look after a board: expiry, promotion, maintenance.
#include "core/board_moves.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

namespace onceq::core {

void
begin_expiry(LeaseSlot &lease, std::uint32_t slot, std::uint64_t random) noexcept
{
	ONCEQ_ASSERT(lease.pinned.empty());
	lease.token.store(make_token(slot, random), std::memory_order_release);
	lease.state.store(LeaseState::expiring, std::memory_order_release);
}

void
cancel_expiry(LeaseSlot &lease) noexcept
{
	lease.state.store(LeaseState::lost, std::memory_order_release);
}

Wall
advance_watermark(Board &board, Wall now) noexcept
{
	board.watermark = now;
	board.earliest_due = wall_never;
	// The clock may have been set back: what is due between then and now is looked for again. Until the
	// look is finished it lags behind the watermark, so that one that failed can be told, and repeated.
	board.promoted_to = std::min(board.promoted_to, now + -1);
	board.promoting_to = now;
	return board.promoted_to;
}

bool
promote(Board &board, FramePool &pool, JobId id, int priority) noexcept
{
	if (board.map.state(pool, id) != JobState::waiting)
		return true;
	if (board.map.store(pool, id, id) < id)
		return false;
	board.map.move(pool, id, id, JobState::waiting, ready_at(priority));
	note_ready(board, id, priority);
	return true;
}

void
note_due(Board &board, Wall due) noexcept
{
	board.earliest_due = std::min(board.earliest_due, due);
}

void
finish_promotion(Board &board, Wall now) noexcept
{
	// Not if another advance, or a job that was passed over and then restored, came in between.
	if (board.promoting_to == now)
		board.promoted_to = now;
}

Seized
seize_next(Board &board, FramePool &pool, JobState state, JobId start, JobId end, Refusal &refusal) noexcept
{
	refusal = board.phase == BoardPhase::standing ? Refusal::none : Refusal::not_standing;
	JobId const first = refusal == Refusal::none ? board.map.find(pool, state, start) : 0;
	if (first == 0 || first > end)
		return {0, 0, state};
	int const limit = static_cast<int>(std::min<JobId>(ids_per_page, end - first + 1));
	JobId last = first + board.map.run_length(pool, first, limit) - 1;
	last = board.map.store(pool, first, last);
	if (last < first)
	{
		refusal = Refusal::no_memory;
		return {0, 0, state};
	}
	board.map.move(pool, first, last, state, JobState::seized);
	if (state == JobState::none)
		board.keys.forget_lows();
	return {first, last, state};
}

bool
seize_one(Board &board, FramePool &pool, JobId id, Seized &seized) noexcept
{
	JobState const state = board.map.state(pool, id);
	if (board.phase != BoardPhase::standing || keeps_page(state) || board.map.store(pool, id, id) < id)
		return false;
	board.map.move(pool, id, id, state, JobState::seized);
	if (state == JobState::none)
		board.keys.forget_lows();
	seized = {id, id, state};
	return true;
}

void
settle_seized(Board &board, FramePool &pool, JobId id, bool live, bool history, int priority, Wall due) noexcept
{
	if (!live)
	{
		board.map.move(pool, id, id, JobState::seized, JobState::none);
		board.keys_are_in_doubt |= board.map.count(JobState::blocked) > 0;
		return;
	}
	if (history)
		board.map.mark_history(pool, id, id);
	if (due == wall_never)
		board.map.move(pool, id, id, JobState::seized, JobState::blocked);
	else
		make_available(board, pool, id, id, JobState::seized, priority, due);
}

void
bury_seized(Board &board, FramePool &pool, JobId id, bool blocks_its_key) noexcept
{
	board.counters.dead++;
	settle_seized(board, pool, id, blocks_its_key, true, 0, wall_never);
}

void
finish_seized(Board &board, FramePool &pool, Seized const &seized) noexcept
{
	board.counters.cancelled += board.map.move(pool, seized.first, seized.last, JobState::seized, JobState::none);
	board.keys_are_in_doubt |= board.map.count(JobState::blocked) > 0;
}

void
restore_seized(Board &board, FramePool &pool, Seized const &seized) noexcept
{
	board.map.move(pool, seized.first, seized.last, JobState::seized, seized.origin);
	if (is_ready(seized.origin))
		note_ready(board, seized.first, priority_of(seized.origin));
	// Whoever it waits for may have left while it could not be seen.
	if (seized.origin == JobState::blocked)
	{
		board.keys.forget_lows();
		board.keys_are_in_doubt = true;
	}
	// Dead as it is, it may have been taken for an earlier job of its key that is not finished.
	if (seized.origin == JobState::none)
		board.keys_are_in_doubt |= board.map.count(JobState::blocked) > 0;
	if (seized.origin == JobState::waiting)
	{
		// Its due time may have passed meanwhile, when promotion found it not waiting: look at all again.
		board.promoted_to = wall_always;
		board.promoting_to = wall_always;
		note_due(board, wall_always);
		if (board.spread.first <= seized.last && seized.first <= board.spread.last)
		{
			board.spread.done = 0;
			board.spread.returned++;
		}
	}
}

bool
place(Board &board, FramePool &pool, JobId first, JobId last, JobState state, bool history) noexcept
{
	if (board.map.store(pool, first, last) < last)
		return false;
	if (history)
		board.map.mark_history(pool, first, last);
	board.map.move(pool, first, last, JobState::none, state);
	if (is_ready(state))
		note_ready(board, first, priority_of(state));
	return true;
}

bool
restore_run(Board &board, FramePool &pool, LeaseSlot &lease, JobId first, JobId last, int priority,
			int attempt) noexcept
{
	int const first_job = lease.job_count;
	if (board.map.store(pool, first, last) < last || !add_run(pool, lease, first, last, priority))
		return false;
	set_attempt(pool, lease, lease.run_count - 1, attempt);
	// Straight to leased: a page left empty on the way would be given back, and perhaps not be had again.
	for (int state = 1; state < job_state_count; state++)
		board.map.move(pool, first, last, static_cast<JobState>(state), JobState::leased);
	for (int job = first_job; job < lease.job_count; job++)
		lease.held.add(job);
	return true;
}

bool
restore_cancelled(FramePool &pool, LeaseSlot &lease, JobId first, JobId last, int priority, int attempt) noexcept
{
	int const first_job = lease.job_count;
	if (!add_run(pool, lease, first, last, priority))
		return false;
	set_attempt(pool, lease, lease.run_count - 1, attempt);
	for (int job = first_job; job < lease.job_count; job++)
		lease.cancelled.add(job);
	return true;
}

bool
remove(Board &board, FramePool &pool, JobId first, JobId last) noexcept
{
	for (JobId id = first; id <= last;)
	{
		JobId const end = std::min(last, id | (ids_per_page - 1));
		int const length = static_cast<int>(end - id) + 1;
		bool const nothing =
			board.map.state(pool, id) == JobState::none && board.map.run_length(pool, id, length) == length;
		if (!nothing && length < ids_per_page && board.map.store(pool, id, end) < end)
			return false;
		for (int state = 1; state < job_state_count && !nothing; state++)
			board.map.move(pool, id, end, static_cast<JobState>(state), JobState::none);
		id = end + 1;
	}
	return true;
}

void
seal(Board &board, SegmentNumber segment) noexcept
{
	if (segment_of(board.next_id) == segment)
		board.next_id = first_id_of(segment + 1);
}

} // namespace onceq::core
