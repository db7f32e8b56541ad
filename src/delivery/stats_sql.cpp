// SPDX-License-Identifier: PostgreSQL
// Numbers of queues and the leases in force: read from the boards, never by a scan of tables.
#include "base/clock.hpp"
#include "base/owner.hpp"
#include "base/require.hpp"
#include "base/settings.hpp"
#include "base/wall.hpp"
#include "board/lease_copy.hpp"
#include "delivery/delivery.hpp"
#include "notify/slots.hpp"
#include "store/store.hpp"

extern "C" {
#include <funcapi.h>
#include <utils/acl.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

namespace {

bool
may_see(catalog::Queue const &queue)
{
	constexpr AclMode any = ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE;
	bool is_missing = false; // its table: the queue was dropped a moment ago, or the table by hand
	return pg_class_aclcheck_ext(queue.anchor, GetUserId(), any, &is_missing) == ACLCHECK_OK ||
		   base::is_member("onceq_monitor") || base::is_member("onceq_operator") || base::is_member("onceq_admin");
}

Datum
interval_of(core::Microseconds span)
{
	auto *const interval = static_cast<Interval *>(palloc0(sizeof(Interval)));
	interval->time = span;
	return IntervalPGetDatum(interval);
}

struct Numbers
{
	core::BoardCounters counters;
	std::int64_t ready;
	std::int64_t scheduled;
	std::int64_t running;
	std::int64_t blocked;
	core::JobId oldest_ready; // 0: none is ready
};

Numbers
read_numbers(board::Handle const &handle)
{
	Numbers numbers{};
	board::Locked board(handle.index, LW_SHARED);
	if (!board.stands_for(handle.key))
		return numbers;
	numbers.counters = board->counters;
	numbers.scheduled = board->map.count(core::JobState::waiting);
	numbers.running = board->map.count(core::JobState::leased);
	numbers.blocked = board->map.count(core::JobState::blocked);
	for (int priority = 0; priority <= core::priority_max; priority++)
	{
		numbers.ready += board->map.count(core::ready_at(priority));
		core::JobId const lowest =
			board->map.find(board::pool(), core::ready_at(priority), board->lowest_ready[priority]);
		if (lowest != 0 && (numbers.oldest_ready == 0 || lowest < numbers.oldest_ready))
			numbers.oldest_ready = lowest;
	}
	return numbers;
}

bool
take_enqueued_at(store::Job const &job, void *argument)
{
	*static_cast<core::Wall *>(argument) = job.enqueued_at;
	return false;
}

void
put_stats(ReturnSetInfo *result, catalog::Queue const &queue)
{
	Numbers const numbers = read_numbers(board::open(queue));
	core::Wall enqueued_at = core::wall_never;
	if (numbers.oldest_ready != 0)
		store::read_jobs(queue.id, numbers.oldest_ready, numbers.oldest_ready, take_enqueued_at, &enqueued_at,
						 store::Wait::no);
	bool const has_age = enqueued_at != core::wall_never;
	core::BoardCounters const &counters = numbers.counters;
	Datum const values[] = {
		CStringGetTextDatum(queue.name),
		Int64GetDatum(numbers.ready),
		Int64GetDatum(numbers.scheduled),
		Int64GetDatum(numbers.running),
		has_age ? interval_of(Max(base::now_wall().us - enqueued_at.us, int64{0})) : Datum{0},
		Int64GetDatum(counters.enqueued),
		Int64GetDatum(counters.claims),
		Int64GetDatum(counters.delivered),
		Int64GetDatum(counters.succeeded),
		Int64GetDatum(counters.failed),
		Int64GetDatum(counters.dead),
		Int64GetDatum(counters.cancelled),
		Int64GetDatum(counters.released),
		Int64GetDatum(counters.expired),
		Int64GetDatum(counters.restored),
		Int64GetDatum(counters.held_back),
		Int64GetDatum(numbers.blocked),
	};
	bool nulls[lengthof(values)] = {};
	nulls[4] = !has_age;
	tuplestore_putvalues(result->setResult, result->setDesc, const_cast<Datum *>(values), nulls);
}

// Calls put for each queue that the user may see.
void
for_visible_queues(ReturnSetInfo *result, void (*put)(ReturnSetInfo *, catalog::Queue const &))
{
	catalog::QueueIds const queues = catalog::all_queues();
	for (int i = 0; i < queues.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		catalog::Queue const *const found = catalog::find_queue(queues.id[i]);
		if (found == nullptr || found->dropped || !may_see(*found))
			continue;
		catalog::Queue const queue = *found;
		put(result, queue);
	}
}

// ---- leases

struct SeenLease
{
	board::LeaseCopy copy;
	core::LeaseState state;
	core::LeaseJournal journal;
	core::Monotonic deadline;
};

bool
copy_if_live(core::LeaseSlot const &slot, SeenLease &seen)
{
	if (slot.token.load(std::memory_order_acquire) == core::no_token)
		return false;
	std::uint32_t const index = slot.board.load(std::memory_order_relaxed);
	board::Locked board(index, LW_SHARED);
	if (slot.token.load(std::memory_order_relaxed) == core::no_token ||
		slot.board.load(std::memory_order_relaxed) != index || board->key.database != MyDatabaseId)
		return false;
	board::copy_lease({index, board->key}, slot, slot.held, seen.copy);
	seen.state = slot.state.load(std::memory_order_relaxed);
	seen.journal = slot.journal.load(std::memory_order_relaxed);
	seen.deadline = core::Monotonic{slot.deadline.load(std::memory_order_relaxed)};
	return true;
}

char const *
state_name(core::LeaseState state)
{
	switch (state)
	{
		case core::LeaseState::free:
			break;
		case core::LeaseState::provisional:
			return "provisional";
		case core::LeaseState::held:
			return "held";
		case core::LeaseState::lost:
			return "lost";
		case core::LeaseState::expiring:
			return "expiring";
	}
	return "free";
}

void
put_lease(ReturnSetInfo *result, catalog::Queue const &queue, SeenLease const &seen)
{
	core::LeaseHolder const &holder = seen.copy.holder;
	bool const ends = seen.deadline != core::monotonic_never;
	bool const restored = holder.process == 0;
	Datum const values[] = {
		CStringGetTextDatum(queue.name),
		CStringGetTextDatum(holder.worker),
		ObjectIdGetDatum(holder.role),
		Int32GetDatum(holder.process),
		CStringGetTextDatum(holder.hold == core::LeaseHold::session ? "session" : "time"),
		CStringGetTextDatum(state_name(seen.state)),
		Int32GetDatum(seen.copy.jobs.size()),
		TimestampTzGetDatum(holder.claimed_at.us),
		ends ? interval_of(seen.deadline.us - base::now_monotonic().us) : Datum{0},
		BoolGetDatum(seen.journal == core::LeaseJournal::written),
	};
	bool nulls[lengthof(values)] = {};
	nulls[1] = holder.worker[0] == '\0';
	nulls[3] = restored;
	nulls[8] = !ends;
	tuplestore_putvalues(result->setResult, result->setDesc, const_cast<Datum *>(values), nulls);
}

// ---- memory of fixed size

void
put_memory(ReturnSetInfo *result, char const *setting, int64 used, int64 capacity)
{
	Datum const values[] = {CStringGetTextDatum(setting), Int64GetDatum(used), Int64GetDatum(capacity)};
	bool const nulls[lengthof(values)] = {};
	tuplestore_putvalues(result->setResult, result->setDesc, const_cast<Datum *>(values), const_cast<bool *>(nulls));
}

int
databases_in_use()
{
	int count = 0;
	for (int i = 0; i < notify::slot_count(); i++)
		count += OidIsValid(notify::read_slot(i).database);
	return count;
}

constexpr int64
kilobytes(std::uint32_t frames)
{
	return (int64{frames} * int64{core::frame_size} + 1023) / 1024;
}

} // namespace

// list_queue_stats(): rows of the view queue_stats
ONCEQ_FUNCTION(onceq_queue_stats)
{
	base::require_claimable("onceq.queue_stats");
	InitMaterializedSRF(fcinfo, 0);
	for_visible_queues(reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo), put_stats);
	PG_RETURN_NULL();
}

