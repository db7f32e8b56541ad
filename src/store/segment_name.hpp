// SPDX-License-Identifier: PostgreSQL
// How the tables of a segment are called.
#pragma once

#include "store/store.hpp"

namespace onceq::store {

// What follows the letter of the table: the numbers of the queue and of the segment; 1_stay: of stragglers;
// 1_0003_old: remains of segment 3.
struct SegmentName
{
	char text[40];
};

inline SegmentName
segment_name(int32 queue, core::SegmentNumber number)
{
	SegmentName name;
	if (number == stay)
		snprintf(name.text, sizeof(name.text), "%d_stay", queue);
	else if (number < stay)
		snprintf(name.text, sizeof(name.text), "%d_%04lld_old", queue, static_cast<long long>(remains_of(number)));
	else
		snprintf(name.text, sizeof(name.text), "%d_%04lld", queue, static_cast<long long>(number));
	return name;
}

} // namespace onceq::store
