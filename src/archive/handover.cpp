// SPDX-License-Identifier: PostgreSQL
#include "archive/handover.hpp"

#include "core/backoff.hpp"
#include "core/segment_plan.hpp"

#include "archive/job_copy.hpp"
#include "archive/pace.hpp"
#include "archive/runs.hpp"
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/scope.hpp"
#include "board/relocate.hpp"
#include "catalog/statement.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_type.h>
#include <common/pg_prng.h>
#include <utils/acl.h>
#include <utils/fmgroids.h>
#include <utils/memutils.h>
}

namespace onceq::archive {

namespace {

constexpr core::Microseconds idle = 10 * core::microseconds_per_second;
constexpr int64 batch_size = 1000;

// Until then the segments stay, and take room.
constexpr core::Backoff backoff{
	.base = 10 * core::microseconds_per_second,
	.factor = 2,
	.max = 600 * core::microseconds_per_second,
	.jitter = 0.1,
};

enum ArchiveColumn : AttrNumber
{
	archive_queue_id = 1,
	archive_owner,
	archive_last_run,
	archive_last_jobs,
	archive_total_jobs,
	archive_next_run,
	archive_failures,
	archive_last_error,
	archive_column_count = archive_last_error,
};

struct JobArchive
{
	int32 queue;
	NameData owner;
	core::Wall next_run; // wall_always: at once
	int failures;
};

struct Handover
{
	Means const &means;
	int32 id;
	int place;
	bool found;
	JobArchive archive;
	catalog::Queue queue;
	JobTable table;
	store::Segment segment; // that is copied, if found_segment
	bool found_segment;
	MemoryContext segment_context;
	store::EndList ends;
	Copied copied;
	int64 jobs;
	core::Wall started_at;
	core::Monotonic begun;
	Outcome outcome;
};

// ---- the catalog

JobArchive
archive_in(HeapTuple row, TupleDesc desc)
{
	Datum values[archive_column_count];
	bool nulls[archive_column_count];
	catalog::deform(row, desc, archive_column_count, values, nulls);
	return {DatumGetInt32(values[archive_queue_id - 1]), *DatumGetName(values[archive_owner - 1]),
			nulls[archive_next_run - 1] ? core::wall_always
										: core::Wall{DatumGetTimestampTz(values[archive_next_run - 1])},
			DatumGetInt32(values[archive_failures - 1])};
}

bool
take_archive(HeapTuple row, TupleDesc desc, void *argument)
{
	Handover &run = *static_cast<Handover *>(argument);
	run.archive = archive_in(row, desc);
	run.found = true;
	return false;
}

// The queue lives, and has an archive.
bool
find_queue(int32 id, catalog::Queue &queue)
{
	catalog::Queue const *const found = catalog::find_queue(id);
	if (found == nullptr || found->dropped || !found->has_archive)
		return false;
	queue = *found;
	return true;
}

bool
is_due(catalog::Queue const &queue, store::Segment const &segment)
{
	return segment.drained_at != core::wall_never && segment.archived_at == core::wall_never &&
		   (segment.number < 0 || core::should_drop(base::now_wall().us - segment.drained_at.us, queue.retention));
}

bool
find_due_of(catalog::Queue const &queue, store::Segments const &segments, store::Segment &segment)
{
	for (int i = 0; i < segments.count; i++)
		if (is_due(queue, segments.segment[i]))
		{
			segment = segments.segment[i];
			return true;
		}
	return false;
}

// Of remains, whose retention is over, or a segment.
bool
find_due_segment(catalog::Queue const &queue, store::Segment &segment)
{
	return find_due_of(queue, store::all_remains(queue.id), segment) ||
		   find_due_of(queue, store::all_segments(queue.id), segment);
}

bool
add_due(HeapTuple row, TupleDesc desc, void *argument)
{
	JobArchive const archive = archive_in(row, desc);
	if (archive.next_run <= base::now_wall())
	{
		List *&due = *static_cast<List **>(argument);
		due = lappend_int(due, archive.queue);
	}
	return true;
}

// ---- steps

void
begin_segment(void *argument)
{
	Handover &run = *static_cast<Handover *>(argument);
	MemoryContextReset(run.segment_context);
	run.found_segment = find_due_segment(run.queue, run.segment);
	if (!run.found_segment)
		return;
	run.copied.next = run.segment.archived_below;
	base::MemoryContextScope const scope(run.segment_context);
	run.ends = {};
	store::begin_ends(run.ends);
	store::read_ends(run.id, run.segment.number, store::add_end, &run.ends);
	store::sort_ends(run.ends);
}

void
prepare(void *argument)
{
	Handover &run = *static_cast<Handover *>(argument);
	run.found = false;
	if (!find_queue(run.id, run.queue))
		return;
	base::RelationScope const table(catalog::catalog_oid("job_archive"), AccessShareLock);
	catalog::scan_rows(table, "job_archive_pkey", archive_queue_id, F_INT4EQ, Int32GetDatum(run.id), take_archive,
					   &run);
	run.table = job_table_of(run.id);
}

void
require_queue(Handover &run)
{
	if (!find_queue(run.id, run.queue))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("queue \"%s\" was dropped or has no archive any more", run.queue.name)));
}

