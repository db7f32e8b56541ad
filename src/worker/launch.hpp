// SPDX-License-Identifier: PostgreSQL
// What the launcher tells a database's worker.
#pragma once

#include <type_traits>

#include "base/postgres.hpp"

extern "C" {
#include <postmaster/bgworker.h>
}

namespace onceq::worker {

// Crosses between processes in BackgroundWorker.bgw_extra.
struct LaunchOrder
{
	int32 slot;
	uint32 generation;
	Oid database;
	Oid role;
};

static_assert(std::is_trivially_copyable_v<LaunchOrder> && sizeof(LaunchOrder) <= BGW_EXTRALEN);

// Fills in what both kinds of our processes have in common.
void describe_process(BackgroundWorker &worker, char const *type, char const *function);

} // namespace onceq::worker
