// SPDX-License-Identifier: PostgreSQL
// A palloc'd array that grows one by one.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

// Makes room for one more element after so many. Doubled when full, which is at each power of two.
template <typename Element>
void
make_room(Element *&array, int count)
{
	if ((count & (count - 1)) != 0)
		return;
	Size const size = sizeof(Element) * Max(count * 2, 1);
	array = static_cast<Element *>(array != nullptr ? repalloc(array, size) : palloc(size));
}

} // namespace onceq::base
