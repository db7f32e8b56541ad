// SPDX-License-Identifier: PostgreSQL
#include "core/lease.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include <algorithm>
#include <new>

namespace onceq::core {

namespace {

constexpr std::size_t header_size = 64;

constexpr std::size_t
progress_offset(std::uint32_t slots) noexcept
{
	std::size_t const size = header_size + std::size_t{slots} * (sizeof(LeaseSlot) + sizeof(IndexStack::Link));
	return (size + 63) / 64 * 64;
}

// To find the slot that a token names, that many others are taken at most: whoever wants a slot meanwhile
// shall find one, and many leases be restored soon.
constexpr int slots_in_hand_max = 1024;

LeaseRun *
writable_runs(FramePool &pool, LeaseSlot &lease) noexcept
{
	return lease.overflow == no_frame ? lease.inline_runs : &pool.at<LeaseRun>(lease.overflow);
}

// Makes room for one more run.
bool
grow(FramePool &pool, LeaseSlot &lease) noexcept
{
	if (lease.overflow != no_frame)
		return lease.run_count < lease_runs_max;
	if (lease.run_count < lease_runs_inline)
		return true;
	FrameIndex const frame = pool.take();
	if (frame == no_frame)
		return false;
	std::copy_n(lease.inline_runs, lease.run_count, &pool.at<LeaseRun>(frame));
	lease.overflow = frame;
	return true;
}

} // namespace

int
LeaseRuns::job_of(JobId id) const noexcept
{
	// From the end: a job whose turn had not come has left the lease, and may have been taken again.
	for (int index = run_count - 1; index >= 0; index--)
	{
		LeasedIds const whole = at(index);
		if (whole.first <= id && id <= whole.last)
			return whole.job + static_cast<int>(id - whole.first);
	}
	return -1;
}

LeaseRuns
runs_of(FramePool &pool, LeaseSlot const &lease) noexcept
{
	LeaseRun const *const run = lease.overflow == no_frame ? lease.inline_runs : &pool.at<LeaseRun>(lease.overflow);
	return {lease.base_id, lease.job_count, lease.run_count, run};
}

bool
add_run(FramePool &pool, LeaseSlot &lease, JobId first, JobId last, int priority) noexcept
{
	if (lease.run_count == 0)
		// Room below the first id: a later run may be of an earlier one, of a lower priority.
		lease.base_id = std::max(first - (JobId{1} << 31), JobId{0});
	JobId const offset = first - lease.base_id;
	JobId const jobs = lease.job_count + (last - first + 1);
	if (offset < 0 || offset > 0xFFFF'FFFF || jobs > lease_jobs_max || !grow(pool, lease))
		return false;
	writable_runs(pool, lease)[lease.run_count++] =
		LeaseRun{static_cast<std::uint32_t>(offset), static_cast<std::uint16_t>(lease.job_count), 1,
				 static_cast<std::uint16_t>(priority & 0xF)};
	lease.job_count = static_cast<std::int16_t>(jobs);
	return true;
}

void
set_attempt(FramePool &pool, LeaseSlot &lease, int index, int attempt) noexcept
{
	writable_runs(pool, lease)[index].attempt = static_cast<std::uint16_t>(std::clamp(attempt, 1, attempt_max));
}

JobSet
keyed_jobs(FramePool &pool, LeaseSlot const &lease) noexcept
{
	JobSet keyed{};
	for (int job = 0; lease.keys != no_frame && job < lease.job_count; job++)
		if (pool.at<LeaseKeys>(lease.keys).place_plus_one[job] != 0)
			keyed.add(job);
	return keyed;
}

std::size_t
LeaseTable::size_for(std::uint32_t slots, std::uint32_t progress_slots) noexcept
{
	static_assert(sizeof(LeaseTable) <= header_size);
	return progress_offset(slots) + ProgressTable::size_for(progress_slots);
}

LeaseTable *
LeaseTable::create(void *memory, std::uint32_t slots, std::uint32_t progress_slots) noexcept
{
	auto *table = new (memory) LeaseTable;
	table->capacity_ = slots;
	table->high_water_.store(0, std::memory_order_relaxed);
	table->misplaced_.store(0, std::memory_order_relaxed);
	table->restoring_.store(false, std::memory_order_relaxed);
	for (std::uint32_t i = 0; i < slots; i++)
	{
		auto *slot = new (&table->slot(i)) LeaseSlot;
		slot->token.store(no_token, std::memory_order_relaxed);
		slot->state.store(LeaseState::free, std::memory_order_relaxed);
		slot->misplaced = false;
		slot->overflow = no_frame;
		slot->progress = no_index;
		slot->keys = no_frame;
	}
	table->free_.fill(table->links(), slots);
	ProgressTable::create(&table->progress(), progress_slots);
	return table;
}

LeaseSlot *
LeaseTable::grant(std::uint32_t board, std::uint64_t random, LeaseHolder const &holder) noexcept
{
	std::uint32_t index = free_.pop(links());
	while (index == no_index && restoring_.load(std::memory_order_acquire))
		index = free_.pop(links());
	if (index == no_index)
		return nullptr;
	LeaseSlot &lease = slot(index);
	open(lease, board, make_token(index, random), holder);
	return &lease;
}

LeaseSlot *
LeaseTable::restore(std::uint32_t board, Token token, LeaseHolder const &holder) noexcept
{
	if (token <= 0)
		return nullptr;
	while (restoring_.exchange(true, std::memory_order_acquire))
		;
	std::uint32_t index = pop_slot(slot_of(token));
	if (index == no_index)
		index = free_.pop(links());
	restoring_.store(false, std::memory_order_release);
	if (index == no_index)
		return nullptr;
	LeaseSlot &lease = slot(index);
	open(lease, board, token, holder);
	lease.misplaced = index != slot_of(token);
	misplaced_.fetch_add(lease.misplaced, std::memory_order_release);
	return &lease;
}

// Takes this slot if it is free. The stack gives from its top only: pop until the wanted one comes, put
// the others back. Whoever finds the stack empty meanwhile waits for that.
std::uint32_t
LeaseTable::pop_slot(std::uint32_t wanted) noexcept
{
	if (wanted >= capacity_ || slot(wanted).token.load(std::memory_order_acquire) != no_token)
		return no_index;
	std::uint32_t kept = no_index;
	std::uint32_t index = free_.pop(links());
	for (int left = slots_in_hand_max; index != no_index && index != wanted; left--)
	{
		slot(index).overflow = kept; // a free slot has no runs: the field is free to chain them
		kept = index;
		index = left > 1 ? free_.pop(links()) : no_index;
	}
	while (kept != no_index)
	{
		std::uint32_t const next = slot(kept).overflow;
		slot(kept).overflow = no_frame;
		free_.push(links(), kept);
		kept = next;
	}
	return index;
}

void
LeaseTable::free(FramePool &pool, LeaseSlot &lease) noexcept
{
	if (lease.overflow != no_frame)
		pool.give_back(lease.overflow);
	progress().forget(lease.progress, JobSet::first(lease_jobs_max));
	if (lease.keys != no_frame)
		pool.give_back(lease.keys);
	misplaced_.fetch_sub(lease.misplaced, std::memory_order_release);
	lease.misplaced = false;
	lease.overflow = no_frame;
	lease.keys = no_frame;
	lease.job_count = 0;
	lease.run_count = 0;
	lease.state.store(LeaseState::free, std::memory_order_release);
	lease.token.store(no_token, std::memory_order_release);
	free_.push(links(), index_of(lease));
}

LeaseSlot *
LeaseTable::find(Token token) noexcept
{
	if (token <= 0)
		return nullptr;
	std::uint32_t const index = slot_of(token);
	LeaseSlot *const own = index < capacity_ ? &slot(index) : nullptr;
	if (own != nullptr && own->token.load(std::memory_order_acquire) == token)
		return own;
	if (misplaced_.load(std::memory_order_acquire) > 0)
		for (std::uint32_t i = 0; i < high_water(); i++)
			if (slot(i).token.load(std::memory_order_acquire) == token)
				return &slot(i);
	return own;
}

ProgressTable &
LeaseTable::progress() noexcept
{
	return *reinterpret_cast<ProgressTable *>(reinterpret_cast<std::byte *>(this) + progress_offset(capacity_));
}

LeaseSlot &
LeaseTable::slot(std::uint32_t index) noexcept
{
	ONCEQ_ASSERT(index < capacity_);
	return reinterpret_cast<LeaseSlot *>(reinterpret_cast<std::byte *>(this) + header_size)[index];
}

std::uint32_t
LeaseTable::index_of(LeaseSlot const &lease) const noexcept
{
	auto const *const first =
		reinterpret_cast<LeaseSlot const *>(reinterpret_cast<std::byte const *>(this) + header_size);
	return static_cast<std::uint32_t>(&lease - first);
}

IndexStack::Link *
LeaseTable::links() noexcept
{
	return reinterpret_cast<IndexStack::Link *>(reinterpret_cast<std::byte *>(this) + header_size +
												std::size_t{capacity_} * sizeof(LeaseSlot));
}

void
LeaseTable::open(LeaseSlot &lease, std::uint32_t board, Token token, LeaseHolder const &holder) noexcept
{
	std::uint32_t const used = index_of(lease) + 1;
	std::uint32_t seen = high_water_.load(std::memory_order_relaxed);
	while (seen < used && !high_water_.compare_exchange_weak(seen, used, std::memory_order_acq_rel))
		;
	lease.holder = holder;
	lease.base_id = 0;
	lease.job_count = 0;
	lease.run_count = 0;
	lease.overflow = no_frame;
	lease.held = JobSet{};
	lease.pinned = JobSet{};
	lease.released = JobSet{};
	lease.cancelled = JobSet{};
	lease.board.store(board, std::memory_order_relaxed);
	lease.soft_limit = monotonic_never;
	lease.hard_limit = monotonic_never;
	lease.deadline.store(monotonic_never.us, std::memory_order_relaxed);
	lease.journal.store(LeaseJournal::none, std::memory_order_relaxed);
	lease.state.store(LeaseState::provisional, std::memory_order_relaxed);
	lease.token.store(token, std::memory_order_release);
}

} // namespace onceq::core
