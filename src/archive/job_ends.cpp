// SPDX-License-Identifier: PostgreSQL
#include <cstring>

#include "archive/job_ends.hpp"

extern "C" {
#include <utils/memutils.h>
}

namespace onceq::archive {

namespace {

constexpr int64 capacity_min = 1024;

bool
keep_end(store::End const &end, void *argument)
{
	JobEnds &ends = *static_cast<JobEnds *>(argument);
	if (ends.count == ends.capacity)
	{
		ends.capacity *= 2;
		ends.end = static_cast<store::End *>(repalloc_huge(ends.end, sizeof(store::End) * ends.capacity));
	}
	if (end.worker != nullptr && (ends.worker == nullptr || strcmp(ends.worker, end.worker) != 0))
		ends.worker = pstrdup(end.worker);
	ends.end[ends.count] = end;
	ends.end[ends.count].worker = end.worker != nullptr ? ends.worker : nullptr;
	ends.count++;
	return true;
}

int
compare(void const *left, void const *right)
{
	core::JobId const a = static_cast<store::End const *>(left)->first_id;
	core::JobId const b = static_cast<store::End const *>(right)->first_id;
	return (a > b) - (a < b);
}

} // namespace

JobEnds
read_job_ends(int32 queue, core::SegmentNumber segment)
{
	JobEnds ends{nullptr, 0, capacity_min, nullptr};
	ends.end = static_cast<store::End *>(palloc(sizeof(store::End) * capacity_min));
	store::read_ends(queue, segment, keep_end, &ends);
	qsort(ends.end, ends.count, sizeof(store::End), compare);
	return ends;
}

store::End const *
find_job_end(JobEnds const &ends, core::JobId id)
{
	int64 low = 0;
	int64 high = ends.count;
	while (low < high)
	{
		int64 const middle = low + (high - low) / 2;
		if (ends.end[middle].last_id < id)
			low = middle + 1;
		else
			high = middle;
	}
	bool const found = low < ends.count && ends.end[low].first_id <= id;
	return found ? &ends.end[low] : nullptr;
}

} // namespace onceq::archive
