// SPDX-License-Identifier: PostgreSQL
#include "archive/archive.hpp"

#include "archive/batch.hpp"
#include "archive/pace.hpp"
#include "archive/partitions.hpp"
#include "archive/runs.hpp"
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/owner.hpp"
#include "base/scope.hpp"
#include "catalog/catalog.hpp"

extern "C" {
#include <catalog/pg_class.h>
#include <utils/lsyscache.h>
#include <utils/memutils.h>
#include <utils/syscache.h>
}

namespace onceq::archive {

namespace {

// With no policy at all somebody has to set one first.
constexpr core::Microseconds idle = 10 * core::microseconds_per_second;

// One run, across its transactions. Lives in `context`.
struct Conduct
{
	Means const &means;
	Oid oid;
	bool any_time;
	int place;
	MemoryContext context;
	bool found;
	Policy policy;
	Source source;
	Datum cutoff;
	bool whole_partitions;
	PartitionMove move;
	List *leaves;
	char *name; // qualified
	char *sql;  // detaches the partition concurrently
	Walk walk;
	Batch batch;
	core::Monotonic begun;
	core::Microseconds wait; // until the window opens
	bool superseded;         // somebody has changed or dropped the policy
	Report report;
	Outcome outcome;
};

// ---- steps, each in a transaction

void
prepare(void *argument)
{
	Conduct &run = *static_cast<Conduct *>(argument);
	run.found = find_policy(run.oid, run.policy);
	if (!run.found)
		return;
	run.wait = run.any_time ? 0 : until_open(run.policy);
	run.report.vacuum_due = run.policy.vacuum_due;
	run.source = inspect_source(run.oid, NameStr(run.policy.age_column));
	base::AsRole as(role_of(run.policy, run.source));
	archive_of(run.policy, run.source);
	as.finish();
	run.cutoff = cutoff_of(run.policy, run.source);
	run.whole_partitions = moves_partitions(run.policy, run.source);
	List *const leaves = run.whole_partitions ? leaves_below(default_partition_of(run.source)) : leaves_below(run.oid);
	base::MemoryContextScope const scope(run.context);
	run.leaves = list_copy(leaves);
	run.name = pstrdup(qualified_name(run.oid));
}

// Whether the step may go on: the policy is as it was, and its window open.
bool
has_orders(Conduct &run)
{
	Policy now;
	bool const found = find_policy(run.oid, now);
	run.superseded = !found || !same_orders(run.policy, now);
	if (!run.superseded)
		run.wait = run.any_time ? 0 : until_open(now);
	return !run.superseded && run.wait == 0;
}

void
find_move(void *argument)
{
	Conduct &run = *static_cast<Conduct *>(argument);
	run.move = {Move::none, InvalidOid, false, nullptr};
	if (!has_orders(run))
		return;
	PartitionMove const move = next_move(run.policy, run.source, run.cutoff);
	if (move.move == Move::none)
		return;
	base::MemoryContextScope const scope(run.context);
	run.move = move;
	run.move.bounds = pstrdup(move.bounds);
	run.sql = detach_command(run.source, move, true);
}

void
detach_partition(void *argument)
{
	Conduct const &run = *static_cast<Conduct *>(argument);
	detach(run.policy, run.source, run.move);
}

void
hand_partition_over(void *argument)
{
	Conduct const &run = *static_cast<Conduct *>(argument);
	hand_over(run.policy, run.source, run.move);
}

void
enter_leaf(void *argument)
{
	Conduct &run = *static_cast<Conduct *>(argument);
	run.walk = begin_walk(run.source, run.policy, run.walk.leaf, run.context);
}

void
take_batch(void *argument)
{
	Conduct &run = *static_cast<Conduct *>(argument);
	run.batch = {};
	if (has_orders(run))
		run.batch = move_batch(run.policy, run.source, run.cutoff, run.walk);
}

void
record(void *argument)
{
	Conduct const &run = *static_cast<Conduct *>(argument);
	FAULT_POINT("archive: before record");
	record_success(run.policy, run.report);
}

void
record_lapse(void *argument)
{
	Conduct const &run = *static_cast<Conduct *>(argument);
	record_failure(run.policy, run.report, run.outcome.failure);
}

// ---- the run

bool
has_to_stop(Conduct const &run)
{
	return run.superseded || run.wait > 0 || run.means.is_over() ||
		   base::now_monotonic().us - run.begun.us > run.means.patience;
}

bool
do_move(Conduct &run, base::Failure &failure)
{
	if (run.move.move == Move::hand_over)
		return run.means.carry_out(hand_partition_over, &run, failure);
	if (run.move.move == Move::detach && run.move.may_wait && run.means.command != nullptr)
		return run.means.command(run.sql, run.source.owner, failure);
	return run.means.carry_out(detach_partition, &run, failure);
}

bool
move_partitions(Conduct &run, base::Failure &failure)
{
	show_phase(run.place, Phase::moving_partitions);
	while (!has_to_stop(run))
	{
		core::Monotonic const began = base::now_monotonic();
		if (!run.means.carry_out(find_move, &run, failure))
			return false;
		if (run.move.move == Move::none)
			break;
		if (!do_move(run, failure))
			return false;
		show_batch(run.place, 0);
		keep_to_speed(began);
	}
	run.report.unfinished = has_to_stop(run);
	return true;
}

bool
move_rows_of(Conduct &run, Oid leaf, base::Failure &failure)
{
	run.walk.leaf = leaf;
	if (!run.means.carry_out(enter_leaf, &run, failure))
		return false;
	do
	{
		if (has_to_stop(run))
		{
			run.report.unfinished = true;
			return true;
		}
		core::Monotonic const began = base::now_monotonic();
		if (!run.means.carry_out(take_batch, &run, failure))
			return false;
		run.report.rows += run.batch.moved;
		run.report.vacuum_due |= run.batch.moved > 0;
		show_batch(run.place, run.batch.moved);
		keep_to_speed(began);
	} while (run.batch.seen == run.policy.batch);
	run.report.unfinished = run.superseded || run.wait > 0;
	return true;
}

bool
vacuum(Conduct &run, base::Failure &failure)
{
	if (!run.policy.vacuum_after || !run.report.vacuum_due || run.report.unfinished || run.means.command == nullptr)
		return true;
	show_phase(run.place, Phase::vacuuming);
	char *const sql = psprintf("VACUUM (ANALYZE, SKIP_LOCKED) %s", run.name);
	bool const done = run.means.command(sql, run.source.owner, failure);
	run.report.vacuum_due = !done;
	return done;
}

bool
conduct(Conduct &run, base::Failure &failure)
{
	if (!run.means.carry_out(prepare, &run, failure))
		return false;
	if (!run.found || run.wait > 0)
		return true;
	if (run.whole_partitions && !move_partitions(run, failure))
		return false;
	show_phase(run.place, Phase::moving_rows);
	ListCell *cell;
	foreach (cell, run.leaves)
		if (!run.report.unfinished && !move_rows_of(run, lfirst_oid(cell), failure))
			return false;
	return vacuum(run, failure);
}

void
conduct_and_record(void *argument)
{
	Conduct &run = *static_cast<Conduct *>(argument);
	base::MemoryContextScope const scope(run.context);
	base::Failure &failure = run.outcome.failure;
	bool succeeded = conduct(run, failure);
	run.report.duration = base::now_monotonic().us - run.begun.us;
	run.outcome.rows = run.report.rows;
	run.outcome.ending = Ending::gone;
	if (succeeded && !run.found)
		return;
	succeeded = succeeded && run.means.carry_out(record, &run, failure);
	run.outcome.ending = succeeded ? Ending::done : Ending::failed;
	base::Failure ignored;
	if (!succeeded)
		run.means.carry_out(record_lapse, &run, ignored);
}

int
compare_next_runs(void const *left, void const *right)
{
	core::Wall const a = static_cast<Policy const *>(left)->next_run;
	core::Wall const b = static_cast<Policy const *>(right)->next_run;
	return (a > b) - (a < b);
}

bool
exists(Oid table)
{
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(table));
}

} // namespace

