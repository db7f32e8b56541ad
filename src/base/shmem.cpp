// SPDX-License-Identifier: PostgreSQL
#include "base/shmem.hpp"

extern "C" {
#include <storage/ipc.h>
#include <storage/shmem.h>
}

namespace onceq::base {

namespace {

constinit ShmemItem const *items = nullptr;
constinit int item_count = 0;
constinit bool attached = false;
constinit shmem_request_hook_type previous_request_hook = nullptr;
constinit shmem_startup_hook_type previous_startup_hook = nullptr;

void
request()
{
	if (previous_request_hook != nullptr)
		previous_request_hook();
	for (int i = 0; i < item_count; i++)
	{
		RequestAddinShmemSpace(add_size(items[i].size(), PG_CACHE_LINE_SIZE));
		if (items[i].lock_count != nullptr)
			RequestNamedLWLockTranche(items[i].name, items[i].lock_count());
	}
}

void
startup()
{
	if (previous_startup_hook != nullptr)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < item_count; i++)
	{
		bool found;
		Size const size = add_size(items[i].size(), PG_CACHE_LINE_SIZE);
		void *const memory = reinterpret_cast<void *>(CACHELINEALIGN(ShmemInitStruct(items[i].name, size, &found)));
		items[i].attach(memory);
		if (!found)
			items[i].initialise(memory);
	}
	LWLockRelease(AddinShmemInitLock);
	attached = true;
}

} // namespace

int
one_lock()
{
	return 1;
}

LWLock *
lock_of(ShmemItem const &item)
{
	return &GetNamedLWLockTranche(item.name)->lock;
}

void
request_shmem(ShmemItem const *table, int count)
{
	items = table;
	item_count = count;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

void
require_preloaded()
{
	if (!attached)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("onceq is not loaded by the server"),
						errhint("Add onceq to shared_preload_libraries and restart the server.")));
}

} // namespace onceq::base
