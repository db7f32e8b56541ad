// SPDX-License-Identifier: PostgreSQL
// How the jobs of a segment ended, to be looked up by id.
#pragma once

#include "store/store.hpp"

namespace onceq::archive {

struct JobEnds
{
	store::End *end; // by id
	int64 count;
	int64 capacity;
	char const *worker; // the last one seen: neighbours mostly have the same
};

// Palloc'd in the current context.
JobEnds read_job_ends(int32 queue, core::SegmentNumber segment);

// nullptr: none.
store::End const *find_job_end(JobEnds const &ends, core::JobId id);

} // namespace onceq::archive
