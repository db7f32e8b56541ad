// SPDX-License-Identifier: PostgreSQL
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/settings.hpp"
#include "base/wall.hpp"
#include "board/transaction.hpp"
#include "delivery/delivery.hpp"
#include "delivery/unique.hpp"
#include "store/store.hpp"

extern "C" {
#include <access/detoast.h>
#include <funcapi.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

namespace {

constexpr int headers_max = 8 * 1024;
constexpr int ordering_key_max = 256;
constexpr int max_attempts_max = 1000;

// What all jobs of one call have in common.
struct Options
{
	int priority;
	core::Wall run_at;  // wall_always: at once
	text *ordering_key; // nullptr: none
	store::JobOptions own;
};

// The arguments priority, run_at and delay, which follow each other.
Options
options_of(FunctionCallInfo fcinfo, int priority)
{
	require_argument(fcinfo, priority, "priority");
	Options const options{PG_GETARG_INT32(priority), run_at_argument(fcinfo, priority + 1, priority + 2), nullptr, {}};
	if (options.priority < 0 || options.priority > core::priority_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("priority is out of range"),
						errdetail("It must be between 0 and %d.", core::priority_max)));
	return options;
}

core::Microseconds
time_limit_argument(FunctionCallInfo fcinfo, int number, char const *name)
{
	return PG_ARGISNULL(number) ? 0 : base::microseconds_of(PG_GETARG_INTERVAL_P(number), name, lease_min, lease_max);
}

// What a job may have of its own: the arguments max_attempts, soft_time_limit and hard_time_limit.
store::JobOptions
own_options(FunctionCallInfo fcinfo, int max_attempts)
{
	store::JobOptions options{};
	if (!PG_ARGISNULL(max_attempts))
	{
		options.max_attempts = PG_GETARG_INT32(max_attempts);
		if (options.max_attempts < 1 || options.max_attempts > max_attempts_max)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_attempts is out of range"),
							errdetail("It must be between 1 and %d.", max_attempts_max)));
	}
	options.soft_time_limit = time_limit_argument(fcinfo, max_attempts + 1, "soft_time_limit");
	options.hard_time_limit = time_limit_argument(fcinfo, max_attempts + 2, "hard_time_limit");
	return options;
}

text *
ordering_key_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return nullptr;
	text *const key = PG_GETARG_TEXT_PP(number);
	if (int const length = VARSIZE_ANY_EXHDR(key); length < 1 || length > ordering_key_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("length of ordering_key is out of range"),
						errdetail("It must be between 1 and %d bytes.", ordering_key_max)));
	return key;
}

void
check_size(Datum value, char const *name, Size limit, char const *hint)
{
	Size const size = toast_raw_datum_size(value) - VARHDRSZ;
	if (size > limit)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s is too large", name),
						errdetail("It has %zu bytes; at most %zu are allowed.", size, limit),
						hint != nullptr ? errhint("%s", hint) : 0));
}

void
check_job(store::NewJob const &job)
{
	check_size(job.payload, "payload", Size{1024} * base::settings.payload_max_kb,
			   "Store large data elsewhere and enqueue a reference, or increase onceq.payload_max.");
	if (job.has_headers)
		check_size(job.headers, "headers", headers_max, nullptr);
}

store::NewJob
new_job(Options const &options, Datum payload, Datum headers, bool has_headers)
{
	store::NewJob const job{
		0, payload, headers, has_headers, options.priority, options.run_at, options.ordering_key, options.own};
	check_job(job);
	return job;
}

catalog::Queue
producers_queue(FunctionCallInfo fcinfo)
{
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_enqueue);
	return queue;
}

// The jobs of enqueue_many, checked, without ids.
store::NewJob *
jobs_of(FunctionCallInfo fcinfo, Options const &options, int &count)
{
	Elements const payloads = elements_argument(fcinfo, 1, "payloads");
	Elements const headers = PG_ARGISNULL(2) ? Elements{} : elements_argument(fcinfo, 2, "headers");
	count = payloads.count;
	if (count > enqueue_many_max)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many jobs in one call"),
						errdetail("The call has %d jobs; at most %d are allowed.", count, enqueue_many_max)));
	if (!PG_ARGISNULL(2) && headers.count != count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("payloads and headers must have the same length")));
	auto *const jobs = static_cast<store::NewJob *>(palloc(sizeof(store::NewJob) * Max(count, 1)));
	for (int i = 0; i < count; i++)
	{
		if (payloads.is_null[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a payload must not be null"),
							errdetail("Element %d of payloads is null.", i + 1)));
		bool const has_headers = headers.count > 0 && !headers.is_null[i];
		jobs[i] = new_job(options, payloads.value[i], has_headers ? headers.value[i] : Datum{0}, has_headers);
	}
	return jobs;
}

} // namespace

core::JobId
insert_job(catalog::Queue const &queue, store::NewJob &job)
{
	job.id = board::reserve_id(queue, job.priority, job.run_at, store::hash_of_key(job.ordering_key));
	FAULT_POINT("enqueue: after reserve");
	store::append_jobs(queue.id, &job, 1);
	FAULT_POINT("enqueue: after insert");
	return job.id;
}

// enqueue(queue, payload, headers, priority, run_at, delay, unique_key, unique_mode, unique_for, ordering_key,
// max_attempts, soft_time_limit, hard_time_limit) returns bigint
ONCEQ_FUNCTION(onceq_enqueue)
{
	base::require_writable("onceq.enqueue()");
	catalog::Queue const queue = producers_queue(fcinfo);
	require_argument(fcinfo, 1, "payload");
	Options options = options_of(fcinfo, 3);
	options.ordering_key = ordering_key_argument(fcinfo, 9);
	options.own = own_options(fcinfo, 10);
	store::NewJob job =
		new_job(options, PG_GETARG_DATUM(1), PG_ARGISNULL(2) ? 0 : PG_GETARG_DATUM(2), !PG_ARGISNULL(2));
	Unique unique;
	core::JobId const id =
		unique_argument(fcinfo, 6, queue, unique) ? enqueue_unique(queue, unique, job) : insert_job(queue, job);
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

// enqueue_many(queue, payloads, headers, priority, run_at, delay) returns setof bigint
ONCEQ_FUNCTION(onceq_enqueue_many)
{
	base::require_writable("onceq.enqueue_many()");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	catalog::Queue const queue = producers_queue(fcinfo);
	require_argument(fcinfo, 1, "payloads");
	Options const options = options_of(fcinfo, 3);
	int count;
	store::NewJob *const jobs = jobs_of(fcinfo, options, count);
	for (int done = 0; done < count;)
	{
		board::Ids const ids = board::reserve_ids(queue, count - done, options.priority, options.run_at);
		for (int i = 0; i < ids.count; i++)
			jobs[done + i].id = ids.first + i;
		FAULT_POINT("enqueue many: after reserve");
		store::append_jobs(queue.id, jobs + done, ids.count);
		done += ids.count;
	}
	for (int i = 0; i < count; i++)
	{
		Datum id = Int64GetDatum(jobs[i].id);
		bool null = false;
		tuplestore_putvalues(result->setResult, result->setDesc, &id, &null);
	}
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
