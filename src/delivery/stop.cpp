// SPDX-License-Identifier: PostgreSQL
#include "delivery/stop.hpp"

#include "base/errcode.hpp"

extern "C" {
#include <lib/stringinfo.h>
}

namespace onceq::delivery {

namespace {

struct Notice
{
	char const *name;
	int sqlstate;
	char const *message;
	char const *hint;
};

constexpr Notice notices[core::stop_reason_count] = {
	{nullptr, 0, nullptr, nullptr},
	{"soft_time_limit", ERRCODE_ONCEQ_SOFT_TIME_LIMIT, "the soft time limit has passed",
	 "Release them, or end them soon."},
	{"cancelled", ERRCODE_ONCEQ_CANCELLED, "jobs of the lease were cancelled",
	 "Undo what was done for them, and end the others by their ids."},
};

// "17, 20-24"
char *
list_ids(core::LeaseRuns const &runs, core::JobSet const &jobs)
{
	StringInfoData list;
	initStringInfo(&list);
	runs.for_each(jobs, [&](core::LeasedIds const &ids) {
		appendStringInfo(&list, "%s" INT64_FORMAT, list.len > 0 ? ", " : "", ids.first);
		if (ids.last > ids.first)
			appendStringInfo(&list, "-" INT64_FORMAT, ids.last);
	});
	return list.data;
}

} // namespace

Stops
find_stops(core::LeaseSlot const &lease, core::JobSet const &jobs, core::Monotonic now) noexcept
{
	Stops stops{};
	for (int job = jobs.next(0, lease.job_count, true); job < lease.job_count;
		 job = jobs.next(job + 1, lease.job_count, true))
		stops.jobs[static_cast<int>(core::reason_to_stop(lease, job, now))].add(job);
	return stops;
}

void
send_notices(Stops const &stops, core::LeaseRuns const &runs)
{
	for (int reason = 1; reason < core::stop_reason_count; reason++)
		if (!stops.jobs[reason].empty())
			ereport(NOTICE, (errcode(notices[reason].sqlstate), errmsg("%s", notices[reason].message),
							 errdetail("Jobs of the lease that should stop: %s.", list_ids(runs, stops.jobs[reason])),
							 errhint("%s", notices[reason].hint)));
}

char const *
stop_reason_name(core::StopReason reason)
{
	return notices[static_cast<int>(reason)].name;
}

} // namespace onceq::delivery
