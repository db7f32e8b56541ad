// SPDX-License-Identifier: PostgreSQL
#include "core/backoff.hpp"

#include "archive/policy.hpp"
#include "base/clock.hpp"
#include "base/make_room.hpp"
#include "base/scope.hpp"
#include "base/settings.hpp"
#include "catalog/statement.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_type.h>
#include <common/pg_prng.h>
#include <utils/date.h>
#include <utils/fmgroids.h>
#include <utils/fmgrprotos.h>
}

namespace onceq::archive {

namespace {

enum PolicyColumn : AttrNumber
{
	policy_source = 1,
	policy_owner,
	policy_age_column,
	policy_older_than,
	policy_archive_schema,
	policy_archive_table,
	policy_batch,
	policy_not_before,
	policy_not_after,
	policy_vacuum_after,
	policy_vacuum_due,
	policy_last_run,
	policy_last_duration,
	policy_last_rows,
	policy_total_rows,
	policy_next_run,
	policy_failures,
	policy_last_error,
	policy_column_count = policy_last_error,
};

// After an error: a lock that somebody holds is free soon, what somebody has to mend takes longer.
constexpr core::Backoff policy_backoff{
	.base = 10 * core::microseconds_per_second,
	.factor = 2,
	.max = 3600 * core::microseconds_per_second,
	.jitter = 0.1,
};

Policy
policy_in(HeapTuple row, TupleDesc desc)
{
	Datum values[policy_column_count];
	bool nulls[policy_column_count];
	catalog::deform(row, desc, policy_column_count, values, nulls);
	auto const value = [&](PolicyColumn column) { return values[column - 1]; };
	auto const is_null = [&](PolicyColumn column) { return nulls[column - 1]; };

	Policy policy{};
	policy.source = DatumGetObjectId(value(policy_source));
	policy.owner = *DatumGetName(value(policy_owner));
	policy.age_column = *DatumGetName(value(policy_age_column));
	policy.older_than = *DatumGetIntervalP(value(policy_older_than));
	if (!is_null(policy_archive_table))
	{
		policy.archive_schema = *DatumGetName(value(policy_archive_schema));
		policy.archive_table = *DatumGetName(value(policy_archive_table));
	}
	policy.batch = DatumGetInt32(value(policy_batch));
	if (!is_null(policy_not_before))
		policy.window.opens = DatumGetTimeADT(value(policy_not_before));
	if (!is_null(policy_not_after))
		policy.window.closes = DatumGetTimeADT(value(policy_not_after));
	policy.vacuum_after = DatumGetBool(value(policy_vacuum_after));
	policy.vacuum_due = DatumGetBool(value(policy_vacuum_due));
	policy.next_run =
		is_null(policy_next_run) ? core::wall_always : core::Wall{DatumGetTimestampTz(value(policy_next_run))};
	policy.failures = DatumGetInt32(value(policy_failures));
	return policy;
}

bool
add_policy(HeapTuple row, TupleDesc desc, void *argument)
{
	auto &policies = *static_cast<Policies *>(argument);
	base::make_room(policies.policy, policies.count);
	policies.policy[policies.count++] = policy_in(row, desc);
	return true;
}

struct Found
{
	Policy &policy;
	bool found;
};

bool
take_policy(HeapTuple row, TupleDesc desc, void *argument)
{
	auto &result = *static_cast<Found *>(argument);
	result.policy = policy_in(row, desc);
	result.found = true;
	return false;
}

catalog::Parameter
interval_parameter(core::Microseconds span)
{
	auto *const interval = static_cast<Interval *>(palloc0(sizeof(Interval)));
	interval->time = span;
	return {INTERVALOID, IntervalPGetDatum(interval), false};
}

catalog::Parameter
source_parameter(Oid source)
{
	return {REGCLASSOID, ObjectIdGetDatum(source), false};
}

} // namespace

Policies
all_policies()
{
	base::RelationScope const table(catalog::catalog_oid("archive_policy"), AccessShareLock);
	Policies policies{};
	catalog::scan_rows(table, nullptr, 0, 0, 0, add_policy, &policies);
	return policies;
}

bool
find_policy(Oid source, Policy &policy)
{
	base::RelationScope const table(catalog::catalog_oid("archive_policy"), AccessShareLock);
	Found result{policy, false};
	catalog::scan_rows(table, "archive_policy_pkey", policy_source, F_OIDEQ, ObjectIdGetDatum(source), take_policy,
					   &result);
	return result.found;
}

bool
same_orders(Policy const &left, Policy const &right)
{
	static_assert(sizeof(Interval) == sizeof(TimeOffset) + 2 * sizeof(int32)); // no padding
	return strcmp(NameStr(left.owner), NameStr(right.owner)) == 0 &&
		   strcmp(NameStr(left.age_column), NameStr(right.age_column)) == 0 &&
		   memcmp(&left.older_than, &right.older_than, sizeof(Interval)) == 0 &&
		   strcmp(NameStr(left.archive_schema), NameStr(right.archive_schema)) == 0 &&
		   strcmp(NameStr(left.archive_table), NameStr(right.archive_table)) == 0 && left.batch == right.batch;
}

core::Microseconds
until_open(Policy const &policy)
{
	Datum const now = TimestampTzGetDatum(base::now_wall().us);
	return core::until_open(policy.window, DatumGetTimeADT(DirectFunctionCall1(timestamptz_time, now)));
}

core::Microseconds
until_due(Policy const &policy)
{
	core::Wall const now = base::now_wall();
	core::Microseconds const wait = policy.next_run <= now ? 0 : policy.next_run.us - now.us;
	return Max(wait, until_open(policy));
}

void
record_success(Policy const &policy, Report const &report)
{
	core::Wall const next = report.unfinished
								? base::now_wall()
								: base::now_wall() + core::microseconds_per_second * base::settings.archive_interval_s;
	catalog::execute("UPDATE onceq.archive_policy SET last_run = $2, last_duration = $3, last_rows = $4,"
					 " total_rows = total_rows + $4, vacuum_due = $5, next_run = $6, failures = 0,"
					 " last_error = NULL WHERE source OPERATOR(pg_catalog.=) $1",
					 {source_parameter(policy.source), catalog::parameter(report.started_at),
					  interval_parameter(report.duration), catalog::parameter(report.rows),
					  catalog::parameter(report.vacuum_due), catalog::parameter(next)});
}

void
record_failure(Policy const &policy, Report const &report, base::Failure const &failure)
{
	int const failures = policy.failures + 1;
	core::Wall const next =
		base::now_wall() + core::backoff_delay(policy_backoff, failures, pg_prng_double(&pg_global_prng_state));
	catalog::execute("UPDATE onceq.archive_policy SET last_run = $2, last_duration = $3, last_rows = $4,"
					 " total_rows = total_rows + $4, vacuum_due = $5, next_run = $6, failures = $7,"
					 " last_error = $8 WHERE source OPERATOR(pg_catalog.=) $1",
					 {source_parameter(policy.source),
					  catalog::parameter(report.started_at),
					  interval_parameter(report.duration),
					  catalog::parameter(report.rows),
					  catalog::parameter(report.vacuum_due),
					  catalog::parameter(next),
					  catalog::parameter(int32{failures}),
					  {TEXTOID, CStringGetTextDatum(failure.text), false}});
}

bool
delete_policy(Oid source)
{
	return catalog::execute("DELETE FROM onceq.archive_policy WHERE source OPERATOR(pg_catalog.=) $1",
							{source_parameter(source)}) > 0;
}

} // namespace onceq::archive
