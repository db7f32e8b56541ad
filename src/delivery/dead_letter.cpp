// SPDX-License-Identifier: PostgreSQL
// A job of a queue with a dead_letter_queue dies: that queue gets a copy, in the same transaction. The copy is the
// queue's doing, not that of who ends the job, who need not be allowed to enqueue there. Whatever is in its way,
// the job is dead, stays where it is, and its end does not fail.
#include "base/fault.hpp"
#include "base/subtransaction.hpp"
#include "board/transaction.hpp"
#include "delivery/outcomes.hpp"

extern "C" {
#include <lib/stringinfo.h>
#if PG_VERSION_NUM >= 190000
#include <nodes/miscnodes.h>
#endif
#include <utils/builtins.h>
#include <utils/fmgrprotos.h>
#include <utils/json.h>
#include <utils/jsonb.h>
#include <utils/numeric.h>
}

namespace onceq::delivery {

namespace {

constexpr char origin_key[] = "onceq.dead_letter";
constexpr char copies_key[] = "copies";
// Setting the option refuses a circle; two that are set at the same time may close one.
constexpr int copies_max = 8;

struct Death
{
	catalog::Queue const &queue;
	core::JobId id;
	int attempt;
	char const *worker;
	text const *error;
};

bool
is_object(Jsonb *headers)
{
	return headers != nullptr && JB_ROOT_IS_OBJECT(headers);
}

// How many copies came before the job, which may be one itself.
int
copies_before(Jsonb *headers)
{
	if (!is_object(headers))
		return 0;
	JsonbValue found;
	JsonbValue *const origin =
		getKeyJsonValueFromContainer(&headers->root, origin_key, static_cast<int>(strlen(origin_key)), &found);
	if (origin == nullptr || origin->type != jbvBinary || !JsonContainerIsObject(origin->val.binary.data))
		return 0;
	JsonbValue number;
	JsonbValue *const copies = getKeyJsonValueFromContainer(origin->val.binary.data, copies_key,
															static_cast<int>(strlen(copies_key)), &number);
	if (copies == nullptr || copies->type != jbvNumeric)
		return 0;
#if PG_VERSION_NUM >= 190000
	ErrorSaveContext failure{T_ErrorSaveContext};
	int const count = numeric_int4_safe(copies->val.numeric, reinterpret_cast<Node *>(&failure));
	bool const failed = failure.error_occurred;
#else
	bool failed = false;
	int const count = numeric_int4_opt_error(copies->val.numeric, &failed);
#endif
	return failed ? copies_max : Max(count, 0);
}

void
append_text(StringInfo json, char const *key, char const *value)
{
	appendStringInfo(json, ", \"%s\": ", key);
	escape_json(json, value);
}

// {"onceq.dead_letter": {...}}
Datum
origin_of(Death const &death, Jsonb *headers, int copies)
{
	StringInfoData json;
	initStringInfo(&json);
	appendStringInfo(&json, "{\"%s\": {\"id\": " INT64_FORMAT ", \"attempts\": %d, \"%s\": %d", origin_key, death.id,
					 death.attempt, copies_key, copies);
	append_text(&json, "queue", death.queue.name);
	if (death.worker != nullptr && death.worker[0] != '\0')
		append_text(&json, "worker", death.worker);
	if (death.error != nullptr)
		append_text(&json, "error", text_to_cstring(death.error));
	if (headers != nullptr && !is_object(headers))
		appendStringInfo(&json, ", \"headers\": %s",
						 JsonbToCString(nullptr, &headers->root, static_cast<int>(VARSIZE(headers))));
	appendStringInfoString(&json, "}}");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

// The job's own, with where it comes from.
Datum
headers_of_copy(Death const &death, Jsonb *headers, int copies)
{
	Datum const origin = origin_of(death, headers, copies);
	return is_object(headers) ? DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(headers), origin) : origin;
}

void
enqueue_copy(Death const &death, store::Job const &job, catalog::Queue const &target)
{
	Jsonb *const headers = job.has_headers ? DatumGetJsonbP(job.headers) : nullptr;
	int const copies = copies_before(headers) + 1;
	if (copies > copies_max)
		return;
	store::NewJob copy{};
	copy.payload = PointerGetDatum(PG_DETOAST_DATUM(job.payload));
	copy.headers = headers_of_copy(death, headers, copies);
	copy.has_headers = true;
	copy.priority = job.priority;
	copy.run_at = core::wall_always;
	copy.id = board::reserve_id(target, copy.priority, copy.run_at, core::no_key);
	FAULT_POINT("dead letter: after reserve");
	store::append_jobs(target.id, &copy, 1);
	FAULT_POINT("dead letter: after insert");
}

struct Copying
{
	Death const &death;
	catalog::Queue const &target;
};

bool
copy_job(store::Job const &job, void *argument)
{
	Copying const &copying = *static_cast<Copying *>(argument);
	enqueue_copy(copying.death, job, copying.target);
	return false;
}

void
copy_dead_job(void *argument)
{
	Death const &death = *static_cast<Death *>(argument);
	text const *const name = catalog::dead_letter_queue_of(death.queue.id);
	catalog::Queue const *const found = name != nullptr ? catalog::find_live_queue(name) : nullptr;
	if (found == nullptr)
		return;
	catalog::Queue const target = *found;
	Copying copying{death, target};
	store::read_jobs(death.queue.id, death.id, death.id, copy_job, &copying);
}

} // namespace

void
send_dead_letter(catalog::Queue const &queue, core::JobId id, int attempt, char const *worker, text const *error)
{
	if (!queue.has_dead_letter_queue)
		return;
	Death death{queue, id, attempt, worker, error};
	base::attempt("copying a dead job to the dead letter queue", copy_dead_job, &death);
}

} // namespace onceq::delivery
