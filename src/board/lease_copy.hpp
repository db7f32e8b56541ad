// SPDX-License-Identifier: PostgreSQL
// A lease as it was under B, for whoever has to read tables about it outside.
#pragma once

#include "board/board.hpp"

namespace onceq::board {

struct LeaseCopy
{
	Handle board;
	core::Token token;
	core::LeaseHolder holder;
	core::JobSet jobs;  // those of it that concern the reader
	core::JobSet keyed; // those of it with an ordering key
	core::JobSet cancelled;
	core::JobId base_id;
	int job_count;
	int run_count;
	core::LeaseRun run[core::lease_runs_max];

	core::LeaseRuns
	runs() const
	{
		return {base_id, job_count, run_count, run};
	}
};

// Requires: B of the lease's board, whose handle is given.
inline void
copy_lease(Handle const &board, core::LeaseSlot const &lease, core::JobSet const &jobs, LeaseCopy &copy) noexcept
{
	core::LeaseRuns const runs = core::runs_of(pool(), lease);
	copy.board = board;
	copy.token = lease.token.load(std::memory_order_relaxed);
	copy.holder = lease.holder;
	copy.jobs = jobs;
	copy.keyed = core::keyed_jobs(pool(), lease);
	copy.cancelled = lease.cancelled;
	copy.base_id = runs.base_id;
	copy.job_count = runs.job_count;
	copy.run_count = runs.run_count;
	for (int i = 0; i < runs.run_count; i++)
		copy.run[i] = runs.run[i];
}

// The lease that holds this job, and the job's number in it; nullptr: none does. Requires: B, also shared.
core::LeaseSlot *find_lease_of(std::uint32_t index, core::JobId id, int &job) noexcept;

} // namespace onceq::board
