// SPDX-License-Identifier: PostgreSQL
// A lease: which jobs were granted to whom, by what token, until when; and the fixed table of them.
//
//	free ── take ──► PROVISIONAL ── rows returned ──► HELD ── ended, job by job ──► free
//	                     │                             │
//	                     └── abort: back, uncounted    └── abort of the claim, or holder gone ──► LOST
//	HELD past its deadline, or LOST ── expire ──► EXPIRING (a system lease, with a token of its own)
//
// The runs and their order are immutable once the lease is HELD. Two sets say how far it got: held
// (still owned by the lease) and pinned (a commit that ends the job is under way).
//
// Locks: everything in a slot is written under the lock of the board it belongs to. The token, the
// state, the deadline and the board are atomic, so that a slot can be found, and passed over, without it.
#pragma once

#include "core/frame_pool.hpp"
#include "core/job_set.hpp"
#include "core/progress.hpp"
#include "core/state_map.hpp"
#include "core/time.hpp"
#include "core/token.hpp"

#include <type_traits>

namespace onceq::core {

inline constexpr int attempt_max = 4095;

// Neighbouring ids of one priority and one attempt. The job numbers of a run begin at start.
struct LeaseRun
{
	std::uint32_t offset; // of its first id from the lease's base id
	std::uint16_t start;
	std::uint16_t attempt : 12;
	std::uint16_t priority : 4;
};
static_assert(sizeof(LeaseRun) == 8);

enum class LeaseState : std::uint8_t
{
	free,
	provisional,
	held,
	lost,
	expiring
};

enum class LeaseHold : std::uint8_t
{
	time,   // until the deadline
	session // until the deadline, and no longer than the holder's session
};

// What the worker has written of the lease, so that it survives a restart. From writing on, a row may
// be durable.
enum class LeaseJournal : std::uint8_t
{
	none,
	wanted,
	writing,
	written
};

// Whom a lease was granted to, and for how long.
struct LeaseHolder
{
	std::int32_t process; // pid of the session's server process
	std::uint32_t role;   // who may end the jobs
	LeaseHold hold;
	Microseconds span;            // of an extension that names none
	Microseconds soft_time_limit; // of each job, from the claim on; 0: none
	Microseconds hard_time_limit;
	Wall claimed_at;
	char worker[64];
};

inline constexpr int lease_runs_inline = 8;
inline constexpr int lease_runs_max = static_cast<int>(frame_size / sizeof(LeaseRun));

// By number of the job: the place of its ordering key plus one, while it runs under it; 0: none.
struct LeaseKeys
{
	std::uint16_t place_plus_one[lease_jobs_max];
};

struct LeaseSlot
{
	std::atomic<Token> token;           // no_token: the slot is free
	std::atomic<std::int64_t> deadline; // Monotonic
	std::atomic<std::uint32_t> board;
	std::atomic<LeaseState> state;
	std::atomic<LeaseJournal> journal;
	LeaseHolder holder;
	JobId base_id;
	std::int16_t job_count;
	std::int16_t run_count;
	Monotonic soft_limit;   // from when on the holder is asked to stop
	Monotonic hard_limit;   // beyond which the deadline never lies
	std::uint32_t progress; // what was reported of its jobs
	bool misplaced;         // restored, and its old slot was taken: the token names another
	FrameIndex overflow;    // of the runs, when they are more than lease_runs_inline
	FrameIndex keys;        // LeaseKeys; no_frame: no job of it has an ordering key
	LeaseRun inline_runs[lease_runs_inline];
	JobSet held;
	JobSet pinned;
	JobSet released;  // pinned until the worker has taken them out of the journal
	JobSet cancelled; // by others, or pinned for that: no longer to be taken for done by the holder
};
static_assert(std::is_standard_layout_v<LeaseSlot>);
static_assert(std::atomic<LeaseState>::is_always_lock_free);

// Why a holder is asked to stop what it does for a job.
enum class StopReason : std::uint8_t
{
	none,
	soft_time_limit,
	cancelled
};
inline constexpr int stop_reason_count = 3;

// Requires: the lock of the lease's board; the job is of the lease.
inline StopReason
reason_to_stop(LeaseSlot const &lease, int job, Monotonic now) noexcept
{
	if (lease.cancelled.contains(job))
		return StopReason::cancelled;
	return lease.soft_limit <= now ? StopReason::soft_time_limit : StopReason::none;
}

// A run of ids of one lease, as its users see it.
struct LeasedIds
{
	JobId first;
	JobId last;
	int job; // number of the first in the lease
	int attempt;
	int priority;
};

// Doors for whoever holds the lock of the lease's board.

// The runs of a lease, or of a copy of them.
struct LeaseRuns
{
	JobId base_id;
	int job_count;
	int run_count;
	LeaseRun const *run;

