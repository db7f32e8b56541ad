// SPDX-License-Identifier: PostgreSQL
// The session of a process of ours in a database, and the extension it works for.
#pragma once

#include "base/postgres.hpp"

namespace onceq::worker {

enum class Extension
{
	present,
	busy,
	replaced,
	gone
};

// Connects, with settings that no user can change for us.
void open_session(Oid database, Oid role, char const *application);

// In a transaction of its own; InvalidOid: it is not there. name: of the database, NAMEDATALEN bytes.
Oid find_extension(char *name);

// Keeps it from being dropped until the transaction ends, but never waits: DROP EXTENSION takes this
// lock first and then those of the tables, so who waited could be in its way for long.
Extension lock_extension(Oid expected);

} // namespace onceq::worker
