// SPDX-License-Identifier: PostgreSQL
// Finding queues, and what a backend remembers of them.
//
// Invalidation only counts: what it makes outdated is forgotten at the next look, so that a Queue that
// was returned stays valid whatever PostgreSQL does in between. A row that this transaction wrote is
// never remembered, because its abort need not tell us which.
#include "core/queue_name.hpp"

#include "base/make_room.hpp"
#include "base/scope.hpp"
#include "catalog/catalog.hpp"
#include "catalog/identity.hpp"
#include "catalog/table.hpp"

extern "C" {
#include <access/htup_details.h>
#include <common/hashfn.h>
#include <mb/pg_wchar.h>
#include <storage/lmgr.h>
#include <utils/fmgroids.h>
#include <utils/hsearch.h>
#include <utils/inval.h>
#include <utils/memutils.h>
}

namespace onceq::catalog {

namespace {

struct Name
{
	char text[sizeof(Queue::name)]; // zero-padded
};

struct NamedQueue
{
	Name name; // hash key
	Queue queue;
};

struct NumberedQueue
{
	int32 id; // hash key
	Queue queue;
};

struct Memory
{
	MemoryContext context;
	HTAB *by_name;
	HTAB *by_id;
	Oid table;           // onceq.queue, whose invalidation is watched
	uint64 changes;      // invalidations so far
	uint64 forgotten_at; // value of changes when the memory was emptied
	bool is_watching;
};
constinit Memory memory{};

// A queue that must not be remembered, until the next call.
constinit Queue unremembered{};

void
note_change(Datum, Oid relation)
{
	if (relation == InvalidOid || relation == memory.table)
		memory.changes++;
}

HTAB *
create_table(char const *name, Size key_size, Size entry_size)
{
	HASHCTL control{};
	control.keysize = key_size;
	control.entrysize = entry_size;
	control.hcxt = memory.context;
	return hash_create(name, 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
forget_all()
{
	memory.by_name = nullptr;
	memory.by_id = nullptr;
	if (memory.context == nullptr)
		memory.context = AllocSetContextCreate(CacheMemoryContext, "onceq queues", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(memory.context);
	memory.by_id = create_table("onceq queues by id", sizeof(int32), sizeof(NumberedQueue));
	memory.by_name = create_table("onceq queues by name", sizeof(Name), sizeof(NamedQueue));
}

void
refresh()
{
	if (!memory.is_watching)
	{
		CacheRegisterRelcacheCallback(note_change, Datum{0});
		memory.is_watching = true;
	}
	if (memory.by_name != nullptr && memory.forgotten_at == memory.changes)
		return;
	uint64 const changes = memory.changes;
	forget_all();
	memory.forgotten_at = changes;
}

template <typename Entry, typename Key>
Queue const *
recall(HTAB *table, Key const &key)
{
	auto *const entry = static_cast<Entry *>(hash_search(table, &key, HASH_FIND, nullptr));
	return entry != nullptr ? &entry->queue : nullptr;
}

template <typename Entry, typename Key>
Queue const *
remember(HTAB *table, Key const &key, Queue const &queue)
{
	auto *const entry = static_cast<Entry *>(hash_search(table, &key, HASH_ENTER, nullptr));
	entry->queue = queue;
	return &entry->queue;
}

// ---- reading a row

core::Microseconds
span(Datum interval)
{
	Interval const *const value = DatumGetIntervalP(interval);
	int64 const days = int64{value->month} * DAYS_PER_MONTH + value->day;
	return days * USECS_PER_DAY + value->time;
}

// Whether the table was made by this transaction, savepoints that were undone not counted.
bool
is_created_here(Oid table)
{
	if (!OidIsValid(table))
		return false;
	Relation const relation = RelationIdGetRelation(table);
	if (!RelationIsValid(relation))
		return false;
	bool const created_here = relation->rd_createSubid != InvalidSubTransactionId;
	RelationClose(relation);
	return created_here;
}

// The incarnation is mixed with the anchor's oid: a queue whose tables were restored in the same
// database has other jobs in the same numbers, and must not meet the board of the old one.
int64
incarnation_of(Datum stored, Oid anchor)
{
	return static_cast<int64>(hash_combine64(static_cast<uint64>(DatumGetInt64(stored)), murmurhash32(anchor)));
}

void
read_limits(Queue &queue, Datum const *values, bool const *nulls)
{
	auto const span_or_none = [&](QueueColumn column) { return nulls[column - 1] ? 0 : span(values[column - 1]); };
	auto const number_or_none = [&](QueueColumn column) {
		return nulls[column - 1] ? 0 : DatumGetInt32(values[column - 1]);
	};
	char on_dead_key[16];
	text_to_cstring_buffer(DatumGetTextPP(values[queue_on_dead_key - 1]), on_dead_key, sizeof(on_dead_key));
	queue.soft_time_limit = span_or_none(queue_soft_time_limit);
	queue.hard_time_limit = span_or_none(queue_hard_time_limit);
	queue.continues_after_dead_key = strcmp(on_dead_key, "continue") == 0;
	queue.max_running = number_or_none(queue_max_running);
	queue.max_running_per_key = number_or_none(queue_max_running_per_key);
	queue.rate_limit = number_or_none(queue_rate_limit);
	queue.rate_period = span_or_none(queue_rate_period);
	queue.rate_burst = number_or_none(queue_rate_burst);
	queue.durable_leases = DatumGetBool(values[queue_durable_leases - 1]);
	queue.priority_ageing = span_or_none(queue_priority_ageing);
	queue.has_dead_letter_queue = !nulls[queue_dead_letter_queue - 1];
	queue.has_archive = !nulls[queue_archive_to - 1];
}

struct Reading
{
	Queue queue;
	bool wants_dropped;
	bool found;
	bool written_here; // the row is of this transaction
};

bool
read_row(HeapTuple row, TupleDesc desc, void *argument)
{
	Reading &reading = *static_cast<Reading *>(argument);
	Queue &queue = reading.queue;
	Datum values[queue_column_count];
	bool nulls[queue_column_count];
	deform(row, desc, queue_column_count, values, nulls);
	queue.dropped = !nulls[queue_dropped_at - 1];
	if (queue.dropped && !reading.wants_dropped)
		return true;

	auto const value = [&values](QueueColumn column) { return values[column - 1]; };
	text_to_cstring_buffer(DatumGetTextPP(value(queue_name)), queue.name, sizeof(queue.name));
	queue.id = DatumGetInt32(value(queue_id));
	queue.lease = span(value(queue_lease));
	queue.max_attempts = DatumGetInt32(value(queue_max_attempts));
	queue.backoff = {span(value(queue_backoff_base)), DatumGetFloat8(value(queue_backoff_factor)),
					 span(value(queue_backoff_max)), DatumGetFloat8(value(queue_backoff_jitter))};
	queue.retention = span(value(queue_retention));
	queue.segment_age = span(value(queue_segment_age));
	read_limits(queue, values, nulls);
	queue.paused = DatumGetBool(value(queue_paused));
	queue.anchor = find_anchor(queue.id);
	queue.incarnation = incarnation_of(value(queue_incarnation), queue.anchor);
	reading.written_here = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data));
	queue.created_here = reading.written_here && is_created_here(queue.anchor);
	reading.found = true;
	return false;
}

// A change that commits after the scan's snapshot is announced to us after it was taken; then the row
// may be outdated already, and is not remembered.
Reading
read_queue(char const *index, AttrNumber column, RegProcedure equal, Datum key, bool wants_dropped, bool &may_remember)
{
	memory.table = catalog_oid("queue");
	base::RelationScope const table(memory.table, AccessShareLock);
	refresh();
	Reading reading{};
	reading.wants_dropped = wants_dropped;
	scan_rows(table, index, column, equal, key, read_row, &reading);
	may_remember = reading.found && !reading.written_here && OidIsValid(reading.queue.anchor) &&
				   memory.changes == memory.forgotten_at;
	return reading;
}

// Whether the text could be the name of a queue at all.
bool
copy_name(text const *name, Name &copy)
{
	std::string_view const view(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	copy = Name{};
	if (!core::is_queue_name(view))
		return false;
	memcpy(copy.text, view.data(), view.size());
	return true;
}

[[noreturn]] void
raise_no_such_queue(text const *name)
{
	char const *const bytes = VARDATA_ANY(name);
	int const length = VARSIZE_ANY_EXHDR(name);
	int const shown = pg_mbcliplen(bytes, length, core::queue_name_length_max);
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("queue \"%.*s%s\" does not exist", shown, bytes, shown < length ? "..." : ""),
					errhint("Queues are made by onceq.create_queue(); onceq.queues shows them.")));
	pg_unreachable();
}

} // namespace

Queue const *
find_live_queue(text const *name)
{
	// A statement in the middle of a transaction may have taken no lock that would do it.
	AcceptInvalidationMessages();
	require_adopted();
	Name key;
	if (!copy_name(name, key))
		return nullptr;
	refresh();
	if (Queue const *const known = recall<NamedQueue>(memory.by_name, key))
		return known;
	bool may_remember;
	Reading const reading =
		read_queue("queue_name", queue_name, F_TEXTEQ, CStringGetTextDatum(key.text), false, may_remember);
	if (!reading.found)
		return nullptr;
	if (may_remember)
		return remember<NamedQueue>(memory.by_name, key, reading.queue);
	unremembered = reading.queue;
	return &unremembered;
}

Queue const &
find_queue(text const *name)
{
	Queue const *const queue = find_live_queue(name);
	if (queue == nullptr)
		raise_no_such_queue(name);
	return *queue;
}

Queue const *
find_queue(int32 id)
{
	AcceptInvalidationMessages();
	require_adopted();
	refresh();
	if (Queue const *const known = recall<NumberedQueue>(memory.by_id, id))
		return known;
	bool may_remember;
	Reading const reading = read_queue("queue_pkey", queue_id, F_INT4EQ, Int32GetDatum(id), true, may_remember);
	if (!reading.found)
		return nullptr;
	if (may_remember)
		return remember<NumberedQueue>(memory.by_id, id, reading.queue);
	unremembered = reading.queue;
	return &unremembered;
}

Queue const &
lock_queue(text const *name)
{
	Oid const table = catalog_oid("queue");
	for (;;)
	{
		// Before the lock is held the queue may be dropped, and another one get its name.
		int32 const id = find_queue(name).id;
		LockDatabaseObject(table, static_cast<Oid>(id), 0, ShareUpdateExclusiveLock);
		Queue const &queue = find_queue(name);
		if (queue.id == id)
			return queue;
	}
}

namespace {

struct TextReading
{
	QueueColumn column;
	text *value;
};

bool
read_text(HeapTuple row, TupleDesc desc, void *argument)
{
	auto &reading = *static_cast<TextReading *>(argument);
	bool is_null;
	Datum const value = heap_getattr(row, reading.column, desc, &is_null);
	reading.value = is_null ? nullptr : DatumGetTextPCopy(value);
	return false;
}

text *
text_option(int32 queue, QueueColumn column)
{
	TextReading reading{column, nullptr};
	base::RelationScope const table(catalog_oid("queue"), AccessShareLock);
	scan_rows(table, "queue_pkey", queue_id, F_INT4EQ, Int32GetDatum(queue), read_text, &reading);
	return reading.value;
}

} // namespace

text *
dead_letter_queue_of(int32 queue)
{
	return text_option(queue, queue_dead_letter_queue);
}

text *
archive_of(int32 queue)
{
	return text_option(queue, queue_archive_to);
}

namespace {

bool
add_id(HeapTuple row, TupleDesc desc, void *argument)
{
	auto &ids = *static_cast<QueueIds *>(argument);
	base::make_room(ids.id, ids.count);
	bool is_null;
	ids.id[ids.count++] = DatumGetInt32(heap_getattr(row, queue_id, desc, &is_null));
	return true;
}

} // namespace

QueueIds
all_queues()
{
	QueueIds ids{nullptr, 0};
	base::RelationScope const table(catalog_oid("queue"), AccessShareLock);
	scan_rows(table, nullptr, 0, InvalidOid, Datum{0}, add_id, &ids);
	return ids;
}

} // namespace onceq::catalog
