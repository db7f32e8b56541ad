// SPDX-License-Identifier: PostgreSQL
#include "notify/table.hpp"

#include "base/settings.hpp"

extern "C" {
#include <storage/proc.h>
#include <storage/shmem.h>
#include <utils/resowner.h>
}

namespace onceq::notify {

constinit Table *table = nullptr;

namespace {

constinit Slot *slots = nullptr;
constinit pg_atomic_uint32 *requests = nullptr;

Size
size()
{
	Size const per_database = add_size(sizeof(Slot), sizeof(pg_atomic_uint32));
	return add_size(sizeof(Table), mul_size(per_database, base::settings.max_databases));
}

void
attach_memory(void *memory)
{
	table = static_cast<Table *>(memory);
	slots = reinterpret_cast<Slot *>(table + 1);
	requests = reinterpret_cast<pg_atomic_uint32 *>(slots + base::settings.max_databases);
}

void
initialise(void *)
{
	pg_atomic_init_u32(&table->launcher_pid, 0);
	pg_atomic_init_u32(&table->launcher_procno, 0);
	pg_atomic_init_u32(&table->full_look, 1);
	ConditionVariableInit(&table->worker_left);
	for (int i = 0; i < base::settings.max_databases; i++)
	{
		pg_atomic_init_u32(&slots[i].database, InvalidOid);
		pg_atomic_init_u32(&slots[i].wake, 0);
		pg_atomic_init_u32(&slots[i].journal, 0);
		pg_atomic_init_u32(&slots[i].pid, 0);
		pg_atomic_init_u32(&slots[i].procno, 0);
		pg_atomic_init_u32(&requests[i], InvalidOid);
	}
}

// The process may be gone by now: then its latch wakes nobody, or whoever has that place.
void
set_latch_of(uint32 procno) noexcept
{
	SetLatch(&GetPGProcByNumber(procno)->procLatch);
}

} // namespace

constinit base::ShmemItem const shmem_item = {"onceq_workers", size, initialise, attach_memory, base::one_lock};

LWLock *
table_lock()
{
	return base::lock_of(shmem_item);
}

Slot &
slot_at(int i) noexcept
{
	return slots[i];
}

Slot *
find_slot(Oid database) noexcept
{
	// A backend asks for its own database, again and again.
	static int last = 0;

	if (pg_atomic_read_u32(&slots[last].database) == database)
		return &slots[last];
	for (int i = 0; i < base::settings.max_databases; i++)
		if (pg_atomic_read_u32(&slots[i].database) == database)
			return &slots[last = i];
	return nullptr;
}

void
wake_launcher() noexcept
{
	if (pg_atomic_read_u32(&table->launcher_pid) != 0)
		set_latch_of(pg_atomic_read_u32(&table->launcher_procno));
}

void
request_worker(Oid database) noexcept
{
	uint32 const count = static_cast<uint32>(base::settings.max_databases);
	for (uint32 i = 0; i < count; i++)
	{
		uint32 there = InvalidOid;
		if (pg_atomic_compare_exchange_u32(&requests[(database + i) % count], &there, database))
			return wake_launcher();
		if (there == database)
			return; // the launcher knows, and will see to it when it can
	}
	pg_atomic_exchange_u32(&table->full_look, 1);
	wake_launcher();
}

Oid
requested_database(int i) noexcept
{
	return pg_atomic_read_u32(&requests[i]);
}

void
forget_request(int i, Oid database) noexcept
{
	uint32 there = database;
	pg_atomic_compare_exchange_u32(&requests[i], &there, InvalidOid);
}

void
wake_worker(Oid database) noexcept
{
	if (table == nullptr || !OidIsValid(database))
		return;

	Slot *const slot = find_slot(database);
	if (slot == nullptr)
		return request_worker(database);

	// A slot is freed by taking the database out of it and then looking at `wake`; here it is the other
	// way round, with a full barrier between in both: so one of the two sees what the other did.
	bool const was_awake = pg_atomic_exchange_u32(&slot->wake, 1) != 0;
	if (pg_atomic_read_u32(&slot->database) != database)
		return request_worker(database);

	// A worker that ends before it took this tells the launcher, who looks at `wake`. If somebody else
	// set it before, the launcher has been told: commits must not keep it busy during a back-off.
	if (pg_atomic_read_u32(&slot->pid) != 0)
		set_latch_of(pg_atomic_read_u32(&slot->procno));
	else if (!was_awake)
		wake_launcher();
}

void
wake_worker_to_journal(Oid database) noexcept
{
	Slot *const slot = table == nullptr || !OidIsValid(database) ? nullptr : find_slot(database);
	if (slot == nullptr || pg_atomic_read_u32(&slot->pid) == 0)
		return wake_worker(database);
	// The first round of a worker that comes next does it all.
	pg_atomic_exchange_u32(&slot->journal, 1);
	set_latch_of(pg_atomic_read_u32(&slot->procno));
}

int
worker_pid(Oid database) noexcept
{
	Slot *const slot = table == nullptr || !OidIsValid(database) ? nullptr : find_slot(database);
	return slot == nullptr ? 0 : static_cast<int>(pg_atomic_read_u32(&slot->pid));
}

char const *
absent_worker_hint(Oid database) noexcept
{
	if (worker_pid(database) != 0)
		return nullptr;
	if (table == nullptr || pg_atomic_read_u32(&table->launcher_pid) == 0)
		return "The launcher of onceq does not run; see the server log.";
	return "No onceq worker runs for this database; see onceq.workers and the server log.";
}

namespace {

// The database whose worker the transaction wants to wake when it commits.
constinit Oid wake_at_commit = InvalidOid;

// Later than a commit callback: by now the others have been told what to forget from their caches, and
// no lock of the transaction is in the worker's way.
void
at_transaction_end(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;
	let_back_at_transaction_end();
	if (is_commit)
		wake_worker(wake_at_commit);
	wake_at_commit = InvalidOid;
}

} // namespace

void
wake_worker_at_commit(Oid database)
{
	wake_at_commit = database;
}

void
watch_transactions()
{
	RegisterResourceReleaseCallback(at_transaction_end, nullptr);
}

} // namespace onceq::notify
