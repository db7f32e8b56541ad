// SPDX-License-Identifier: PostgreSQL
// What became of each chore of each database's worker, for onceq.worker_chores.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::worker {

inline constexpr int error_text_max = 160;

struct ChoreReport
{
	core::Wall last_run; // wall_always: never
	core::Wall next_run; // at the latest
	core::Microseconds duration;
	int64 runs;
	int32 failures;                  // in a row, up to the last run
	char last_error[error_text_max]; // empty: none since the worker started
};

// By the worker that has the slot.
void clear_reports(int slot);
void report_success(int slot, int chore, core::Microseconds duration, core::Microseconds next);
void report_failure(int slot, int chore, core::Microseconds duration, core::Microseconds next, char const *error);

ChoreReport read_report(int slot, int chore);

} // namespace onceq::worker
