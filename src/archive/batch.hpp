// SPDX-License-Identifier: PostgreSQL
// One batch of rows: moved by one statement, so that each of them is in the source or in the archive.
//
//   WITH batch AS (SELECT … FROM ONLY source … LIMIT … FOR UPDATE SKIP LOCKED),
//        moved AS (DELETE … RETURNING …), kept AS (INSERT INTO archive SELECT … FROM moved …) SELECT counts
//
// Rows that other transactions hold are passed over. It runs as the owner of the source, who is also he who
// must be able to insert into the archive.
#pragma once

#include "archive/policy.hpp"
#include "archive/tables.hpp"

namespace onceq::archive {

// Where the next batch of a leaf begins: a walk through an index on the age column, or through the pages.
struct Walk
{
	Oid leaf;
	bool by_age;
	Datum from; // age, or tid; palloc'd in `context`
	bool after; // later than from, not at it: what is at it refuses to be moved
	MemoryContext context;
};

Walk begin_walk(Source const &source, Policy const &policy, Oid leaf, MemoryContext context);

struct Batch
{
	int64 seen; // rows taken; fewer than the policy's batch: the leaf is at its end
	int64 moved;
};

// cutoff: of the source's age_type; older rows go. Requires: a transaction of its own. Raises whatever the
// statement does, and 42501 if the source has another owner now.
Batch move_batch(Policy const &policy, Source const &source, Datum cutoff, Walk &walk);

// now − older_than as a value of the age's type, palloc'd.
Datum cutoff_of(Policy const &policy, Source const &source);

// Role that the policy runs as. Raises 42501 if the source does not belong to it any more.
Oid role_of(Policy const &policy, Source const &source);

// The archive, checked and locked against a change of its owner; made if it is not there. InvalidOid: rows
// are deleted. Requires: runs as the policy's role.
Oid archive_of(Policy const &policy, Source const &source);

} // namespace onceq::archive
