// SPDX-License-Identifier: PostgreSQL
// Work that may fail without taking its transaction along.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

// What went wrong, for people; the text is cut to fit.
struct Failure
{
	int sqlstate;
	char text[256];
};

Failure failure_of(ErrorData const *error);

// Calls body(argument) in a subtransaction. An error is undone and logged as "<what> failed: …", except
// a request to cancel or stop, which is raised again. Whether body succeeded.
bool attempt(char const *what, void (*body)(void *argument), void *argument);

// The same without the log line: what went wrong is told to the caller.
bool attempt(void (*body)(void *argument), void *argument, Failure &failure);

// Calls body(argument) in a subtransaction, which is undone, with the locks that it took, if body returns false or
// raises an error; the error goes on. Whether body returned true.
bool do_or_undo(bool (*body)(void *argument), void *argument);

} // namespace onceq::base