void
copy_batch(void *argument)
{
	Handover &run = *static_cast<Handover *>(argument);
	require_queue(run);
	Oid const role = get_role_oid(NameStr(run.archive.owner), false);
	core::SegmentNumber const tables = run.segment.number;
	core::SegmentNumber const number = tables < 0 ? store::remains_of(tables) : tables;
	JobRange const range{Max(run.copied.next, core::first_id_of(number)), core::last_id_of(number)};
	run.copied = copy_jobs(run.queue, role, run.table, run.ends, tables, &range, 1, batch_size);
	store::mark_archived(run.id, run.segment.number, run.copied.next,
						 run.copied.all ? base::now_wall() : core::wall_never);
	FAULT_POINT("archive jobs: after mark");
}

// Stragglers are deleted as they are copied, so that no mark is needed. They are owned meanwhile, as by a redrive.
void
copy_stragglers(void *argument)
{
	Handover &run = *static_cast<Handover *>(argument);
	run.copied = {0, 0, true};
	require_queue(run);
	if (!store::has_stay(run.id))
		return;
	board::Handle const handle = board::open(run.queue);
	auto *const ended = static_cast<store::OldEnd *>(palloc(sizeof(store::OldEnd) * board::ended_stragglers_max));
	int const count = board::take_ended_stragglers(run.queue, handle, base::now_wall(), ended);
	if (count == 0)
		return;
	auto *const range = static_cast<JobRange *>(palloc(sizeof(JobRange) * count));
	for (int i = 0; i < count; i++)
		range[i] = {ended[i].first_id, ended[i].last_id};
	store::EndList ends{};
	store::begin_ends(ends);
	store::read_ends(run.id, store::stay, store::add_end, &ends);
	store::sort_ends(ends);
	Oid const role = get_role_oid(NameStr(run.archive.owner), false);
	run.copied = copy_jobs(run.queue, role, run.table, ends, store::stay, range, count, PG_INT64_MAX);
	store::delete_moved(run.id, ended, count);
	FAULT_POINT("archive stragglers: after batch");
	run.copied.all = count < board::ended_stragglers_max;
}

catalog::Parameter
error_parameter(base::Failure const *failure)
{
	return {TEXTOID, failure != nullptr ? CStringGetTextDatum(failure->text) : Datum{0}, failure == nullptr};
}

