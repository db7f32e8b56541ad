// SPDX-License-Identifier: PostgreSQL
// The audit of a standing board: producer, claimer and auditor at once, and a ready job that a fault
// has made the board forget.
#pragma once

#include "explorer.hpp"

namespace onceq::explorer {

enum class AuditGuard : std::uint32_t
{
	none = 0,
	owned_jobs_are_passed_over = 1 << 0,
	seizes_before_it_reads = 1 << 1,
	restores_on_abort = 1 << 2,
};

struct AuditOptions
{
	AuditGuard removed = AuditGuard::none;
};

Result explore(AuditOptions const &options);

} // namespace onceq::explorer
