// SPDX-License-Identifier: PostgreSQL
#include <type_traits>

#include "archive/runs.hpp"

#include "base/clock.hpp"
#include "base/scope.hpp"
#include "base/settings.hpp"

extern "C" {
#include <storage/ipc.h>
#include <storage/shmem.h>
#include <utils/memutils.h>
}

namespace onceq::archive {

namespace {

static_assert(std::is_standard_layout_v<Run> && std::is_trivially_copyable_v<Run>);

// Beside the processes of the databases: sessions that CALL onceq.archive().
constexpr int places_for_sessions = 64;

// Written by the process that entered, read by anybody, under the lock.
constinit Run *runs = nullptr;

Size
size()
{
	return mul_size(sizeof(Run), run_places());
}

void
attach(void *memory)
{
	runs = static_cast<Run *>(memory);
}

void
initialise(void *)
{
	for (int i = 0; i < run_places(); i++)
		runs[i] = {};
}

} // namespace

constinit base::ShmemItem const runs_item = {"onceq_archive_runs", size, initialise, attach, base::one_lock};

namespace {

LWLock *
runs_lock()
{
	return base::lock_of(runs_item);
}

void
leave_at_exit(int, Datum)
{
	base::LWLockScope const locked(runs_lock(), LW_EXCLUSIVE);
	for (int i = 0; i < run_places(); i++)
		if (runs[i].pid == MyProcPid)
			runs[i] = {};
}

void
leave_run(int place)
{
	base::LWLockScope const locked(runs_lock(), LW_EXCLUSIVE);
	runs[place] = {};
}

// The place taken, or -1; `other` is 0 if there is none free.
int
try_enter(Oid source, int &other)
{
	core::Wall const now = base::now_wall();
	int place = -1;
	other = 0;
	base::LWLockScope const locked(runs_lock(), LW_EXCLUSIVE);
	for (int i = 0; i < run_places(); i++)
	{
		if (runs[i].database == MyDatabaseId && runs[i].source == source)
		{
			other = runs[i].pid;
			return -1;
		}
		if (!OidIsValid(runs[i].database))
			place = i;
	}
	if (place >= 0)
		runs[place] = {MyDatabaseId, source, MyProcPid, Phase::preparing, now, 0, 0};
	return place;
}

} // namespace

int
run_places()
{
	return base::settings.max_databases + places_for_sessions;
}

int
enter_run(Oid source, int &other)
{
	static bool leaves_at_exit = false;

	if (!leaves_at_exit)
		on_shmem_exit(leave_at_exit, 0);
	leaves_at_exit = true;
	int const place = try_enter(source, other);
	if (place < 0 && other == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("too many tables are being archived at once"),
				 errhint("Try again when one of them is done, or increase onceq.max_databases.")));
	return place;
}

void
conduct_run(int place, MemoryContext context, void (*body)(void *argument), void *argument)
{
	PG_TRY();
	{
		body(argument);
	}
	PG_CATCH();
	{
		leave_run(place);
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	leave_run(place);
	MemoryContextDelete(context);
}

void
show_phase(int place, Phase phase)
{
	base::LWLockScope const locked(runs_lock(), LW_EXCLUSIVE);
	runs[place].phase = phase;
}

void
show_batch(int place, int64 rows)
{
	base::LWLockScope const locked(runs_lock(), LW_EXCLUSIVE);
	runs[place].batches++;
	runs[place].rows += rows;
}

Run
read_run(int place)
{
	base::LWLockScope const locked(runs_lock(), LW_SHARED);
	return runs[place];
}

} // namespace onceq::archive
