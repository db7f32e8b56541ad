// SPDX-License-Identifier: PostgreSQL
#include <algorithm>

#include "notify/slots.hpp"

#include "base/clock.hpp"
#include "base/scope.hpp"
#include "base/settings.hpp"
#include "notify/table.hpp"
#include "notify/wait_event.hpp"

extern "C" {
#include <common/pg_prng.h>
#include <signal.h>
#include <storage/proc.h>
}

namespace onceq::notify {

namespace {

// Longer than a statement takes from the worker's leaving until it holds the lock on the database that
// keeps everybody out.
constexpr core::Microseconds hold_span = 10 * core::microseconds_per_second;

constexpr core::Monotonic at_once{0};

constinit WaitEvent worker_leaves{"OnceqWorkerLeaves", 0};

class TableLocked : base::NotCopyable
{
  public:
	explicit TableLocked(LWLockMode mode = LW_EXCLUSIVE) : lock_(table_lock(), mode) {}

  private:
	base::LWLockScope lock_;
};

void
enter(Slot &slot, SlotState state) noexcept
{
	slot.state = state;
	slot.since = base::now_wall();
}

// Requires: the table's lock, a free slot.
void
take_slot(Slot &slot, Oid database, SlotState state) noexcept
{
	Assert(slot.state == SlotState::free);
	slot.failures = 0;
	slot.needed = false;
	slot.next_start = at_once;
	slot.held_until = at_once;
	enter(slot, state);
	pg_atomic_exchange_u32(&slot.wake, 0);
	pg_atomic_exchange_u32(&slot.database, database);
}

// Requires: the table's lock, no process in the slot.
void
free_slot(Slot &slot) noexcept
{
	Assert(pg_atomic_read_u32(&slot.pid) == 0);
	enter(slot, SlotState::free);
	// In this order: see wake_worker.
	Oid const database = pg_atomic_exchange_u32(&slot.database, InvalidOid);
	if (pg_atomic_exchange_u32(&slot.wake, 0) != 0)
		request_worker(database);
}

Slot *
find_free_slot() noexcept
{
	for (int i = 0; i < slot_count(); i++)
		if (slot_at(i).state == SlotState::free)
			return &slot_at(i);
	return nullptr;
}

// Requires: the table's lock.
void
back_off(Slot &slot, core::Backoff const &backoff) noexcept
{
	slot.failures++;
	slot.next_start =
		base::now_monotonic() + core::backoff_delay(backoff, slot.failures, pg_prng_double(&pg_global_prng_state));
	enter(slot, SlotState::wanted);
}

uint32
my_procno() noexcept
{
#if PG_VERSION_NUM >= 170000
	return static_cast<uint32>(MyProcNumber);
#else
	return static_cast<uint32>(MyProc->pgprocno);
#endif
}

} // namespace

int
slot_count() noexcept
{
	return base::settings.max_databases;
}

SlotFacts
read_slot(int i)
{
	Slot &slot = slot_at(i);
	TableLocked const locked(LW_SHARED);
	return {pg_atomic_read_u32(&slot.database),
			slot.state,
			slot.generation,
			static_cast<int>(pg_atomic_read_u32(&slot.pid)),
			slot.needed,
			slot.failures,
			slot.next_start,
			slot.held_until,
			slot.since};
}

// ---- the launcher

bool
publish_launcher()
{
	TableLocked const locked;
	if (pg_atomic_read_u32(&table->launcher_pid) != 0)
		return false;
	pg_atomic_write_u32(&table->launcher_procno, my_procno());
	pg_atomic_exchange_u32(&table->full_look, 1);
	pg_atomic_exchange_u32(&table->launcher_pid, static_cast<uint32>(MyProcPid));
	return true;
}

void
retract_launcher()
{
	TableLocked const locked;
	if (pg_atomic_read_u32(&table->launcher_pid) == static_cast<uint32>(MyProcPid))
		pg_atomic_exchange_u32(&table->launcher_pid, 0);
}

bool
take_full_look() noexcept
{
	return pg_atomic_exchange_u32(&table->full_look, 0) != 0;
}

int
open_slot(Oid database, bool needed)
{
	TableLocked const locked;
	Slot *slot = find_slot(database);
	if (slot == nullptr)
	{
		slot = find_free_slot();
		if (slot == nullptr)
			return -1;
		take_slot(*slot, database, SlotState::wanted);
	}
	else if (slot->state == SlotState::held)
		enter(*slot, SlotState::wanted);
	if (needed)
		wake_worker(database);
	return static_cast<int>(slot - &slot_at(0));
}

bool
take_need(int i)
{
	TableLocked const locked;
	Slot &slot = slot_at(i);
	if (take_wake(i))
		slot.needed = true;
	return slot.needed;
}

uint32
begin_start(int i)
{
	TableLocked const locked;
	Slot &slot = slot_at(i);
	Assert(slot.state == SlotState::wanted);
	enter(slot, SlotState::starting);
	return ++slot.generation;
}

void
start_failed(int i, SlotState state, core::Backoff const &backoff)
{
	TableLocked const locked;
	Slot &slot = slot_at(i);
	if (slot.state == state)
		back_off(slot, backoff);
}

void
close_slot(int i)
{
	TableLocked const locked;
	Slot &slot = slot_at(i);
	if (slot.state == SlotState::wanted || slot.state == SlotState::held)
		free_slot(slot);
}

// ---- a worker

bool
attach(int i, uint32 generation)
{
	TableLocked const locked;
	Slot &slot = slot_at(i);
	if (slot.state != SlotState::starting || slot.generation != generation)
		return false;
	if (base::now_monotonic() < slot.held_until)
	{
		enter(slot, SlotState::wanted);
		return false;
	}
	pg_atomic_write_u32(&slot.procno, my_procno());
	pg_atomic_exchange_u32(&slot.pid, static_cast<uint32>(MyProcPid));
	enter(slot, SlotState::connecting);
	return true;
}

void
detach(int i, Ending ending)
{
	{
		TableLocked const locked;
		Slot &slot = slot_at(i);
		Assert(slot.state == SlotState::connecting || slot.state == SlotState::running);
		Assert(pg_atomic_read_u32(&slot.pid) == static_cast<uint32>(MyProcPid));
		pg_atomic_exchange_u32(&slot.pid, 0);
		if (ending == Ending::failed)
			back_off(slot, restart_backoff);
		else if (ending == Ending::asked)
		{
			slot.next_start = at_once;
			enter(slot, SlotState::wanted);
		}
		else if (base::now_monotonic() < slot.held_until)
			enter(slot, SlotState::held);
		else
			free_slot(slot);
	}
	ConditionVariableBroadcast(&table->worker_left);
	wake_launcher();
}

bool
take_wake(int i) noexcept
{
	return pg_atomic_exchange_u32(&slot_at(i).wake, 0) != 0;
}

bool
take_journal_wake(int i) noexcept
{
	return pg_atomic_exchange_u32(&slot_at(i).journal, 0) != 0;
}

void
confirm(int i)
{
	{
		TableLocked const locked;
		Slot &slot = slot_at(i);
		Assert(slot.state == SlotState::connecting);
		slot.failures = 0;
		slot.needed = true;
		enter(slot, SlotState::running);
	}
	wake_launcher(); // it starts few at once
}

bool
is_held(int i)
{
	TableLocked const locked(LW_SHARED);
	return base::now_monotonic() < slot_at(i).held_until;
}

// ---- a statement that needs the database for itself

namespace {

// What this transaction holds off.
struct Hold
{
	Oid database; // InvalidOid: nothing
	core::Monotonic until;
};

constinit Hold hold{};

void
let_back() noexcept
{
	{
		TableLocked const locked;
		Slot *const slot = find_slot(hold.database);
		hold.database = InvalidOid;
		// Of several that hold it off, the last one lets it back.
		if (slot == nullptr || slot->held_until != hold.until)
			return;
		slot->held_until = at_once;
		if (slot->state == SlotState::held)
			free_slot(*slot);
	}
	wake_launcher();
}

bool
is_requested(Oid database) noexcept
{
	for (int i = 0; i < slot_count(); i++)
		if (requested_database(i) == database)
			return true;
	return false;
}

} // namespace

bool
hold_off(Oid database)
{
	if (table == nullptr)
		return false;
	if (OidIsValid(hold.database))
		let_back();

	TableLocked const locked;
	Slot *slot = find_slot(database);
	if (slot == nullptr)
	{
		slot = find_free_slot();
		if (slot == nullptr)
			return false; // nobody can get one either
		take_slot(*slot, database, SlotState::held);
	}
	slot->held_until = std::max(base::now_monotonic() + hold_span, slot->held_until + 1);
	hold = {database, slot->held_until};
	// Under the lock it is still that process: it detaches before it ends.
	if (uint32 const pid = pg_atomic_read_u32(&slot->pid); pid != 0)
		kill(static_cast<pid_t>(pid), SIGTERM);
	return slot->needed || pg_atomic_read_u32(&slot->wake) != 0 || is_requested(database);
}

bool
wait_until_left(Oid database, core::Microseconds at_most)
{
	core::Monotonic const deadline = base::now_monotonic() + at_most;
	bool left = worker_pid(database) == 0;
	if (left)
		return true;

	ConditionVariablePrepareToSleep(&table->worker_left);
	for (;;)
	{
		left = worker_pid(database) == 0;
		core::Microseconds const rest = deadline.us - base::now_monotonic().us;
		if (left || rest <= 0)
			break;
		ConditionVariableTimedSleep(&table->worker_left, rest / 1000 + 1, worker_leaves);
	}
	ConditionVariableCancelSleep();
	return left;
}

void
let_back_at_transaction_end() noexcept
{
	if (OidIsValid(hold.database))
		let_back();
}

} // namespace onceq::notify
