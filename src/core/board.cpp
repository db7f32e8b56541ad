// SPDX-License-Identifier: PostgreSQL
#include "core/board_moves.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include "core/segment_plan.hpp"

#include <algorithm>

namespace onceq::core {

namespace {

void
leave_lease(Board &board, FramePool &pool, LeaseTable &table, LeaseSlot &lease, JobSet const &jobs) noexcept
{
	if (lease.keys != no_frame)
		end_turns(board, pool, lease, jobs);
	lease.held -= jobs;
	lease.pinned -= jobs;
	lease.released -= jobs;
	table.progress().forget(lease.progress, jobs);
	if (lease.held.empty())
		close_lease(board, pool, table, lease);
}

void
set_deadline(LeaseSlot &lease, Monotonic deadline) noexcept
{
	lease.deadline.store(std::min(deadline, lease.hard_limit).us, std::memory_order_relaxed);
}

// Takes the run of ready jobs that starts at id into the lease; returns how many.
int
take_run(Board &board, FramePool &pool, LeaseSlot &lease, JobId id, int priority, int count, Refusal &refusal) noexcept
{
	// A job with a history has an attempt of its own, and so a run of its own.
	int const limit = board.map.history(pool, id) ? 1 : std::min(count, lease_jobs_max - lease.job_count);
	JobId const last = id + board.map.run_length(pool, id, limit) - 1;
	if (last < id || board.map.store(pool, id, last) < last)
	{
		refusal = last < id ? Refusal::none : Refusal::no_memory;
		return 0;
	}
	int const first_job = lease.job_count;
	if (!add_run(pool, lease, id, last, priority))
	{
		// A ninth run needs a frame.
		bool const no_frame_left = lease.overflow == no_frame && lease.run_count == lease_runs_inline;
		refusal = no_frame_left ? Refusal::no_memory : Refusal::none;
		return 0;
	}
	int const taken = board.map.move(pool, id, last, ready_at(priority), JobState::leased);
	ONCEQ_ASSERT(taken == last - id + 1);
	for (int job = first_job; job < lease.job_count; job++)
		lease.held.add(job);
	board.bucket.take(taken);
	return taken;
}

void
find_waiting(Board &board, Ageing const &ageing) noexcept
{
	for (int priority = 0; priority <= priority_max; priority++)
		board.waiting[priority].find(board.map.count(ready_at(priority)), ageing.now, ageing.step / 4);
}

// Whose jobs come next; -1: none is ready.
int
next_priority(Board const &board, Ageing const &ageing) noexcept
{
	int next = -1;
	Monotonic best = monotonic_never;
	for (int priority = priority_max; priority >= 0; priority--)
	{
		if (board.map.count(ready_at(priority)) == 0)
			continue;
		if (ageing.step == 0)
			return priority;
		Monotonic const rank = board.waiting[priority].next_since() + -priority * ageing.step;
		if (rank < best)
		{
			best = rank;
			next = priority;
		}
	}
	return next;
}

// How many jobs of this priority come before anybody else's.
int
alike(Board const &board, int priority, Ageing const &ageing) noexcept
{
	if (ageing.step == 0)
		return lease_jobs_max;
	return static_cast<int>(std::min<std::int64_t>(board.waiting[priority].next_count(), lease_jobs_max));
}

// Frames that producers leave to the others. A claim from a page that is not stored needs one, and only
// claims empty a pool: filled by producers to the last frame, it would stay full for ever.
std::uint32_t
frames_to_leave(FramePool const &pool) noexcept
{
	constexpr std::uint32_t enough = 64;
	return std::min(pool.capacity() / 8, enough);
}

} // namespace

void
begin_building(Board &board, BoardKey key) noexcept
{
	board.key = key;
	board.phase = BoardPhase::building;
	board.provisional = false;
	board.next_id = 0;
	board.id_ceiling = 0;
	board.ceiling_step = ceiling_step_min;
	board.prepared_end = 0;
	board.first_new_id = 0;
	board.standing_since = monotonic_always;
	std::fill_n(board.lowest_ready, priority_max + 1, JobId{0});
	for (WaitingTimes &waiting : board.waiting)
		waiting.begin();
	board.leases = 0;
	board.ends_are_awaited = false;
	board.bucket.begin(monotonic_always);
	board.watermark = wall_always;
	board.promoted_to = wall_always;
	board.promoting_to = wall_always;
	board.earliest_due = wall_never;
	board.spread = {1, 0, Monotonic{0}, 0, spread_steps, 0};
	board.counters = BoardCounters{};
	board.map.initialise();
	board.keys.initialise();
	board.key_limit = 1;
	board.has_keys = false;
	board.keys_are_in_doubt = false;
}

void
finish_building(Board &board, JobId first_new_id, JobId id_ceiling, SegmentNumber prepared_end, Wall now) noexcept
{
	ONCEQ_ASSERT(board.phase == BoardPhase::building);
	board.next_id = first_new_id;
	board.first_new_id = first_new_id;
	board.id_ceiling = id_ceiling;
	board.prepared_end = prepared_end;
	board.watermark = now;
	board.promoted_to = now;
	board.phase = BoardPhase::standing;
}

void
raise_ceiling(Board &board, JobId ceiling) noexcept
{
	if (ceiling <= board.id_ceiling)
		return;
	board.ceiling_step = ceiling - board.id_ceiling;
	board.id_ceiling = ceiling;
}

void
free_board(Board &board, FramePool &pool) noexcept
{
	board.map.clear(pool);
	board.keys.clear(pool);
	board.key = BoardKey{};
	board.phase = BoardPhase::free;
}

Reservation
reserve(Board &board, FramePool &pool, int wanted) noexcept
{
	if (board.phase != BoardPhase::standing)
		return {0, 0, Refusal::not_standing};
	SegmentNumber const segment = segment_of(board.next_id);
	if (segment >= board.prepared_end)
		return {0, 0, Refusal::no_segment};
	JobId const end = std::min({board.next_id + wanted, board.id_ceiling, first_id_of(segment + 1)});
	if (end <= board.next_id)
		return {0, 0, Refusal::no_ids};

	JobId const first = board.next_id;
	JobId const last = board.map.store(pool, first, end - 1, frames_to_leave(pool));
	if (last < first)
		return {0, 0, Refusal::no_memory};
	[[maybe_unused]] int const moved = board.map.move(pool, first, last, JobState::none, JobState::reserved);
	ONCEQ_ASSERT(moved == last - first + 1);
	board.next_id = last + 1;
	return {first, static_cast<int>(last - first + 1), Refusal::none};
}

bool
is_room_low(Board const &board) noexcept
{
	return ceiling_is_low(board.next_id, board.id_ceiling, board.ceiling_step) ||
		   board.prepared_end < wanted_prepared_end(board.next_id);
}

void
publish(Board &board, FramePool &pool, JobId first, JobId last, int priority, Wall due) noexcept
{
	make_available(board, pool, first, last, JobState::reserved, priority, due);
	board.counters.enqueued += last - first + 1;
}

void
abandon(Board &board, FramePool &pool, JobId first, JobId last) noexcept
{
	board.map.move(pool, first, last, JobState::reserved, JobState::none);
}

void
withdraw(Board &board, FramePool &pool, JobId id) noexcept
{
	board.counters.cancelled += board.map.move(pool, id, id, JobState::reserved, JobState::none);
}

int
allowed(Board &board, Limits const &limits, int wanted, Monotonic now) noexcept
{
	int count = wanted;
	if (limits.running > 0)
	{
		std::int64_t const left = limits.running - board.map.count(JobState::leased);
		board.ends_are_awaited |= left < count;
		count = static_cast<int>(std::clamp(left, std::int64_t{0}, std::int64_t{count}));
	}
	if (limits.rate.limit > 0)
		count = std::min(count, board.bucket.available(limits.rate, now));
	else
		board.bucket.open();
	return count;
}

LeaseSlot *
open_lease(Board &board, LeaseTable &table, std::uint32_t index, std::uint64_t random, LeaseHolder const &holder,
		   std::int32_t leases_max) noexcept
{
	LeaseSlot *const lease = board.leases < leases_max ? table.grant(index, random, holder) : nullptr;
	board.leases += lease != nullptr;
	return lease;
}

void
close_lease(Board &board, FramePool &pool, LeaseTable &table, LeaseSlot &lease) noexcept
{
	table.free(pool, lease);
	board.leases--;
}

int
take(Board &board, FramePool &pool, LeaseSlot &lease, int count, Refusal &refusal, Ageing const &ageing) noexcept
{
	refusal = board.phase == BoardPhase::standing ? Refusal::none : Refusal::not_standing;
	if (refusal != Refusal::none)
		return 0;
	if (ageing.step > 0)
		find_waiting(board, ageing);
	int taken = 0;
	while (taken < count)
	{
		int const priority = next_priority(board, ageing);
		if (priority < 0)
			break;
		JobId const id = board.map.find(pool, ready_at(priority), board.lowest_ready[priority]);
		board.lowest_ready[priority] = id;
		int const run = take_run(board, pool, lease, id, priority,
								 std::min(count - taken, alike(board, priority, ageing)), refusal);
		if (run == 0)
			break;
		taken += run;
		if (ageing.step > 0)
			board.waiting[priority].take(run);
		if (board.map.count(ready_at(priority)) == 0)
			board.lowest_ready[priority] = board.next_id;
	}
	return taken;
}

void
settle(Board &board, FramePool &pool, LeaseSlot &lease, Findings const &findings) noexcept
{
	ONCEQ_ASSERT(lease.state.load(std::memory_order_relaxed) == LeaseState::provisional);
	for_each_run(pool, lease, findings.absent, [&](LeasedIds const &ids) {
		board.map.move(pool, ids.first, ids.last, JobState::leased, JobState::none);
	});
	for_each_run(pool, lease, findings.early, [&](LeasedIds const &ids) {
		make_available(board, pool, ids.first, ids.last, JobState::leased, ids.priority, findings.earliest_due);
	});
	for_each_run(pool, lease, findings.unseen, [&](LeasedIds const &ids) {
		board.map.move(pool, ids.first, ids.last, JobState::leased, ready_at(ids.priority));
		note_ready(board, ids.first, ids.priority);
	});
	int const taken = lease.held.size();
	lease.held -= findings.absent;
	lease.held -= findings.early;
	lease.held -= findings.unseen;
	board.bucket.give_back(taken - lease.held.size());
}

void
begin_limits(LeaseSlot &lease, Monotonic now) noexcept
{
	if (lease.holder.soft_time_limit > 0)
		lease.soft_limit = now + lease.holder.soft_time_limit;
	if (lease.holder.hard_time_limit > 0)
		lease.hard_limit = now + lease.holder.hard_time_limit;
}

void
hold(Board &board, LeaseSlot &lease, Monotonic deadline) noexcept
{
	set_deadline(lease, deadline);
	lease.state.store(LeaseState::held, std::memory_order_release);
	board.counters.claims++;
	board.counters.delivered += lease.held.size();
}

bool
extend(LeaseSlot &lease, Token token, Monotonic deadline) noexcept
{
	if (!owns(lease, token) || lease.state.load(std::memory_order_relaxed) != LeaseState::held ||
		(lease.held - lease.released).empty())
		return false;
	set_deadline(lease, deadline);
	return true;
}

bool
pin(LeaseSlot &lease, Token token, JobSet const &jobs) noexcept
{
	if (!may_end(lease, token, jobs))
		return false;
	lease.pinned |= jobs;
	return true;
}

void
unpin(LeaseSlot &lease, Token token, JobSet const &jobs, Monotonic at_least) noexcept
{
	if (!owns(lease, token))
		return;
	lease.pinned -= jobs;
	if (lease.deadline.load(std::memory_order_relaxed) < at_least.us)
		set_deadline(lease, at_least);
}

bool
pin_cancelled(LeaseSlot &lease, Token token, JobSet const &jobs) noexcept
{
	if (!pin(lease, token, jobs))
		return false;
	lease.cancelled |= jobs;
	return true;
}

void
unpin_cancelled(LeaseSlot &lease, Token token, JobSet const &jobs, Monotonic at_least) noexcept
{
	if (owns(lease, token))
		lease.cancelled -= jobs;
	unpin(lease, token, jobs, at_least);
}

void
end(Board &board, FramePool &pool, LeaseTable &table, LeaseSlot &lease, JobSet const &jobs, Ending ending,
	Wall due) noexcept
{
	ONCEQ_ASSERT(lease.held.includes(jobs));
	for_each_run(pool, lease, jobs, [&](LeasedIds const &ids) {
		if (ending == Ending::failed)
		{
			board.map.mark_history(pool, ids.first, ids.last);
			make_available(board, pool, ids.first, ids.last, JobState::leased, ids.priority, due);
		}
		else if (ending == Ending::dead_and_blocks)
		{
			board.map.mark_history(pool, ids.first, ids.last);
			board.map.move(pool, ids.first, ids.last, JobState::leased, JobState::blocked);
		}
		else
			board.map.move(pool, ids.first, ids.last, JobState::leased, JobState::none);
	});
	int const count = jobs.size();
	board.counters.succeeded += ending == Ending::succeeded ? count : 0;
	board.counters.failed += ending == Ending::failed || is_dead(ending) ? count : 0;
	board.counters.dead += is_dead(ending) ? count : 0;
	board.counters.cancelled += ending == Ending::cancelled ? count : 0;
	if (lease.state.load(std::memory_order_relaxed) == LeaseState::expiring)
		board.counters.expired += count;
	leave_lease(board, pool, table, lease, jobs);
}

void
give_back(Board &board, FramePool &pool, LeaseTable &table, LeaseSlot &lease, JobSet const &jobs) noexcept
{
	for_each_run(pool, lease, jobs, [&](LeasedIds const &ids) {
		board.map.move(pool, ids.first, ids.last, JobState::leased, ready_at(ids.priority));
		note_ready(board, ids.first, ids.priority);
	});
	board.counters.released += jobs.size();
	if (lease.state.load(std::memory_order_relaxed) == LeaseState::provisional)
		board.bucket.give_back(jobs.size());
	leave_lease(board, pool, table, lease, jobs);
}

void
release_later(LeaseSlot &lease, JobSet const &jobs) noexcept
{
	lease.pinned |= jobs;
	lease.released |= jobs;
}

void
lose(LeaseSlot &lease, Token token) noexcept
{
	if (owns(lease, token))
		lease.state.store(LeaseState::lost, std::memory_order_release);
}

} // namespace onceq::core
