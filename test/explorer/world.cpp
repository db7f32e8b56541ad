// SPDX-License-Identifier: PostgreSQL
#include "world.hpp"

#include <cstring>

namespace onceq::explorer {

namespace {

constexpr std::size_t
aligned(std::size_t size)
{
	return (size + 63) / 64 * 64;
}

constexpr BoardKey key{1, 1, 1};

} // namespace

Wall
wall_of(Time time)
{
	return time == 0 ? wall_always : time == 255 ? wall_never : Wall{time};
}

Time
time_of(Wall wall)
{
	return wall == wall_always ? 0 : wall == wall_never ? 255 : static_cast<Time>(wall.us);
}

World::World(JobId base, std::uint32_t frames)
	: base_(base), frames_(frames), pool_at_(aligned(sizeof(Board))),
	  table_at_(pool_at_ + aligned(FramePool::size_for(frames))),
	  size_(table_at_ + aligned(LeaseTable::size_for(slots))), memory_(::operator new (size_, std::align_val_t{64}))
{
	std::memset(memory_.get(), 0, size_);
	begin_building();
}

void
World::assign(World const &other)
{
	std::memcpy(memory_.get(), other.memory_.get(), size_);
}

void
World::begin_building()
{
	new (&board()) Board;
	FramePool::create(&pool(), frames_);
	LeaseTable::create(&table(), slots);
	core::begin_building(board(), key);
}

void
World::build(BoardView const &view)
{
	begin_building();
	for (int job = 0; job < jobs_max; job++)
		if (JobState const state = view.job[static_cast<std::size_t>(job)]; state != JobState::none)
			place(board(), pool(), id(job), id(job), state, has(view.history, job));
	finish_building(board(), base_ + view.next, base_ + jobs_max, segment_of(base_) + 2, Wall{1});
	board().lowest_ready[0] = view.hint == 0 ? 0 : base_ + view.hint - 1;
	board().watermark = wall_of(view.watermark);
	board().promoted_to = wall_of(view.promoted_to);
	board().promoting_to = wall_of(view.promoting_to);
	board().earliest_due = wall_of(view.earliest_due);
	for (int index = 0; index < slots; index++)
		if (LeaseView const &lease = view.lease[static_cast<std::size_t>(index)]; lease.token != 0)
			build_lease(index, lease);
}

void
World::build_lease(int index, LeaseView const &view)
{
	LeaseSlot &lease = restore(index, view.token);
	for (int job = 0; job < jobs_max; job++)
		if (has(view.jobs, job))
		{
			add_run(pool(), lease, id(job), id(job), 0);
			set_attempt(pool(), lease, lease.run_count - 1, view.attempt[static_cast<std::size_t>(job)]);
		}
	lease.state.store(view.state);
	lease.journal.store(view.journal);
	lease.held = numbers(lease, view.held);
	lease.pinned = numbers(lease, view.pinned);
	lease.released = numbers(lease, view.released);
	lease.cancelled = numbers(lease, view.cancelled);
}

BoardView
World::view() const
{
	BoardView view{};
	for (int job = 0; job < jobs_max; job++)
	{
		view.job[static_cast<std::size_t>(job)] = state(job);
		view.history = static_cast<Jobs>(view.history | (history(job) ? bit(job) : 0));
	}
	view.next = static_cast<std::uint8_t>(board().next_id - base_);
	JobId const hint = board().lowest_ready[0];
	view.hint = hint == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(hint - base_ + 1);
	view.watermark = time_of(board().watermark);
	view.promoted_to = time_of(board().promoted_to);
	view.promoting_to = time_of(board().promoting_to);
	view.earliest_due = time_of(board().earliest_due);
	view.leases = static_cast<std::uint8_t>(board().leases);
	for (int index = 0; index < slots; index++)
		if (LeaseSlot const &lease = slot(index); lease.token.load() != no_token)
			view.lease[static_cast<std::size_t>(index)] = view_lease(lease);
	return view;
}

LeaseView
World::view_lease(LeaseSlot const &lease) const
{
	LeaseView view{};
	view.token = static_cast<std::uint8_t>(lease.token.load() >> token_slot_bits);
	view.state = lease.state.load();
	view.journal = lease.journal.load();
	view.jobs = jobs_of(lease, JobSet::first(lease.job_count));
	view.held = jobs_of(lease, lease.held);
	view.pinned = jobs_of(lease, lease.pinned);
	view.released = jobs_of(lease, lease.released);
	view.cancelled = jobs_of(lease, lease.cancelled);
	for (int index = 0; index < lease.run_count; index++)
	{
		LeasedIds const run = run_at(pool(), lease, index);
		view.attempt[static_cast<std::size_t>(job_of(run.first))] = static_cast<std::uint8_t>(run.attempt);
	}
	return view;
}

LeaseSlot &
World::grant(std::uint8_t random)
{
	int index = 0;
	while (slot(index).token.load() != no_token)
		index++;
	return restore(index, random);
}

LeaseSlot &
World::restore(int slot_index, std::uint8_t random)
{
	board().leases++;
	return *table().restore(0, token(slot_index, random), LeaseHolder{});
}

Token
World::token(int slot_index, std::uint8_t random) const
{
	return make_token(static_cast<std::uint32_t>(slot_index), random);
}

JobSet
World::numbers(LeaseSlot const &lease, Jobs jobs) const
{
	JobSet set{};
	for (int job = 0; job < jobs_max; job++)
		if (int const number = core::job_of(pool(), lease, id(job)); number >= 0 && has(jobs, job))
			set.add(number);
	return set;
}

Jobs
World::jobs_of(LeaseSlot const &lease, JobSet const &set) const
{
	Jobs jobs = 0;
	for_each_run(pool(), lease, set, [&](LeasedIds const &ids) {
		for (JobId id = ids.first; id <= ids.last; id++)
			jobs = static_cast<Jobs>(jobs | bit(job_of(id)));
	});
	return jobs;
}

} // namespace onceq::explorer
