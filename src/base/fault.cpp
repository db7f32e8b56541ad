// SPDX-License-Identifier: PostgreSQL
#include "base/fault.hpp"

#ifdef ONCEQ_TESTING

#include <csignal>
#include <cstring>

#include "base/postgres.hpp"

extern "C" {
#include <miscadmin.h>
#include <storage/latch.h>
#include <storage/lmgr.h>
#include <storage/lock.h>
#include <utils/guc.h>
}

namespace onceq::base {

namespace {

constinit char *armed = nullptr; // "<action> at <point>"

constexpr uint32 pause_lock = 0x6f71;

bool
is(char const *action, size_t length, char const *name)
{
	return strlen(name) == length && strncmp(action, name, length) == 0;
}

void
pause()
{
	LOCKTAG tag;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, pause_lock, 1);
	(void)LockAcquire(&tag, ShareLock, false, false);
	LockRelease(&tag, ShareLock, false);
	SetLatch(MyLatch); // it may have been set for what comes next, and the wait has reset it
}

} // namespace

void
define_fault_setting()
{
	DefineCustomStringVariable("onceq.fault", "Fails or waits at a named point. Testing builds only.", nullptr, &armed,
							   "", PGC_USERSET, 0, nullptr, nullptr, nullptr);
}

void
fault_point(char const *name, bool may_raise)
{
	char const *const at = armed != nullptr ? strstr(armed, " at ") : nullptr;
	if (at == nullptr || strcmp(at + 4, name) != 0)
		return;
	size_t const length = static_cast<size_t>(at - armed);
	if (is(armed, length, "kill"))
		kill(MyProcPid, SIGKILL);
	if (is(armed, length, "stop"))
		kill(MyProcPid, SIGSTOP);
	if (!may_raise)
		return;
	if (is(armed, length, "pause"))
		pause();
	if (is(armed, length, "error"))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("fault at \"%s\"", name)));
	if (is(armed, length, "oom"))
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory at \"%s\"", name)));
	if (is(armed, length, "fatal"))
		ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN), errmsg("fatal fault at \"%s\"", name)));
}

} // namespace onceq::base

#endif
