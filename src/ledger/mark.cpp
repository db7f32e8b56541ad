// SPDX-License-Identifier: PostgreSQL
// once, once_many, is_processed, forget.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "ledger/consumer.hpp"
#include "ledger/ledger.hpp"
#include "ledger/plan.hpp"

extern "C" {
#include <catalog/pg_type.h>
#include <utils/array.h>
}

namespace onceq::ledger {

namespace {

constinit Plan mark_one{
	"INSERT INTO onceq.processed_event (processed_at, consumer_id, event_id, topic) VALUES ($1, $2, $3, $4)"
	" ON CONFLICT (consumer_id, event_id) DO NOTHING",
	4,
	{TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID},
	nullptr};

// In the order of the array: so two calls take what they have in common in the same order.
constinit Plan mark_many{"INSERT INTO onceq.processed_event (processed_at, consumer_id, event_id, topic)"
						 " SELECT $1, $2, id, $4 FROM unnest($3) WITH ORDINALITY u (id, place) ORDER BY place"
						 " ON CONFLICT (consumer_id, event_id) DO NOTHING RETURNING event_id",
						 4,
						 {TIMESTAMPTZOID, INT4OID, TEXTARRAYOID, TEXTOID},
						 nullptr};

constinit Plan look_up{
	"SELECT FROM onceq.processed_event WHERE consumer_id = $1 AND event_id = $2", 2, {INT4OID, TEXTOID}, nullptr};

constinit Plan take_back{
	"DELETE FROM onceq.processed_event WHERE consumer_id = $1 AND event_id = $2", 2, {INT4OID, TEXTOID}, nullptr};

Datum
event_argument(FunctionCallInfo fcinfo)
{
	require_argument(fcinfo, 1, "event_id");
	Datum const event = PointerGetDatum(PG_GETARG_TEXT_PP(1));
	require_text(event, false, "event_id", event_id_max);
	return event;
}

// The values of a mark but for the third, the events.
struct Mark
{
	Datum value[4];
	char null[4];
};

Mark
mark_arguments(FunctionCallInfo fcinfo)
{
	Mark mark{{}, {' ', ' ', ' ', ' '}};
	if (PG_ARGISNULL(2))
		mark.null[3] = 'n';
	else
	{
		mark.value[3] = PointerGetDatum(PG_GETARG_TEXT_PP(2));
		require_text(mark.value[3], false, "topic", topic_max);
	}
	mark.value[0] = TimestampTzGetDatum(base::now_wall().us);
	return mark;
}

void
tell_of_duplicate(FunctionCallInfo fcinfo, Datum event)
{
	// Told for each of a batch: what it costs when nobody wants to know is this test.
	if (message_level_is_interesting(DEBUG1))
		ereport(DEBUG1, (errmsg_internal("event \"%s\" was already processed by consumer \"%s\"",
										 TextDatumGetCString(event), text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}

bool
has_row(Plan &plan, Datum *values, char const *nulls = nullptr)
{
	Execution execution(plan, values, nulls);
	FAULT_POINT("ledger: after statement");
	bool const found = execution.rows() > 0;
	execution.finish();
	return found;
}

// ---- a batch

struct Event
{
	Datum id;
	int place; // in the argument
	bool is_new;
};

int
compare_ids(Datum left, Datum right)
{
	text const *const a = DatumGetTextPP(left);
	text const *const b = DatumGetTextPP(right);
	int const length = Min(VARSIZE_ANY_EXHDR(a), VARSIZE_ANY_EXHDR(b));
	int const order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), length);
	return order != 0 ? order : static_cast<int>(VARSIZE_ANY_EXHDR(a)) - static_cast<int>(VARSIZE_ANY_EXHDR(b));
}

int
compare_events(void const *left, void const *right)
{
	auto const &a = *static_cast<Event const *>(left);
	auto const &b = *static_cast<Event const *>(right);
	int const order = compare_ids(a.id, b.id);
	return order != 0 ? order : a.place - b.place;
}

struct Batch
{
	Event *event; // sorted by id; equal ones by place
	int count;
};

Batch
events_argument(FunctionCallInfo fcinfo)
{
	require_argument(fcinfo, 1, "event_ids");
	ArrayType *const array = PG_GETARG_ARRAYTYPE_P(1);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("event_ids must be one-dimensional")));
	Datum *ids;
	bool *nulls;
	int count;
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &ids, &nulls, &count);
	if (count > once_many_max)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many events in one call"),
						errdetail("The call has %d events; at most %d are allowed.", count, once_many_max)));
	Batch const batch{static_cast<Event *>(palloc(sizeof(Event) * Max(count, 1))), count};
	for (int i = 0; i < count; i++)
	{
		require_text(ids[i], nulls[i], "event_id", event_id_max);
		batch.event[i] = {ids[i], i, false};
	}
	qsort(batch.event, count, sizeof(Event), compare_events);
	return batch;
}