// list_leases(): rows of the view leases
ONCEQ_FUNCTION(onceq_leases)
{
	base::require_claimable("onceq.leases");
	InitMaterializedSRF(fcinfo, 0);
	auto *const seen = static_cast<SeenLease *>(palloc(sizeof(SeenLease)));
	for (std::uint32_t i = 0; i < board::leases().high_water(); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!copy_if_live(board::leases().slot(i), *seen))
			continue;
		catalog::Queue const *const found = catalog::find_queue(seen->copy.board.key.queue);
		if (found == nullptr || found->dropped || !may_see(*found))
			continue;
		catalog::Queue const queue = *found;
		put_lease(reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo), queue, *seen);
	}
	PG_RETURN_NULL();
}

// list_memory(): rows of the view memory
ONCEQ_FUNCTION(onceq_memory)
{
	base::require_server();
	InitMaterializedSRF(fcinfo, 0);
	auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	core::FramePool const &pool = board::pool();
	core::LeaseTable &leases = board::leases();
	put_memory(result, "onceq.state_memory", kilobytes(pool.in_use()), kilobytes(pool.capacity()));
	put_memory(result, "onceq.lease_slots", leases.in_use(), leases.capacity());
	put_memory(result, "onceq.progress_slots", leases.progress().in_use(), leases.progress().capacity());
	put_memory(result, "onceq.max_queues", board::boards_in_use(), base::settings.max_queues);
	put_memory(result, "onceq.max_databases", databases_in_use(), notify::slot_count());
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
