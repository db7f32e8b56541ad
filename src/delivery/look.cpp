// SPDX-License-Identifier: PostgreSQL
#include "delivery/look.hpp"

#include "base/clock.hpp"

extern "C" {
#include <access/htup_details.h>
}

namespace onceq::delivery {

namespace {

enum JobInfoColumn
{
	info_queue,
	info_id,
	info_state,
	info_priority,
	info_attempt,
	info_max_attempts,
	info_enqueued_at,
	info_due_at,
	info_claimed_at,
	info_finished_at,
	info_lease_until,
	info_worker,
	info_progress_current,
	info_progress_total,
	info_progress_message,
	info_result,
	info_error,
	info_payload,
	info_headers,
	info_column_count
};

// What the board knows of a job, read in one hold of B.
struct Live
{
	core::JobState state;
	bool history;
	core::LeaseHolder holder; // if leased
	core::Monotonic deadline;
	int attempt;
	bool reported; // progress
	core::Progress progress;
};

void
look_at_lease(std::uint32_t index, core::JobId id, Live &live)
{
	int job;
	core::LeaseSlot const *const lease = board::find_lease_of(index, id, job);
	if (lease == nullptr)
		return;
	live.holder = lease->holder;
	live.deadline = core::Monotonic{lease->deadline.load(std::memory_order_relaxed)};
	core::Progress const *const progress = board::leases().progress().find(lease->progress, job);
	live.reported = progress != nullptr;
	if (live.reported)
		live.progress = *progress;
	core::JobSet only{};
	only.add(job);
	core::for_each_run(board::pool(), *lease, only, [&](core::LeasedIds const &ids) { live.attempt = ids.attempt; });
}

Live
look_at_board(board::Handle const &handle, core::JobId id)
{
	Live live{core::JobState::none, false, {}, core::monotonic_never, 1, false, {}};
	if (handle.index == no_board)
		return live;
	board::Locked board(handle.index, LW_SHARED);
	if (!board.stands_for(handle.key))
		return live;
	live.state = board->map.state(board::pool(), id);
	live.history = board->map.history(board::pool(), id);
	if (live.state == core::JobState::leased)
		look_at_lease(handle.index, id, live);
	return live;
}

// Of a whole segment, or those near a job.
void
read_ends(Looker &looker, core::JobId id, core::SegmentNumber segment)
{
	looker.ends.whole_segment = segment;
	store::EndList &list = looker.ends.list;
	store::begin_ends(list);
	if (segment < 0)
		store::read_ends_near(looker.queue.id, id, !looker.lists, store::add_end, &list);
	else
		store::read_ends(looker.queue.id, segment, store::add_end, &list);
	store::sort_ends(list);
}

store::End const *
find_end(Looker &looker, core::JobId id)
{
	Ends const &ends = looker.ends;
	core::SegmentNumber const segment = core::segment_of(id);
	if (store::End const *const known = store::find_end(ends.list, id);
		known != nullptr || ends.whole_segment == segment)
		return known;
	read_ends(looker, id, -1);
	if (store::End const *const near = store::find_end(ends.list, id))
		return near;
	read_ends(looker, id, segment);
	return store::find_end(ends.list, id);
}

// Fills one tuple of onceq.job_info.
struct Filler
{
	Datum values[info_column_count];
	bool nulls[info_column_count];

	void
	set(JobInfoColumn column, Datum value)
	{
		values[column] = value;
		nulls[column] = false;
	}

	void
	set(JobInfoColumn column, core::Wall time)
	{
		if (time != core::wall_always && time != core::wall_never)
			set(column, TimestampTzGetDatum(time.us));
	}

	void
	set(JobInfoColumn column, text const *value)
	{
		if (value != nullptr)
			set(column, PointerGetDatum(value));
	}

