// SPDX-License-Identifier: PostgreSQL
#include <signal.h>
#include <type_traits>

#include "worker/archivers.hpp"

#include "base/clock.hpp"
#include "base/scope.hpp"
#include "base/settings.hpp"
#include "notify/wait_event.hpp"
#include "worker/archiver.hpp"
#include "worker/worker.hpp"

extern "C" {
#include <storage/condition_variable.h>
#include <storage/shmem.h>
}

namespace onceq::worker {

namespace {

// Who was asked for and has not come by then, does not come.
constexpr core::Microseconds start_patience = 30 * core::microseconds_per_second;

// Between two processes of a database, should one end as soon as it has come.
constexpr core::Microseconds pause = core::microseconds_per_second / 2;

constinit notify::WaitEvent archiver_leaves{"OnceqArchiverLeaves", 0};

// Changes under the table's lock only. With a process: until that ends; without: until next_start.
struct Archiver
{
	Oid database; // InvalidOid: the place is free
	uint32 generation;
	int pid; // 0: it is still to come, or has ended
	bool booked;
	core::Monotonic next_start; // of a booked one: when it will not come any more
};

struct Archivers
{
	ConditionVariable left;
	Archiver archiver[1]; // settings.max_databases
};

static_assert(std::is_standard_layout_v<Archivers> && std::is_trivially_copyable_v<Archiver>);

constinit Archivers *table = nullptr;

Size
size()
{
	return add_size(sizeof(Archivers), mul_size(sizeof(Archiver), base::settings.max_databases));
}

void
attach(void *memory)
{
	table = static_cast<Archivers *>(memory);
}

void
initialise(void *)
{
	ConditionVariableInit(&table->left);
	for (int i = 0; i < base::settings.max_databases; i++)
		table->archiver[i] = {};
}

} // namespace

constinit base::ShmemItem const archivers_item = {"onceq_archivers", size, initialise, attach, base::one_lock};

namespace {

LWLock *
table_lock()
{
	return base::lock_of(archivers_item);
}

// Requires: the table's lock. A place of no process and no booking is anybody's when its pause is over.
Archiver *
find_place(Oid database, core::Monotonic now)
{
	Archiver *place = nullptr;
	for (int i = 0; i < base::settings.max_databases; i++)
	{
		Archiver &archiver = table->archiver[i];
		if (archiver.database == database)
			return archiver.pid == 0 && archiver.next_start <= now ? &archiver : nullptr;
		if (archiver.pid == 0 && archiver.next_start <= now)
			place = &archiver;
	}
	return place;
}

// Whether there is none; asks one that there is to end.
bool
has_left(Oid database)
{
	base::LWLockScope const locked(table_lock(), LW_EXCLUSIVE);
	for (int i = 0; i < base::settings.max_databases; i++)
	{
		Archiver &archiver = table->archiver[i];
		if (archiver.database != database)
			continue;
		archiver.booked = false;
		if (archiver.pid != 0)
			kill(archiver.pid, SIGTERM);
		return archiver.pid == 0;
	}
	return true;
}

} // namespace

bool
book_archiver(Oid database, ArchiverPlace &place)
{
	core::Monotonic const now = base::now_monotonic();
	base::LWLockScope const locked(table_lock(), LW_EXCLUSIVE);
	Archiver *const archiver = find_place(database, now);
	if (archiver == nullptr)
		return false;
	*archiver = {database, archiver->generation + 1, 0, true, now + start_patience};
	place = {static_cast<int32>(archiver - table->archiver), archiver->generation};
	return true;
}

void
forget_archiver(ArchiverPlace place)
{
	core::Monotonic const now = base::now_monotonic();
	base::LWLockScope const locked(table_lock(), LW_EXCLUSIVE);
	Archiver &archiver = table->archiver[place.place];
	if (archiver.generation == place.generation && archiver.pid == 0)
	{
		archiver.booked = false;
		archiver.next_start = now + pause;
	}
}

bool
enter_archiver(ArchiverPlace place)
{
	base::LWLockScope const locked(table_lock(), LW_EXCLUSIVE);
	Archiver &archiver = table->archiver[place.place];
	if (archiver.generation != place.generation || !archiver.booked)
		return false;
	archiver.pid = MyProcPid;
	return true;
}

void
leave_archiver(int32 place)
{
	core::Monotonic const now = base::now_monotonic();
	{
		base::LWLockScope const locked(table_lock(), LW_EXCLUSIVE);
		Archiver &archiver = table->archiver[place];
		if (archiver.pid != MyProcPid)
			return;
		archiver.pid = 0;
		archiver.booked = false;
		archiver.next_start = now + pause;
	}
	ConditionVariableBroadcast(&table->left);
}

void
send_archiver_away(Oid database, core::Microseconds at_most)
{
	core::Monotonic const deadline = base::now_monotonic() + at_most;
	if (table == nullptr || has_left(database))
		return;
	ConditionVariablePrepareToSleep(&table->left);
	while (!has_left(database))
	{
		core::Microseconds const rest = deadline.us - base::now_monotonic().us;
		if (rest <= 0)
			break;
		ConditionVariableTimedSleep(&table->left, rest / 1000 + 1, archiver_leaves);
	}
	ConditionVariableCancelSleep();
}

} // namespace onceq::worker
