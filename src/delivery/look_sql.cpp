// SPDX-License-Identifier: PostgreSQL
// job(), jobs(): looking at single jobs.
#include "base/require.hpp"
#include "base/wall.hpp"
#include "delivery/look.hpp"

extern "C" {
#include <access/xlog.h>
#include <funcapi.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

catalog::Queue
lookers_queue(FunctionCallInfo fcinfo)
{
	base::require_server();
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_look);
	return queue;
}

board::Handle
board_of(catalog::Queue const &queue)
{
	return RecoveryInProgress() ? board::Handle{no_board, {}} : board::open(queue);
}

namespace {

constexpr int jobs_max = 10000;

struct One
{
	Looker looker;
	HeapTuple tuple;
};

bool
visit_one(store::Job const &job, void *argument)
{
	One &one = *static_cast<One *>(argument);
	char const *state;
	one.tuple = describe_job(one.looker, job, &state);
	return false;
}

struct Listing
{
	Looker looker;
	ReturnSetInfo *result;
	char const *state; // nullptr: any
	int left;
	core::JobId last_dead; // looked at
};

bool
visit_listed(store::Job const &job, void *argument)
{
	Listing &listing = *static_cast<Listing *>(argument);
	CHECK_FOR_INTERRUPTS();
	char const *state;
	HeapTuple const tuple = describe_job(listing.looker, job, &state);
	if (listing.state == nullptr || strcmp(listing.state, state) == 0)
	{
		tuplestore_puttuple(listing.result->setResult, tuple);
		listing.left--;
	}
	heap_freetuple(tuple);
	return listing.left > 0;
}

// The first id at or after start that is in one of the states of the filter now; 0: none.
core::JobId
next_live(Listing const &listing, core::JobId start)
{
	board::Locked board(listing.looker.board.index, LW_SHARED);
	if (!board.stands_for(listing.looker.board.key))
		return 0;
	core::JobId lowest = 0;
	auto const consider = [&](core::JobState state) {
		core::JobId const id = board->map.find(board::pool(), state, start);
		if (id != 0 && (lowest == 0 || id < lowest))
			lowest = id;
	};
	if (strcmp(listing.state, "scheduled") == 0)
		consider(core::JobState::waiting);
	else if (strcmp(listing.state, "running") == 0)
		consider(core::JobState::leased);
	else
	{
		consider(core::JobState::blocked);
		for (int priority = 0; priority <= core::priority_max; priority++)
			consider(core::ready_at(priority));
	}
	return lowest;
}

void
list_live(Listing &listing, core::JobId after)
{
	for (core::JobId id = next_live(listing, after + 1); id != 0 && listing.left > 0; id = next_live(listing, id + 1))
		store::read_jobs(listing.looker.queue.id, id, id, visit_listed, &listing);
}

void
list_rows(Listing &listing, core::JobId after)
{
	int32 const queue = listing.looker.queue.id;
	store::Parts const parts = store::all_parts(queue, after + 1);
	for (int i = 0; i < parts.count && listing.left > 0; i++)
	{
		store::Part const &part = parts.part[i];
		store::read_jobs_in(queue, part.tables, part.first, part.last, visit_listed, &listing);
	}
}

bool
visit_dead(core::JobId id, void *argument)
{
	Listing &listing = *static_cast<Listing *>(argument);
	if (id != listing.last_dead)
		store::read_jobs(listing.looker.queue.id, id, id, visit_listed, &listing);
	listing.last_dead = id;
	return listing.left > 0;
}

// By the index of outcomes, which knows no acks.
void
list_dead(Listing &listing, core::JobId after)
{
	int32 const queue = listing.looker.queue.id;
	store::Parts const parts = store::all_parts(queue, after + 1);
	for (int i = 0; i < parts.count && listing.left > 0; i++)
	{
		store::Part const &part = parts.part[i];
		store::read_dead(queue, part.tables, part.first, part.last, visit_dead, &listing);
	}
}

char const *
state_argument(FunctionCallInfo fcinfo, int number)
{
	static char const *const states[] = {"scheduled", "ready", "running", "succeeded", "dead", "cancelled"};

	if (PG_ARGISNULL(number))
		return nullptr;
	char const *const given = text_to_cstring(PG_GETARG_TEXT_PP(number));
	for (char const *state : states)
		if (strcmp(state, given) == 0)
			return state;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no job state \"%s\"", given),
					errhint("States are scheduled, ready, running, succeeded, dead and cancelled.")));
	pg_unreachable();
}

} // namespace

// job(queue, id) returns job_info
ONCEQ_FUNCTION(onceq_job)
{
	catalog::Queue const queue = lookers_queue(fcinfo);
	require_argument(fcinfo, 1, "id");
	core::JobId const id = PG_GETARG_INT64(1);
	One one{{queue, board_of(queue), {-1, {}}, nullptr, false}, nullptr};
	if (get_call_result_type(fcinfo, nullptr, &one.looker.desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	one.looker.desc = BlessTupleDesc(one.looker.desc);
	if (id > 0)
		store::read_jobs(queue.id, id, id, visit_one, &one);
	if (one.tuple == nullptr)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(HeapTupleGetDatum(one.tuple));
}

// jobs(queue, state, after_id, count) returns setof job_info
ONCEQ_FUNCTION(onceq_jobs)
{
	catalog::Queue const queue = lookers_queue(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	require_argument(fcinfo, 2, "after_id");
	require_argument(fcinfo, 3, "count");
	auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	Listing listing{{queue, board_of(queue), {-1, {}}, result->setDesc, true},
					result,
					state_argument(fcinfo, 1),
					PG_GETARG_INT32(3),
					0};
	if (listing.left < 1 || listing.left > jobs_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("count is out of range"),
						errdetail("It must be between 1 and %d.", jobs_max)));
	core::JobId const after = Min(Max(PG_GETARG_INT64(2), int64{0}), PG_INT64_MAX - 1);
	bool const live =
		listing.state != nullptr && (strcmp(listing.state, "scheduled") == 0 || strcmp(listing.state, "ready") == 0 ||
									 strcmp(listing.state, "running") == 0);
	if (live && listing.looker.board.index != no_board)
		list_live(listing, after);
	else if (listing.state != nullptr && strcmp(listing.state, "dead") == 0)
		list_dead(listing, after);
	else
		list_rows(listing, after);
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