void
record(Handover const &run, base::Failure const *failure)
{
	int const failures = failure != nullptr ? run.archive.failures + 1 : 0;
	core::Wall const next =
		failure != nullptr
			? base::now_wall() + core::backoff_delay(backoff, failures, pg_prng_double(&pg_global_prng_state))
			: base::now_wall();
	catalog::execute("UPDATE onceq.job_archive SET last_run = $2, last_jobs = $3, total_jobs = total_jobs + $3,"
					 " next_run = $4, failures = $5, last_error = $6 WHERE queue_id = $1",
					 {catalog::parameter(run.id), catalog::parameter(run.started_at), catalog::parameter(run.jobs),
					  catalog::parameter(next), catalog::parameter(int32{failures}), error_parameter(failure)});
}

void
record_success(void *argument)
{
	record(*static_cast<Handover *>(argument), nullptr);
}

void
record_lapse(void *argument)
{
	Handover const &run = *static_cast<Handover *>(argument);
	record(run, &run.outcome.failure);
}

// ---- the run

bool
has_to_stop(Handover const &run)
{
	return run.means.is_over() || base::now_monotonic().us - run.begun.us > run.means.patience;
}

// One after the other, until all is copied or time is up.
bool
copy_batches(Handover &run, void (*batch)(void *), base::Failure &failure)
{
	run.copied.all = false;
	while (!run.copied.all && !has_to_stop(run))
	{
		core::Monotonic const began = base::now_monotonic();
		if (!run.means.carry_out(batch, &run, failure))
			return false;
		run.jobs += run.copied.jobs;
		show_batch(run.place, run.copied.jobs);
		keep_to_speed(began);
	}
	return true;
}

bool
copy_segments(Handover &run, base::Failure &failure)
{
	while (!has_to_stop(run))
	{
		if (!run.means.carry_out(begin_segment, &run, failure))
			return false;
		if (!run.found_segment)
			return true;
		if (!copy_batches(run, copy_batch, failure))
			return false;
	}
	return true;
}

void
conduct(void *argument)
{
	Handover &run = *static_cast<Handover *>(argument);
	base::Failure &failure = run.outcome.failure;
	show_phase(run.place, Phase::copying_jobs);
	bool const succeeded = copy_segments(run, failure) && copy_batches(run, copy_stragglers, failure) &&
						   run.means.carry_out(record_success, &run, failure);
	run.outcome.ending = succeeded ? Ending::done : Ending::failed;
	run.outcome.rows = run.jobs;
	base::Failure ignored;
	if (!succeeded)
		run.means.carry_out(record_lapse, &run, ignored);
}

} // namespace

core::Microseconds
until_handover()
{
	return due_handovers() != NIL ? 0 : idle;
}

List *
due_handovers()
{
	List *candidates = NIL;
	List *due = NIL;
	if (!catalog::is_adopted())
		return NIL;
	{
		base::RelationScope const table(catalog::catalog_oid("job_archive"), AccessShareLock);
		catalog::scan_rows(table, nullptr, 0, InvalidOid, Datum{0}, add_due, static_cast<void *>(&candidates));
	}
	ListCell *cell;
	foreach (cell, candidates)
	{
		catalog::Queue queue;
		store::Segment segment;
		if (find_queue(lfirst_int(cell), queue) &&
			(find_due_segment(queue, segment) || board::has_ended_stragglers(queue, base::now_wall())))
			due = lappend_int(due, queue.id);
	}
	return due;
}

Outcome
run_handover(int32 queue, Means const &means)
{
	Handover run{.means = means, .id = queue};
	base::Failure failure{};
	run.started_at = base::now_wall();
	run.begun = base::now_monotonic();
	if (!means.carry_out(prepare, &run, failure))
		return {Ending::failed, 0, 0, failure};
	if (!run.found)
		return {Ending::gone, 0, 0, {}};
	run.place = enter_run(run.queue.anchor, run.outcome.other);
	if (run.place < 0)
		return {Ending::busy, run.outcome.other, 0, {}};
	run.segment_context = AllocSetContextCreate(TopMemoryContext, "onceq archived segment", ALLOCSET_DEFAULT_SIZES);
	conduct_run(run.place, run.segment_context, conduct, &run);
	return run.outcome;
}

} // namespace onceq::archive
