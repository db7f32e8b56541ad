// SPDX-License-Identifier: PostgreSQL
// Copying finished jobs, with how they ended, into the archive of their queue.
#pragma once

#include "store/end_list.hpp"
#include "catalog/catalog.hpp"

namespace onceq::archive {

// The table a queue's option archive_to names.
struct JobTable
{
	NameData schema;
	NameData table;
};

JobTable job_table_of(int32 queue);

struct Copied
{
	int64 jobs;
	core::JobId next; // where to go on
	bool all;         // the segment has no more
};

struct JobRange
{
	core::JobId first;
	core::JobId last;
};

// Copies up to this many jobs of these ids, in the tables of this number, as the role, whose rights are all it has: to
// look at the jobs, to make the table if it is missing, and to insert. Of remains those that have not ended are passed
// over: they have moved. Raises 42501 else, 09000 if a trigger of the table drops rows.
Copied copy_jobs(catalog::Queue const &queue, Oid role, JobTable const &table, store::EndList const &ends,
				 core::SegmentNumber tables, JobRange const *range, int ranges, int64 at_most);

} // namespace onceq::archive
