// SPDX-License-Identifier: PostgreSQL
// The worker's duty to leases whose time is over, or whose holder is gone: each job's attempt has
// failed. The worker owns the jobs before it writes that.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/settings.hpp"
#include "base/subtransaction.hpp"
#include "board/transaction.hpp"
#include "delivery/delivery.hpp"
#include "delivery/outcomes.hpp"
#include "notify/notify.hpp"
#include "store/store.hpp"

extern "C" {
#include <common/pg_prng.h>
}

namespace onceq::delivery {

namespace {

constexpr int leases_per_round = 64;

// A failure wakes the worker, as the lease is lost; and what failed, for want of room on a disk perhaps, would
// fail again at once.
constexpr core::Microseconds pause_after_failure = core::microseconds_per_second;
constinit core::Monotonic pause_until = core::monotonic_always; // of the worker

// What a worker found of a lease in passing it over.
struct Glance
{
	bool mine; // a queue of this database
	bool over;
	core::Monotonic deadline;
};

Glance
glance_at(core::LeaseSlot const &lease, core::Monotonic now)
{
	Glance glance{false, false, core::monotonic_never};
	if (lease.token.load(std::memory_order_acquire) == core::no_token)
		return glance;
	core::LeaseState const state = lease.state.load(std::memory_order_relaxed);
	glance.deadline = core::Monotonic{lease.deadline.load(std::memory_order_relaxed)};
	glance.over = state == core::LeaseState::lost || (state == core::LeaseState::held && glance.deadline <= now);
	glance.mine = board::handle_of(lease.board.load(std::memory_order_relaxed)).key.database == MyDatabaseId;
	return glance;
}

// Takes the lease away from its holder, under B; false: it is not over, or a commit is under way.
bool
begin_expiry(core::LeaseSlot &lease, std::uint64_t random, core::Monotonic now, board::LeaseCopy &copy,
			 char const *&reason)
{
	board::Handle const handle = board::handle_of(lease.board.load(std::memory_order_relaxed));
	std::uint32_t const slot = board::leases().index_of(lease);
	// Made first, so that the lease cannot be forgotten once it is ours.
	board::expire_at_commit(handle, core::make_token(slot, random));
	board::Locked board(handle.index);
	if (!board.stands_for(handle.key) || lease.token.load(std::memory_order_relaxed) == core::no_token ||
		lease.board.load(std::memory_order_relaxed) != handle.index || !core::may_expire(lease, now))
		return false;
	if (lease.state.load(std::memory_order_relaxed) == core::LeaseState::lost)
		reason = "the holder was lost";
	else
		reason = lease.hard_limit <= now ? "the hard time limit passed" : "the lease expired";
	core::begin_expiry(lease, slot, random);
	board::copy_lease(handle, lease, lease.held, copy);
	return true;
}

struct Expiry
{
	board::LeaseCopy const &lease;
	catalog::Queue const &queue;
	core::Wall now;
	core::LeasedIds run;
	core::JobSet seen; // of the lease's jobs
	text *detail;
};

// Leases that were restored began anew in the same moment, and so end in the same: their jobs do not.
core::Wall
after_restart(core::Wall due, core::Wall now)
{
	double const spread = static_cast<double>(base::from_ms(base::settings.restart_spread_ms));
	auto const wait = static_cast<core::Microseconds>(spread * pg_prng_double(&pg_global_prng_state));
	return wait == 0 ? due : Max(due, now) + wait;
}

void
expire_job(Expiry &expiry, core::JobId id, int max_attempts)
{
	int const number = expiry.run.job + static_cast<int>(id - expiry.run.first);
	core::JobSet job{};
	job.add(number);
	expiry.seen.add(number);
	FailedAttempt failed = judge_failure(expiry.queue, id, max_attempts, expiry.run.attempt, expiry.now);
	if (expiry.lease.holder.process == 0 && !failed.dead)
		failed.due = after_restart(failed.due, expiry.now);
	fail_job(expiry.lease, expiry.queue, job, failed, expiry.detail);
}

bool
visit_expired(store::Job const &job, void *argument)
{
	expire_job(*static_cast<Expiry *>(argument), job.id, job.options.max_attempts);
	return true;
}

void
expire_jobs(board::LeaseCopy const &lease, catalog::Queue const &queue, char const *reason)
{
	Expiry expiry{lease, queue, base::now_wall(), {}, {}, nullptr};
	expiry.detail = cstring_to_text(reason);
	lease.runs().for_each(lease.jobs, [&](core::LeasedIds const &ids) {
		expiry.run = ids;
		store::read_jobs(queue.id, ids.first, ids.last, visit_expired, &expiry);
		// A job whose row cannot be found any more has an attempt that failed, too.
		for (int job = ids.job; job <= ids.job + static_cast<int>(ids.last - ids.first); job++)
			if (!expiry.seen.contains(job))
				expire_job(expiry, ids.first + (job - ids.job), 0);
	});
}

struct Turn
{
	core::LeaseSlot &lease;
	core::Monotonic now;
};

void
expire_lease(void *argument)
{
	Turn const &turn = *static_cast<Turn *>(argument);
	auto *const copy = static_cast<board::LeaseCopy *>(palloc(sizeof(board::LeaseCopy)));
	char const *reason = nullptr;
	if (begin_expiry(turn.lease, board::random_bits(), turn.now, *copy, reason))
	{
		FAULT_POINT("expire: after begin");
		catalog::Queue const *const queue = catalog::find_queue(copy->board.key.queue);
		if (queue != nullptr && !queue->dropped)
		{
			catalog::Queue const copied = *queue;
			expire_jobs(*copy, copied, reason);
		}
	}
	FAULT_POINT("expire: after insert");
	pfree(copy);
}

} // namespace

core::Microseconds
expire_leases()
{
	core::Microseconds const nap = base::from_ms(base::settings.worker_naptime_ms);
	core::Monotonic const now = base::now_monotonic();
	core::Microseconds next = nap;
	int expired = 0;
	if (!catalog::is_adopted())
		return nap;
	if (now < pause_until && notify::worker_pid(MyDatabaseId) == MyProcPid)
		return pause_until.us - now.us;
	for (std::uint32_t i = 0; i < board::leases().high_water(); i++)
	{
		core::LeaseSlot &lease = board::leases().slot(i);
		Glance const glance = glance_at(lease, now);
		if (!glance.mine)
			continue;
		if (!glance.over)
		{
			next = Min(next, Max(glance.deadline.us - now.us, core::Microseconds{1000}));
			continue;
		}
		CHECK_FOR_INTERRUPTS();
		if (expired == leases_per_round)
			return 0;
		Turn turn{lease, now};
		if (base::attempt("taking a lease away", expire_lease, &turn))
			expired++;
		else
			pause_until = now + pause_after_failure;
	}
	return next;
}

} // namespace onceq::delivery
