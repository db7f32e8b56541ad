// SPDX-License-Identifier: PostgreSQL
#include <cstring>

#include "store/end_list.hpp"

extern "C" {
#include <utils/memutils.h>
}

namespace onceq::store {

namespace {

constexpr int64 capacity_min = 64;

int
compare(void const *left, void const *right)
{
	core::JobId const a = static_cast<End const *>(left)->first_id;
	core::JobId const b = static_cast<End const *>(right)->first_id;
	return (a > b) - (a < b);
}

} // namespace

void
begin_ends(EndList &list)
{
	if (list.end == nullptr)
	{
		list.capacity = capacity_min;
		list.end = static_cast<End *>(palloc(sizeof(End) * list.capacity));
	}
	list.count = 0;
	list.worker = nullptr;
}

bool
add_end(End const &end, void *argument)
{
	EndList &list = *static_cast<EndList *>(argument);
	if (list.count == list.capacity)
	{
		list.capacity *= 2;
		list.end = static_cast<End *>(repalloc_huge(list.end, sizeof(End) * list.capacity));
	}
	if (end.worker != nullptr && (list.worker == nullptr || strcmp(list.worker, end.worker) != 0))
		list.worker = pstrdup(end.worker);
	list.end[list.count] = end;
	list.end[list.count].worker = end.worker != nullptr ? list.worker : nullptr;
	list.count++;
	return true;
}

void
sort_ends(EndList &list)
{
	qsort(list.end, list.count, sizeof(End), compare);
}

End const *
find_end(EndList const &list, core::JobId id)
{
	int64 low = 0;
	int64 high = list.count;
	while (low < high)
	{
		int64 const middle = low + (high - low) / 2;
		if (list.end[middle].last_id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list.count && list.end[low].first_id <= id ? &list.end[low] : nullptr;
}

} // namespace onceq::store
