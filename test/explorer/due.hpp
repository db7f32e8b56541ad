// SPDX-License-Identifier: PostgreSQL
// One job that is due later, and again after a failed attempt; two sessions that promote, a purge of
// waiting jobs, a clock that may be set back, and a crash.
#pragma once

#include "explorer.hpp"

namespace onceq::explorer {

enum class DueGuard : std::uint32_t {
	none = 0,
	watermark_rises_before_the_read = 1 << 0,
	callback_compares_with_the_watermark = 1 << 1,
	compares_in_the_same_hold = 1 << 2,
	promotes_only_from_waiting = 1 << 3,
	claim_checks_the_due_time = 1 << 4,
	settle_compares_again = 1 << 5,
	commit_notes_the_due_time = 1 << 6,
	earliest_is_reset_before_the_read = 1 << 7,
	restored_are_looked_for_again = 1 << 8,
	only_the_last_look_ends_it = 1 << 9,
	failed_looks_are_repeated = 1 << 10,
};

struct DueOptions
{
	bool clock_back = true;
	bool purge = true;
	int sessions = 2; // that promote
	int crashes = 1;
	DueGuard removed = DueGuard::none;
};

Result explore(DueOptions const &options);

} // namespace onceq::explorer
