// SPDX-License-Identifier: PostgreSQL
// Which jobs a function means that changes many: by state, id, row and last error. Candidates are found on the
// board or in an index, without owning them; whoever changes one owns it first, and looks again at what may have
// changed. What is in somebody else's hands is left out.
#pragma once

#include "board/transaction.hpp"
#include "delivery/delivery.hpp"

namespace onceq::delivery {

inline constexpr int selection_count_max = 10000; // jobs of one call, and ids

struct States
{
	bool scheduled;
	bool ready;
	bool running;
};

struct Selection
{
	core::JobId first;
	core::JobId last;
	core::JobId const *ids; // ascending; nullptr: any between first and last
	int id_count;
	core::Wall enqueued_after; // or at that time
	core::Wall enqueued_before;
	int priority;       // -1: any
	text *ordering_key; // nullptr: any, or none
	bool has_payload;
	bool has_headers;
	Datum payload; // jsonb that the job's contains
	Datum headers;
	text *error_like; // pattern for the last error; nullptr: any, or none
	bool reads_rows;  // something of the above is asked of the job's row or error
	int count;        // jobs at most
};

// NULL: every state that is allowed: scheduled, ready and, if may_run, running. Raises 22023.
States states_argument(FunctionCallInfo fcinfo, int number, bool may_run);

// Whether a job that nobody owns is in one of the states.
board::StateFilter availability(States const &states);

// From the arguments ids, first_id, last_id, enqueued_after, enqueued_before, priority, ordering_key, payload,
// headers, error_like and count, which follow each other. Who asks for what rows hold needs SELECT on the queue.
// Raises 22004, 22023, 2202E, 42501, 54000.
Selection selection_argument(FunctionCallInfo fcinfo, int first, catalog::Queue const &queue);
Selection all_jobs(int count);

// Whether the row and the last error are those that are asked for.
bool selects(Selection const &selection, catalog::Queue const &queue, core::JobId id);

// Calls change for the selected jobs by ascending id, until it has changed as many as are asked for; returns how
// many it did. What it allocates is freed after each job.
using ChangeJob = bool (*)(core::JobId id, void *argument);
int64 change_unfinished(catalog::Queue const &queue, States const &states, Selection const &selection, ChangeJob change,
						void *argument);
// Of the ids given only; their states are left to change.
int64 change_listed(catalog::Queue const &queue, Selection const &selection, ChangeJob change, void *argument);

// An int4 argument between 1 and most, or what stands for NULL. Raises 22023.
int ranged_argument(FunctionCallInfo fcinfo, int number, char const *name, int most, int otherwise);

} // namespace onceq::delivery
