// SPDX-License-Identifier: PostgreSQL
#include "delivery/selection.hpp"

#include "base/scope.hpp"
#include "store/store.hpp"

extern "C" {
#include <catalog/pg_collation.h>
#include <utils/builtins.h>
#include <utils/fmgrprotos.h>
#include <utils/memutils.h>
}

namespace onceq::delivery {

namespace {

// ---- one job

struct Look
{
	Selection const &selection;
	bool matches;
};

bool
contains(Datum whole, Datum part)
{
	return DatumGetBool(DirectFunctionCall2(jsonb_contains, whole, part));
}

bool
is_key(text const *key, text const *wanted)
{
	return key != nullptr && VARSIZE_ANY_EXHDR(key) == VARSIZE_ANY_EXHDR(wanted) &&
		   memcmp(VARDATA_ANY(key), VARDATA_ANY(wanted), VARSIZE_ANY_EXHDR(wanted)) == 0;
}

bool
visit_selected(store::Job const &job, void *argument)
{
	Look &look = *static_cast<Look *>(argument);
	Selection const &wanted = look.selection;
	look.matches = wanted.enqueued_after <= job.enqueued_at && job.enqueued_at < wanted.enqueued_before &&
				   (wanted.priority < 0 || wanted.priority == job.priority) &&
				   (wanted.ordering_key == nullptr || is_key(job.ordering_key, wanted.ordering_key)) &&
				   (!wanted.has_payload || contains(job.payload, wanted.payload)) &&
				   (!wanted.has_headers || (job.has_headers && contains(job.headers, wanted.headers)));
	return false;
}

// Bytewise, as in the C locale: no collation of the database has a say in it.
bool
is_like(text *value, text *pattern)
{
	return value != nullptr && DatumGetBool(DirectFunctionCall2Coll(textlike, C_COLLATION_OID, PointerGetDatum(value),
																	PointerGetDatum(pattern)));
}

// ---- arguments

int
compare_ids(void const *left, void const *right)
{
	core::JobId const a = *static_cast<core::JobId const *>(left);
	core::JobId const b = *static_cast<core::JobId const *>(right);
	return (a > b) - (a < b);
}

void
take_ids(FunctionCallInfo fcinfo, int number, Selection &selection)
{
	Elements const given = elements_argument(fcinfo, number, "ids");
	if (given.count > selection_count_max)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many ids in one call"),
						errdetail("The call has %d ids; at most %d are allowed.", given.count, selection_count_max)));
	auto *const ids = static_cast<core::JobId *>(palloc(sizeof(core::JobId) * Max(given.count, 1)));
	for (int i = 0; i < given.count; i++)
	{
		if (given.is_null[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an id must not be null")));
		ids[i] = DatumGetInt64(given.value[i]);
	}
	qsort(ids, given.count, sizeof(core::JobId), compare_ids);
	selection.ids = ids;
	selection.id_count = given.count;
}

int
priority_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return -1;
	int const priority = PG_GETARG_INT32(number);
	if (priority < 0 || priority > core::priority_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("priority is out of range"),
						errdetail("It must be between 0 and %d.", core::priority_max)));
	return priority;
}

// ---- many jobs

struct Changes
{
	catalog::Queue const &queue;
	Selection const &selection;
	ChangeJob change;
	void *argument;
	MemoryContext scratch;
	int64 done;
};

MemoryContext
new_scratch()
{
	return AllocSetContextCreate(CurrentMemoryContext, "onceq job", ALLOCSET_DEFAULT_SIZES);
}

void
change_if_selected(Changes &changes, core::JobId id)
{
	CHECK_FOR_INTERRUPTS();
	{
		base::MemoryContextScope const memory(changes.scratch);
		if (selects(changes.selection, changes.queue, id) && changes.change(id, changes.argument))
			changes.done++;
	}
	MemoryContextReset(changes.scratch);
}

// ---- the unfinished ones, as the board knows them

struct Walk
{
	board::Handle board;
	bool wanted[core::job_state_count];
	core::JobId next[core::job_state_count]; // in this state; 0: none any more
};

bool
is_wanted(States const &states, core::JobState state)
{
	return (states.scheduled && state == core::JobState::waiting) ||
		   (states.ready && (state == core::JobState::blocked || core::is_ready(state))) ||
		   (states.running && state == core::JobState::leased);
}

// The first candidate at or after start, of those that were there when its state was last looked for; 0: none.
core::JobId
next_candidate(Walk &walk, core::JobId start)
{
	board::Locked board(walk.board.index, LW_SHARED);
	core::JobId lowest = 0;
	for (int i = 0; board.stands_for(walk.board.key) && i < core::job_state_count; i++)
	{
		core::JobId &next = walk.next[i];
		if (walk.wanted[i] && next != 0 && next < start)
			next = board->map.find(board::pool(), static_cast<core::JobState>(i), start);
		if (walk.wanted[i] && next != 0 && (lowest == 0 || next < lowest))
			lowest = next;
	}
	return lowest;
}

} // namespace

bool
selects(Selection const &selection, catalog::Queue const &queue, core::JobId id)
{
	if (!selection.reads_rows)
		return true;
	Look look{selection, false};
	store::read_jobs(queue.id, id, id, visit_selected, &look);
	if (!look.matches || selection.error_like == nullptr)
		return look.matches;
	return is_like(store::read_history(queue.id, id).detail, selection.error_like);
}

