// SPDX-License-Identifier: PostgreSQL
// The table of archive processes; known to archiver.cpp only.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::worker {

struct ArchiverPlace
{
	int32 place;
	uint32 generation;
};

// A place for a new process of this database. False: it has one, or had one a moment ago, or there is none free.
bool book_archiver(Oid database, ArchiverPlace &place);
void forget_archiver(ArchiverPlace place);

// By the process. False: it comes too late, or is not wanted any more.
bool enter_archiver(ArchiverPlace place);
void leave_archiver(int32 place);

} // namespace onceq::worker
