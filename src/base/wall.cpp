// SPDX-License-Identifier: PostgreSQL
#include <exception>
#include <new>

#include "base/wall.hpp"

namespace onceq::base {

namespace {

struct Escaped
{
	int sqlstate;
	char text[256];
};

void
note(Escaped &escaped, int sqlstate, char const *text) noexcept
{
	escaped.sqlstate = sqlstate;
	strlcpy(escaped.text, text, sizeof(escaped.text));
}

} // namespace

Datum
wall(char const *function, Body body, FunctionCallInfo fcinfo)
{
	Escaped escaped{};
	sigjmp_buf *const exception_stack = PG_exception_stack;
	ErrorContextCallback *const context_stack = error_context_stack;

	try
	{
		return body(fcinfo);
	}
	catch (std::bad_alloc const &)
	{
		note(escaped, ERRCODE_OUT_OF_MEMORY, "out of memory");
	}
	catch (std::exception const &exception)
	{
		note(escaped, ERRCODE_INTERNAL_ERROR, exception.what());
	}
	catch (...)
	{
		note(escaped, ERRCODE_INTERNAL_ERROR, "unknown C++ exception");
	}

	Assert(PG_exception_stack == exception_stack);
	PG_exception_stack = exception_stack;
	error_context_stack = context_stack;
	ereport(ERROR,
			(errcode(escaped.sqlstate), errmsg_internal("%s", escaped.text), errcontext("C++ function %s", function)));
	pg_unreachable();
}

} // namespace onceq::base
