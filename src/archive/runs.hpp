// SPDX-License-Identifier: PostgreSQL
// Which tables are being archived just now, by whom, and how far they are.
//
// A table in shared memory. A run enters it first and is refused if the table is there already, so that
// nothing is archived by two at once; it leaves at its end, at the latest when its process ends. After a
// crash it is empty, as nobody runs.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"
#include "base/shmem.hpp"

namespace onceq::archive {

extern base::ShmemItem const runs_item;

enum class Phase : int32
{
	preparing,
	moving_rows,
	moving_partitions,
	vacuuming,
	copying_jobs,
};

struct Run
{
	Oid database; // InvalidOid: the place is free
	Oid source;   // a table; of jobs that are copied: the table that carries the queue's privileges
	int pid;
	Phase phase;
	core::Wall started_at;
	int64 batches;
	int64 rows;
};

// The place of this process's new run; -1: somebody else archives the source, `other` is his pid.
// Raises 53400 when there are too many runs.
int enter_run(Oid source, int &other);

// Calls body(argument), then leaves the place and deletes the context, also after an error.
void conduct_run(int place, MemoryContext context, void (*body)(void *argument), void *argument);

void show_phase(int place, Phase phase);
void show_batch(int place, int64 rows);

int run_places();
Run read_run(int place);

} // namespace onceq::archive
