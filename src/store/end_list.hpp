// SPDX-License-Identifier: PostgreSQL
// How jobs ended, to be looked up by id after one reading.
#pragma once

#include "store/store.hpp"

namespace onceq::store {

struct EndList
{
	End *end; // by id, once it is sorted
	int64 count;
	int64 capacity;
	char const *worker; // the last one seen: neighbours mostly have the same
};

// Forgets what was added. What is allocated from here on is of the current context.
void begin_ends(EndList &list);

// A VisitEnd; list: an EndList.
bool add_end(End const &end, void *list);

void sort_ends(EndList &list);

// nullptr: none. Requires: sorted.
End const *find_end(EndList const &list, core::JobId id);

} // namespace onceq::store
