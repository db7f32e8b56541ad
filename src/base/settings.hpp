// SPDX-License-Identifier: PostgreSQL
// The settings onceq.*, each defined in one place (settings.cpp), read anywhere.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::base {

struct Settings
{
	int archive_batches_per_second; // 0: as many as it can
	int archive_interval_s;
	int audit_interval_s; // 0: never
	int lease_slots;
	int state_memory_kb;
	int max_queues;
	int max_databases;
	int lease_journal_after_ms;
	int restart_spread_ms; // 0: none
	int segment_wait_ms;
	int suspicion_window_s;
	int worker_naptime_ms;
	int payload_max_kb;
	int queue_lease_share; // percent
	bool worker_passive;
	int progress_slots;
};

extern Settings settings;

constexpr core::Microseconds
from_ms(int milliseconds)
{
	return core::Microseconds{milliseconds} * 1000;
}

// At _PG_init, in the postmaster or (not preloaded) in a backend.
void define_settings();

} // namespace onceq::base