Outcome
run_policy(Oid source, Means const &means, bool any_time)
{
	Conduct run{.means = means, .oid = source, .any_time = any_time};
	run.place = enter_run(source, run.outcome.other);
	if (run.place < 0)
		return {Ending::busy, run.outcome.other, 0, {}};
	run.context = AllocSetContextCreate(TopMemoryContext, "onceq archive run", ALLOCSET_DEFAULT_SIZES);
	run.begun = base::now_monotonic();
	run.report.started_at = base::now_wall();
	conduct_run(run.place, run.context, conduct_and_record, &run);
	return run.outcome;
}

core::Microseconds
until_work()
{
	core::Microseconds least = idle;
	if (!catalog::is_adopted())
		return idle;
	Policies const policies = all_policies();
	for (int i = 0; i < policies.count; i++)
		least = Min(least, until_due(policies.policy[i]));
	return least;
}

List *
due_sources()
{
	List *due = NIL;
	if (!catalog::is_adopted())
		return NIL;
	Policies const policies = all_policies();
	qsort(policies.policy, policies.count, sizeof(Policy), compare_next_runs);
	for (int i = 0; i < policies.count; i++)
	{
		Policy const &policy = policies.policy[i];
		if (!exists(policy.source))
			delete_policy(policy.source);
		else if (until_due(policy) == 0)
			due = lappend_oid(due, policy.source);
	}
	return due;
}

} // namespace onceq::archive