bool
is_first_of_its_kind(Batch const &batch, int i)
{
	return i == 0 || compare_ids(batch.event[i - 1].id, batch.event[i].id) != 0;
}

Datum
distinct_ids(Batch const &batch)
{
	auto *const ids = static_cast<Datum *>(palloc(sizeof(Datum) * Max(batch.count, 1)));
	int count = 0;
	for (int i = 0; i < batch.count; i++)
		if (is_first_of_its_kind(batch, i))
			ids[count++] = batch.event[i].id;
	return PointerGetDatum(construct_array(ids, count, TEXTOID, -1, false, TYPALIGN_INT));
}

// What is returned is in the order of ids, as the batch is.
void
mark_batch(Batch const &batch, Mark &mark)
{
	Execution execution(mark_many, mark.value, mark.null);
	FAULT_POINT("ledger: after batch");
	uint64 row = 0;
	for (int i = 0; i < batch.count && row < execution.rows(); i++)
		if (compare_ids(batch.event[i].id, execution.value(row, 1)) == 0)
		{
			batch.event[i].is_new = true;
			row++;
		}
	execution.finish();
}

} // namespace

// once(consumer, event_id, topic) returns bool
ONCEQ_FUNCTION(onceq_once)
{
	base::require_writable("onceq.once()");
	Mark mark = mark_arguments(fcinfo);
	mark.value[2] = event_argument(fcinfo);
	mark.value[1] = Int32GetDatum(consumer_argument(fcinfo, 0, ACL_INSERT));
	bool const is_new = has_row(mark_one, mark.value, mark.null);
	if (!is_new)
		tell_of_duplicate(fcinfo, mark.value[2]);
	PG_RETURN_BOOL(is_new);
}

// once_many(consumer, event_ids, topic) returns bool[]
ONCEQ_FUNCTION(onceq_once_many)
{
	base::require_writable("onceq.once_many()");
	Mark mark = mark_arguments(fcinfo);
	Batch const batch = events_argument(fcinfo);
	mark.value[2] = distinct_ids(batch);
	mark.value[1] = Int32GetDatum(consumer_argument(fcinfo, 0, ACL_INSERT));
	mark_batch(batch, mark);
	auto *const is_new = static_cast<Datum *>(palloc(sizeof(Datum) * Max(batch.count, 1)));
	for (int i = 0; i < batch.count; i++)
	{
		is_new[batch.event[i].place] = BoolGetDatum(batch.event[i].is_new);
		if (!batch.event[i].is_new)
			tell_of_duplicate(fcinfo, batch.event[i].id);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(is_new, batch.count, BOOLOID, 1, true, TYPALIGN_CHAR));
}

// is_processed(consumer, event_id) returns bool
ONCEQ_FUNCTION(onceq_is_processed)
{
	base::require_server();
	Datum const event = event_argument(fcinfo);
	Datum values[] = {Int32GetDatum(consumer_argument(fcinfo, 0, ACL_SELECT)), event};
	PG_RETURN_BOOL(has_row(look_up, values));
}

// forget(consumer, event_id) returns bool
ONCEQ_FUNCTION(onceq_forget)
{
	base::require_writable("onceq.forget()");
	Datum const event = event_argument(fcinfo);
	Datum values[] = {Int32GetDatum(consumer_argument(fcinfo, 0, ACL_DELETE)), event};
	PG_RETURN_BOOL(has_row(take_back, values));
}

} // namespace onceq::ledger
