// SPDX-License-Identifier: PostgreSQL
// What becomes of old rows: of any table, by its archive policy, and of jobs that are done.
//
// A policy is carried out in batches, each a transaction of its own (batch.hpp), by the database's archive
// process or by a session that CALLs onceq.archive(). Nothing of a run is kept but in tables: a crash
// loses the batch that was under way, and the next run goes on. doc/internals/archive.md tells more.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"
#include "base/subtransaction.hpp"

extern "C" {
#include <nodes/pg_list.h>
}

namespace onceq::archive {

using Step = void (*)(void *argument);

// How a run gets its transactions: a background process and a session that executes CALL differ in that.
struct Means
{
	// Runs the step in a transaction of its own, with an active snapshot, and commits it. False: it failed,
	// and was undone.
	bool (*carry_out)(Step step, void *argument, base::Failure &failure);
	// Runs a command that commits by itself, such as VACUUM, as this role; nullptr: a session cannot.
	bool (*command)(char const *sql, Oid role, base::Failure &failure);
	// Whether the process is to end: the run stops after the current batch.
	bool (*is_over)();
	// How long a run may last before it makes place for others.
	core::Microseconds patience;
};

enum class Ending
{
	done,
	failed, // recorded with the policy
	busy,   // somebody else archives it
	gone,   // there is no such policy (any more)
};

struct Outcome
{
	Ending ending;
	int other; // pid, if busy
	int64 rows;
	base::Failure failure;
};

// Carries the policy of a table out. any_time: also while its window is closed.
Outcome run_policy(Oid source, Means const &means, bool any_time);

// How long until some policy is due; 0: now.
core::Microseconds until_work();

// The tables whose policies are due, that which waits longest first; oids, palloc'd. Policies of tables
// that are gone are deleted.
List *due_sources();

} // namespace onceq::archive