	// Run number index, whole.
	LeasedIds
	at(int index) const noexcept
	{
		LeaseRun const &found = run[index];
		int const end = index + 1 < run_count ? run[index + 1].start : job_count;
		JobId const first = base_id + found.offset;
		return {first, first + (end - found.start) - 1, found.start, found.attempt, found.priority};
	}

	// The job's number in the lease, the last if it was taken again; -1: not of this lease.
	int job_of(JobId id) const noexcept;

	// Calls visit(LeasedIds) for the longest runs of neighbouring ids that are in the set.
	template <typename Visit>
	void
	for_each(JobSet const &set, Visit visit) const
	{
		for (int index = 0; index < run_count; index++)
		{
			LeasedIds const whole = at(index);
			int const end = whole.job + static_cast<int>(whole.last - whole.first) + 1;
			for (int job = set.next(whole.job, end, true); job < end;)
			{
				int const stop = set.next(job, end, false);
				JobId const first = whole.first + (job - whole.job);
				visit(LeasedIds{first, first + (stop - job) - 1, job, whole.attempt, whole.priority});
				job = set.next(stop, end, true);
			}
		}
	}
};

LeaseRuns runs_of(FramePool &pool, LeaseSlot const &lease) noexcept;

// Adds ids first … last as jobs of the lease; false when it can take no more runs or jobs, or the
// pool is used up. Requires: last - first small enough that job_count stays <= lease_jobs_max.
bool add_run(FramePool &pool, LeaseSlot &lease, JobId first, JobId last, int priority) noexcept;

// Requires: the run holds one job, or all its jobs have this attempt.
void set_attempt(FramePool &pool, LeaseSlot &lease, int index, int attempt) noexcept;

inline LeasedIds
run_at(FramePool &pool, LeaseSlot const &lease, int index) noexcept
{
	return runs_of(pool, lease).at(index);
}

inline int
job_of(FramePool &pool, LeaseSlot const &lease, JobId id) noexcept
{
	return runs_of(pool, lease).job_of(id);
}

// The jobs that run under an ordering key.
JobSet keyed_jobs(FramePool &pool, LeaseSlot const &lease) noexcept;

template <typename Visit>
void
for_each_run(FramePool &pool, LeaseSlot const &lease, JobSet const &set, Visit visit) noexcept
{
	runs_of(pool, lease).for_each(set, visit);
}

// The fixed table of lease slots, shared by all boards.
class LeaseTable
{
  public:
	static std::size_t size_for(std::uint32_t slots, std::uint32_t progress_slots = 0) noexcept;
	static LeaseTable *create(void *memory, std::uint32_t slots, std::uint32_t progress_slots = 0) noexcept;

	// An empty provisional lease of this board; nullptr: the table is full.
	LeaseSlot *grant(std::uint32_t board, std::uint64_t random, LeaseHolder const &holder) noexcept;

	// As grant, but under the token it had before a restart, in its old slot if that is free.
	LeaseSlot *restore(std::uint32_t board, Token token, LeaseHolder const &holder) noexcept;

	void free(FramePool &pool, LeaseSlot &lease) noexcept;

	// The slot of a token; or one that is another's, or free; nullptr: no such slot.
	LeaseSlot *find(Token token) noexcept;

	// What was reported of the jobs of its leases.
	ProgressTable &progress() noexcept;

	LeaseSlot &slot(std::uint32_t index) noexcept;
	std::uint32_t index_of(LeaseSlot const &lease) const noexcept;

	std::uint32_t
	capacity() const noexcept
	{
		return capacity_;
	}

	std::uint32_t
	in_use() const noexcept
	{
		return free_.in_use();
	}

	// Slots at or above this index were never used.
	std::uint32_t
	high_water() const noexcept
	{
		return high_water_.load(std::memory_order_acquire);
	}

  private:
	IndexStack::Link *links() noexcept;
	std::uint32_t pop_slot(std::uint32_t wanted) noexcept;
	void open(LeaseSlot &lease, std::uint32_t board, Token token, LeaseHolder const &holder) noexcept;

	IndexStack free_;
	std::uint32_t capacity_;
	std::atomic<std::uint32_t> high_water_;
	std::atomic<std::uint32_t> misplaced_; // leases whose token names another slot
	std::atomic<bool> restoring_;          // somebody looks for one slot, with all others in hand
};

} // namespace onceq::core
