// SPDX-License-Identifier: PostgreSQL
// Work that may fail without taking its transaction along.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

// Calls body(argument) in a subtransaction. An error is undone and logged as "<what> failed: …", except
// a request to cancel or stop, which is raised again. Whether body succeeded.
bool attempt(char const *what, void (*body)(void *argument), void *argument);

} // namespace onceq::base
