// SPDX-License-Identifier: PostgreSQL
#include "core/token.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/settings.hpp"

extern "C" {
#include <utils/guc.h>
}

namespace onceq::base {

constinit Settings settings{};

namespace {

struct IntSetting
{
	char const *name;
	char const *description;
	int *value;
	int boot;
	int min;
	int max;
	GucContext context;
	int flags;
};

constexpr int lease_slots_default = 65536;
constexpr int queues_max = 16384;
constexpr int databases_max = 1024;
constexpr int progress_slots_max = 1024 * 1024;
constexpr int minute_ms = 60 * 1000;
constexpr int day_s = 24 * 60 * 60;
constexpr int payload_max_kb_hard = 16 * 1024;

const IntSetting int_settings[] = {
	{"onceq.archive_batches_per_second", "Batches of one archive policy in a second, at most; 0: no limit.",
	 &settings.archive_batches_per_second, 20, 0, 10000, PGC_SIGHUP, 0},
	{"onceq.archive_interval", "Time between two runs of an archive policy.", &settings.archive_interval_s, 60, 1,
	 day_s, PGC_SIGHUP, GUC_UNIT_S},
	{"onceq.audit_interval", "Time between two audits of each queue by the worker; 0: none.",
	 &settings.audit_interval_s, 3600, 0, day_s, PGC_SIGHUP, GUC_UNIT_S},
	{"onceq.lease_journal_after", "Time a lease is held before the worker writes it to the lease journal.",
	 &settings.lease_journal_after_ms, 2000, 0, 60 * minute_ms, PGC_SIGHUP, GUC_UNIT_MS},
	{"onceq.lease_slots", "Number of leases that can be held at once, in all databases.", &settings.lease_slots,
	 lease_slots_default, 16, int{core::lease_slots_max}, PGC_POSTMASTER, 0},
	{"onceq.max_databases", "Number of databases that can have a worker at once.", &settings.max_databases, 64, 1,
	 databases_max, PGC_POSTMASTER, 0},
	{"onceq.max_queues", "Number of queues that can be in use at once, in all databases.", &settings.max_queues, 1024,
	 1, queues_max, PGC_POSTMASTER, 0},
	{"onceq.payload_max", "Largest payload of a job.", &settings.payload_max_kb, 256, 1, payload_max_kb_hard, PGC_SUSET,
	 GUC_UNIT_KB},
	{"onceq.progress_slots", "Number of running jobs whose progress can be known at once, in all databases.",
	 &settings.progress_slots, 16384, 0, progress_slots_max, PGC_POSTMASTER, 0},
	{"onceq.queue_lease_share", "Share of all leases that one queue can have, in percent.", &settings.queue_lease_share,
	 50, 1, 100, PGC_SIGHUP, 0},
	{"onceq.restart_spread",
	 "Time within which jobs that were in hand when the server failed are delivered again; 0: at once.",
	 &settings.restart_spread_ms, 5 * 1000, 0, 10 * minute_ms, PGC_SIGHUP, GUC_UNIT_MS},
	{"onceq.segment_wait", "Longest time an enqueue waits for the worker to prepare room for new jobs.",
	 &settings.segment_wait_ms, 10 * 1000, 0, 10 * minute_ms, PGC_USERSET, GUC_UNIT_MS},
	{"onceq.state_memory", "Shared memory for the states of jobs, in all databases.", &settings.state_memory_kb,
	 64 * 1024, 256, 64 * 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB},
	{"onceq.suspicion_window",
	 "Time after an unclean start during which older jobs are delivered only once their lease is durable.",
	 &settings.suspicion_window_s, 15 * 60, 0, day_s, PGC_SIGHUP, GUC_UNIT_S},
	{"onceq.worker_naptime", "Longest time the worker sleeps between two rounds of its duties.",
	 &settings.worker_naptime_ms, 1000, 10, 10 * minute_ms, PGC_SIGHUP, GUC_UNIT_MS},
};

} // namespace

void
define_settings()
{
	for (IntSetting const &setting : int_settings)
	{
		// Without preloading the library has no shared memory, and the server no place for such settings.
		if (setting.context == PGC_POSTMASTER && !process_shared_preload_libraries_in_progress)
			continue;
		DefineCustomIntVariable(setting.name, setting.description, nullptr, setting.value, setting.boot, setting.min,
								setting.max, setting.context, setting.flags, nullptr, nullptr, nullptr);
	}
	DefineCustomBoolVariable("onceq.worker_passive",
							 "Leaves the worker's chores to others, such as pg_cron, but for what sessions wait for.",
							 nullptr, &settings.worker_passive, false, PGC_SUSET, 0, nullptr, nullptr, nullptr);
#ifdef ONCEQ_TESTING
	define_clock_setting();
	define_fault_setting();
#endif
	MarkGUCPrefixReserved("onceq");
}

} // namespace onceq::base
