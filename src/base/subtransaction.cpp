// SPDX-License-Identifier: PostgreSQL
#include "base/subtransaction.hpp"

extern "C" {
#include <mb/pg_wchar.h>
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

// Undoes what body did if it returns false, or raises the error that is returned.
template <typename Body>
ErrorData *
try_body(Body body)
{
	MemoryContext const context = CurrentMemoryContext;
	ResourceOwner const owner = CurrentResourceOwner;
	ErrorData *volatile error = nullptr;

	BeginInternalSubTransaction(nullptr);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (body())
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

ErrorData *
try_call(void (*body)(void *argument), void *argument)
{
	return try_body([=] {
		body(argument);
		return true;
	});
}

} // namespace

Failure
failure_of(ErrorData const *error)
{
	Failure failure;
	failure.sqlstate = error->sqlerrcode;
	char const *const text = error->message != nullptr ? error->message : "";
	int const size = static_cast<int>(sizeof(failure.text)) - 1;
	int const length = pg_mbcliplen(text, static_cast<int>(strlen(text)), size);
	memcpy(failure.text, text, length);
	failure.text[length] = '\0';
	return failure;
}

bool
attempt(char const *what, void (*body)(void *argument), void *argument)
{
	ErrorData *const error = try_call(body, argument);
	if (error != nullptr)
		log_failure(what, error);
	return error == nullptr;
}

bool
attempt(void (*body)(void *argument), void *argument, Failure &failure)
{
	ErrorData *const error = try_call(body, argument);
	if (error == nullptr)
		return true;
	failure = failure_of(error);
	FreeErrorData(error);
	return false;
}

bool
do_or_undo(bool (*body)(void *argument), void *argument)
{
	bool done = false;
	if (ErrorData *const error = try_body([&] { return done = body(argument); }); error != nullptr)
		ReThrowError(error);
	return done;
}

} // namespace onceq::base
