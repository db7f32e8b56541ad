// SPDX-License-Identifier: PostgreSQL
// The lease journal: leases are written down while they are held, released and ended, and restored at
// a restart, clean or not.
#pragma once

#include "explorer.hpp"

namespace onceq::explorer {

enum class JournalGuard : std::uint32_t
{
	none = 0,
	attempts_are_compared = 1 << 0,
	finished_jobs_are_dropped = 1 << 1,
	release_waits_for_the_journal = 1 << 2,
	marked_before_it_is_written = 1 << 3,
	aborted_claims_wait_too = 1 << 4,
};

struct JournalOptions
{
	int tokens = 4; // leases ever granted
	int restarts = 2;
	JournalGuard removed = JournalGuard::none;
};

Result explore(JournalOptions const &options);

} // namespace onceq::explorer