int64
change_listed(catalog::Queue const &queue, Selection const &selection, ChangeJob change, void *argument)
{
	Changes changes{queue, selection, change, argument, new_scratch(), 0};
	for (int i = 0; i < selection.id_count && changes.done < selection.count; i++)
	{
		core::JobId const id = selection.ids[i];
		bool const again = i > 0 && selection.ids[i - 1] == id;
		if (!again && selection.first <= id && id <= selection.last)
			change_if_selected(changes, id);
	}
	MemoryContextDelete(changes.scratch);
	return changes.done;
}

int64
change_unfinished(catalog::Queue const &queue, States const &states, Selection const &selection, ChangeJob change,
				  void *argument)
{
	if (selection.ids != nullptr)
		return change_listed(queue, selection, change, argument);
	Walk walk{board::open(queue), {}, {}};
	for (int i = 0; i < core::job_state_count; i++)
	{
		walk.wanted[i] = is_wanted(states, static_cast<core::JobState>(i));
		walk.next[i] = -1;
	}
	Changes changes{queue, selection, change, argument, new_scratch(), 0};
	for (core::JobId id = next_candidate(walk, selection.first);
		 id != 0 && id <= selection.last && changes.done < selection.count; id = next_candidate(walk, id + 1))
		change_if_selected(changes, id);
	MemoryContextDelete(changes.scratch);
	return changes.done;
}

board::StateFilter
availability(States const &states)
{
	if (states.scheduled && states.ready)
		return [](core::JobState state) { return is_wanted({true, true, false}, state); };
	if (states.scheduled)
		return [](core::JobState state) { return is_wanted({true, false, false}, state); };
	if (states.ready)
		return [](core::JobState state) { return is_wanted({false, true, false}, state); };
	return [](core::JobState) { return false; };
}

States
states_argument(FunctionCallInfo fcinfo, int number, bool may_run)
{
	if (PG_ARGISNULL(number))
		return {true, true, may_run};
	char const *const state = text_to_cstring(PG_GETARG_TEXT_PP(number));
	States const states{strcmp(state, "scheduled") == 0, strcmp(state, "ready") == 0,
						may_run && strcmp(state, "running") == 0};
	if (!states.scheduled && !states.ready && !states.running)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("state \"%s\" cannot be chosen here", state),
						may_run ? errhint("Choose scheduled, ready or running, or NULL for all of them.")
								: errhint("Choose scheduled or ready, or NULL for both of them.")));
	return states;
}

Selection
all_jobs(int count)
{
	Selection selection{};
	selection.first = 1;
	selection.last = PG_INT64_MAX;
	selection.enqueued_after = core::wall_always;
	selection.enqueued_before = core::wall_never;
	selection.priority = -1;
	selection.count = count;
	return selection;
}

Selection
selection_argument(FunctionCallInfo fcinfo, int first, catalog::Queue const &queue)
{
	enum
	{
		ids,
		first_id,
		last_id,
		enqueued_after,
		enqueued_before,
		priority,
		ordering_key,
		payload,
		headers,
		error_like,
		count
	};
	auto const given = [&](int number) { return !PG_ARGISNULL(first + number); };

	Selection selection =
		all_jobs(ranged_argument(fcinfo, first + count, "count", selection_count_max, selection_count_max));
	if (given(ids))
		take_ids(fcinfo, first + ids, selection);
	if (given(first_id))
		selection.first = Max(PG_GETARG_INT64(first + first_id), int64{1});
	if (given(last_id))
		selection.last = PG_GETARG_INT64(first + last_id);
	if (given(enqueued_after))
		selection.enqueued_after = core::Wall{PG_GETARG_TIMESTAMPTZ(first + enqueued_after)};
	if (given(enqueued_before))
		selection.enqueued_before = core::Wall{PG_GETARG_TIMESTAMPTZ(first + enqueued_before)};
	selection.priority = priority_argument(fcinfo, first + priority);
	selection.ordering_key = given(ordering_key) ? PG_GETARG_TEXT_PP(first + ordering_key) : nullptr;
	selection.has_payload = given(payload);
	selection.payload = given(payload) ? PointerGetDatum(PG_DETOAST_DATUM(PG_GETARG_DATUM(first + payload))) : Datum{0};
	selection.has_headers = given(headers);
	selection.headers = given(headers) ? PointerGetDatum(PG_DETOAST_DATUM(PG_GETARG_DATUM(first + headers))) : Datum{0};
	selection.error_like = given(error_like) ? PG_GETARG_TEXT_PP(first + error_like) : nullptr;
	for (int number = enqueued_after; number <= error_like; number++)
		selection.reads_rows |= given(number);
	if (selection.reads_rows)
		catalog::require_privilege(queue, catalog::may_look);
	return selection;
}

int
ranged_argument(FunctionCallInfo fcinfo, int number, char const *name, int most, int otherwise)
{
	if (PG_ARGISNULL(number))
		return otherwise;
	int const value = PG_GETARG_INT32(number);
	if (value < 1 || value > most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of range", name),
						errdetail("It must be between 1 and %d.", most)));
	return value;
}

} // namespace onceq::delivery
