// SPDX-License-Identifier: PostgreSQL
// What can be seen of a job: its row, its outcomes, and the board.
#pragma once

#include "delivery/delivery.hpp"
#include "store/end_list.hpp"
#include "store/store.hpp"

namespace onceq::delivery {

// Ends of jobs that were read.
struct Ends
{
	core::SegmentNumber whole_segment; // all of it was read; -1: ends near a job
	store::EndList list;
};

// On a standby there are no boards: jobs are looked up in the tables alone.
inline constexpr std::uint32_t no_board = 0xFFFF'FFFF;

struct Looker
{
	catalog::Queue const &queue;
	board::Handle board; // index no_board: none
	Ends ends;
	TupleDesc desc; // of onceq.job_info
	bool lists;     // many jobs, neighbours mostly
};

// The queue of the first argument, which the user may look at. Raises 22004, 42501, 42704.
catalog::Queue lookers_queue(FunctionCallInfo fcinfo);
board::Handle board_of(catalog::Queue const &queue);

struct Attempt
{
	int attempt;
	char const *outcome;
	core::Wall ended_at; // wall_never: it runs
	char const *worker;
};

// The attempt that runs, or that succeeded; false: neither.
bool current_attempt(Looker &looker, core::JobId id, Attempt &attempt);

// The job as a tuple of onceq.job_info. job: its row, as store::read_jobs gives it.
HeapTuple describe_job(Looker &looker, store::Job const &job, char const **state);

} // namespace onceq::delivery
