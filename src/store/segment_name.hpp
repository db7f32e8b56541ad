// SPDX-License-Identifier: PostgreSQL
// How the tables of a segment are called.
#pragma once

#include "core/state_map.hpp"

#include "base/postgres.hpp"

namespace onceq::store {

// What follows the letter of the table: the numbers of the queue and of the segment; 1_stay: of stragglers.
struct SegmentName
{
	char text[40];
};

inline SegmentName
segment_name(int32 queue, core::SegmentNumber number)
{
	SegmentName name;
	if (number < 0)
		snprintf(name.text, sizeof(name.text), "%d_stay", queue);
	else
		snprintf(name.text, sizeof(name.text), "%d_%04lld", queue, static_cast<long long>(number));
	return name;
}

} // namespace onceq::store
