// SPDX-License-Identifier: PostgreSQL
// When ids and segments are made ready, sealed and dropped.
#pragma once

#include "core/state_map.hpp"
#include "core/time.hpp"

namespace onceq::core {

// ---- the durable id ceiling
//
// After every start numbering goes on at the ceiling, so what lies between is never used: a small
// step wastes few ids, a large one spares writes. The step follows the queue's pace.

inline constexpr JobId ceiling_step_min = 4096;
inline constexpr JobId ceiling_step_max = ids_per_segment;

constexpr bool
ceiling_is_low(JobId next_id, JobId ceiling, JobId step) noexcept
{
	return ceiling - next_id < step / 2;
}

// since_last: time since the ceiling was raised before.
constexpr JobId
next_ceiling_step(JobId step, Microseconds since_last) noexcept
{
	if (since_last < 1 * microseconds_per_second)
		return step * 2 < ceiling_step_max ? step * 2 : ceiling_step_max;
	if (since_last > 60 * microseconds_per_second)
		return step / 2 > ceiling_step_min ? step / 2 : ceiling_step_min;
	return step;
}

// ---- segments

// Segments below the result should have their tables: the open one, and two more once a quarter of
// it is used.
constexpr SegmentNumber
wanted_prepared_end(JobId next_id) noexcept
{
	SegmentNumber const open = segment_of(next_id);
	bool const quarter_used = next_id - first_id_of(open) >= ids_per_segment / 4;
	return open + 1 + (quarter_used ? 2 : 0);
}

// The open segment takes no more jobs once it is old and holds finished jobs; an idle queue's
// segment stays, because a segment costs tables.
constexpr bool
should_seal(Microseconds age, Microseconds segment_age, bool holds_finished) noexcept
{
	return holds_finished && age >= segment_age;
}

// since_drained: time since the last job of the segment ended.
constexpr bool
should_drop(Microseconds since_drained, Microseconds retention) noexcept
{
	return since_drained >= retention;
}

} // namespace onceq::core
