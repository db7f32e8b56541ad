// SPDX-License-Identifier: PostgreSQL
// The end of a segment: its last job is enqueued, claimed and ended while the segment is sealed, found
// drained, forgotten by the board, and dropped; and redriven, if it is dead.
#pragma once

#include "explorer.hpp"

namespace onceq::explorer {

enum class SegmentGuard : std::uint32_t
{
	none = 0,
	reserved_ids_are_live = 1 << 0,
	leased_ids_are_live = 1 << 1,
	seized_ids_are_live = 1 << 2,
	only_sealed_segments_are_drained = 1 << 3,
	drained_under_the_lock = 1 << 4,
	redrive_takes_the_lock_first = 1 << 5,
};

struct SegmentOptions
{
	SegmentGuard removed = SegmentGuard::none;
};

Result explore(SegmentOptions const &options);

} // namespace onceq::explorer