	void
	set(JobInfoColumn column, char const *value)
	{
		if (value != nullptr && value[0] != '\0')
			set(column, CStringGetTextDatum(value));
	}
};

void
fill_row(Filler &filler, Looker const &looker, store::Job const &job)
{
	filler.set(info_queue, looker.queue.name);
	filler.set(info_id, Int64GetDatum(job.id));
	filler.set(info_priority, Int32GetDatum(job.priority));
	filler.set(info_enqueued_at, job.enqueued_at);
	filler.set(info_payload, job.payload);
	if (job.has_headers)
		filler.set(info_headers, job.headers);
}

void
fill_running(Filler &filler, Live const &live)
{
	core::Microseconds const left = live.deadline.us - base::now_monotonic().us;
	filler.set(info_attempt, Int32GetDatum(live.attempt));
	filler.set(info_claimed_at, live.holder.claimed_at);
	filler.set(info_worker, live.holder.worker);
	if (live.deadline != core::monotonic_never)
		filler.set(info_lease_until, base::now_wall() + left);
	if (!live.reported)
		return;
	filler.set(info_progress_current, Int64GetDatum(live.progress.current));
	if (live.progress.total != core::no_total)
		filler.set(info_progress_total, Int64GetDatum(live.progress.total));
	filler.set(info_progress_message, live.progress.message);
}

// The state of a job that neither waits nor runs: finished, unless its commit's callback is still to
// come, or this is a standby, which knows no leases.
char const *
fill_finished(Filler &filler, Looker &looker, store::Job const &job, store::History const &history, core::Wall due)
{
	if (history.is_finished())
	{
		filler.set(info_finished_at, history.at);
		return history.last == store::Outcome::dead ? "dead" : "cancelled";
	}
	store::End const *const end = find_end(looker, job.id);
	if (end == nullptr)
		return due <= base::now_wall() ? "ready" : "scheduled";
	filler.set(info_finished_at, end->at);
	filler.set(info_worker, end->worker);
	if (end->outcome == store::Outcome::cancelled)
		return "cancelled";
	filler.set(info_attempt, Int32GetDatum(end->attempt));
	Datum result;
	if (store::read_result(looker.queue.id, job.id, &result))
		filler.set(info_result, result);
	return "succeeded";
}

// Whether a job that is in the hands of a transaction has ended: it is about to be redriven, or deleted.
bool
had_ended(catalog::Queue const &queue, core::JobId id, store::History const &history)
{
	bool const outlived_its_segment = !OidIsValid(store::find_tables(queue.id, core::segment_of(id)).jobs);
	return history.is_finished() || outlived_its_segment;
}

} // namespace

bool
current_attempt(Looker &looker, core::JobId id, Attempt &attempt)
{
	Live const live = look_at_board(looker.board, id);
	if (live.state == core::JobState::leased)
	{
		attempt = {live.attempt, "running", core::wall_never, pstrdup(live.holder.worker)};
		return true;
	}
	if (live.state != core::JobState::none || store::read_history(looker.queue.id, id).is_finished())
		return false;
	store::End const *const end = find_end(looker, id);
	if (end == nullptr || end->outcome != store::Outcome::acked)
		return false;
	attempt = {end->attempt, "succeeded", end->at, end->worker};
	return true;
}

HeapTuple
describe_job(Looker &looker, store::Job const &job, char const **state)
{
	Filler filler;
	memset(filler.nulls, true, sizeof(filler.nulls));
	fill_row(filler, looker, job);

	Live const live = look_at_board(looker.board, job.id);
	store::History const history = store::read_history(looker.queue.id, job.id);
	core::Wall const due = history.due(job.run_at);
	int const allowed = job.options.max_attempts > 0 ? job.options.max_attempts : looker.queue.max_attempts;
	filler.set(info_max_attempts, Int32GetDatum(history.fresh_from + allowed));
	filler.set(info_attempt, Int32GetDatum(history.failed_attempts));
	filler.set(info_error, history.detail);
	filler.set(info_worker, history.worker);

	if (live.state == core::JobState::leased)
	{
		fill_running(filler, live);
		*state = "running";
	}
	else if (live.state == core::JobState::blocked && history.is_finished())
		*state = fill_finished(filler, looker, job, history, due);
	else if (live.state == core::JobState::blocked)
		*state = "ready";
	else if (live.state == core::JobState::waiting)
		*state = "scheduled";
	else if (core::is_ready(live.state))
		*state = "ready";
	else if (live.state == core::JobState::none ||
			 (live.state == core::JobState::seized && had_ended(looker.queue, job.id, history)))
		*state = fill_finished(filler, looker, job, history, due);
	else
		*state = due <= base::now_wall() ? "ready" : "scheduled"; // in the hands of a transaction
	if (strcmp(*state, "scheduled") == 0 || strcmp(*state, "ready") == 0)
		filler.set(info_due_at, due);
	filler.set(info_state, *state);
	return heap_form_tuple(looker.desc, filler.values, filler.nulls);
}

} // namespace onceq::delivery
