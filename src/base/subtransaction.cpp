// SPDX-License-Identifier: PostgreSQL
#include "base/subtransaction.hpp"

extern "C" {
#include <utils/memutils.h>
#include <utils/resowner.h>
}

namespace onceq::base {

namespace {

void
log_failure(char const *what, ErrorData *error)
{
	ereport(LOG, (errcode(error->sqlerrcode), errmsg("%s failed: %s", what, error->message),
				  error->detail != nullptr ? errdetail_internal("%s", error->detail) : 0,
				  error->hint != nullptr ? errhint("%s", error->hint) : 0));
	FreeErrorData(error);
}

} // namespace

bool
attempt(char const *what, void (*body)(void *argument), void *argument)
{
	MemoryContext const context = CurrentMemoryContext;
	ResourceOwner const owner = CurrentResourceOwner;
	volatile bool succeeded = false;

	BeginInternalSubTransaction(nullptr);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(argument);
		ReleaseCurrentSubTransaction();
		succeeded = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		ErrorData *const error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		log_failure(what, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return succeeded;
}

} // namespace onceq::base
