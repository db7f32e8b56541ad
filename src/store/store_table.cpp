// SPDX-License-Identifier: PostgreSQL
// The tables of segments by number, and what a backend remembers of them.
#include "store/segment_name.hpp"
#include "store/store.hpp"

extern "C" {
#include <access/table.h>
#include <catalog/namespace.h>
#include <storage/lmgr.h>
#include <utils/inval.h>
#include <utils/lsyscache.h>
}

namespace onceq::store {

namespace {

struct Entry
{
	int32 queue; // 0: empty
	core::SegmentNumber number;
	Tables tables;
};

constexpr uint64 entries = 64;

struct Memory
{
	Entry entry[entries];
	uint64 changes; // invalidations so far
	bool is_watching;
};
constinit Memory memory{};

void
note_change(Datum, Oid relation)
{
	memory.changes++;
	for (Entry &entry : memory.entry)
		if (relation == InvalidOid || relation == entry.tables.jobs || relation == entry.tables.outcomes ||
			relation == entry.tables.results)
			entry = Entry{};
}

Entry &
entry_for(int32 queue, core::SegmentNumber number)
{
	return memory.entry[(static_cast<uint64>(queue) * 7 + static_cast<uint64>(number)) % entries];
}

Oid
find_oid(Oid schema, char letter, SegmentName const &segment, char const *suffix)
{
	char name[NAMEDATALEN];
	snprintf(name, sizeof(name), "%c%s%s", letter, segment.text, suffix);
	return get_relname_relid(name, schema);
}

Tables
look_up(int32 queue, core::SegmentNumber number)
{
	Oid const schema = get_namespace_oid("onceq_data", true);
	if (!OidIsValid(schema))
		return {};
	SegmentName const name = segment_name(queue, number);
	Tables const tables = {
		.jobs = find_oid(schema, 'j', name, ""),
		.jobs_by_id = find_oid(schema, 'j', name, "_id"),
		.jobs_by_due = find_oid(schema, 'j', name, "_due"),
		.jobs_by_key = find_oid(schema, 'j', name, "_key"),
		.outcomes = find_oid(schema, 'o', name, ""),
		.outcomes_by_id = find_oid(schema, 'o', name, "_id"),
		.outcomes_by_ack = find_oid(schema, 'o', name, "_ack"),
		.outcomes_by_due = find_oid(schema, 'o', name, "_due"),
		.results = find_oid(schema, 'r', name, ""),
		.results_by_id = find_oid(schema, 'r', name, "_id"),
	};
	bool const complete = OidIsValid(tables.jobs) && OidIsValid(tables.jobs_by_id) && OidIsValid(tables.jobs_by_due) &&
						  OidIsValid(tables.jobs_by_key) && OidIsValid(tables.outcomes) &&
						  OidIsValid(tables.outcomes_by_id) && OidIsValid(tables.outcomes_by_ack) &&
						  OidIsValid(tables.outcomes_by_due) && OidIsValid(tables.results) &&
						  OidIsValid(tables.results_by_id);
	return complete ? tables : Tables{};
}

} // namespace

Tables
find_tables(int32 queue, core::SegmentNumber number)
{
	Entry &entry = entry_for(queue, number);
	if (entry.queue == queue && entry.number == number)
		return entry.tables;
	if (!memory.is_watching)
	{
		CacheRegisterRelcacheCallback(note_change, Datum{0});
		memory.is_watching = true;
	}
	// What changes while it is looked up must not be remembered.
	uint64 const changes = memory.changes;
	Tables const tables = look_up(queue, number);
	if (OidIsValid(tables.jobs) && changes == memory.changes)
		entry = {queue, number, tables};
	return tables;
}

namespace {

OpenTable
open_own_table(int32 queue, core::SegmentNumber number, Oid Tables::*table, LOCKMODE mode, Wait wait)
{
	Oid const oid = find_tables(queue, number).*table;
	if (!OidIsValid(oid) || (wait == Wait::no && !ConditionalLockRelationOid(oid, mode)))
		return {};
	Relation const opened = try_table_open(oid, wait == Wait::yes ? mode : NoLock);
	if (opened == nullptr)
		return {};
	// Looked up again: with the lock came the news of what changed before.
	Tables const tables = find_tables(queue, number);
	if (tables.*table == oid)
		return {opened, tables};
	table_close(opened, mode); // its name is another one now: remains
	return {};
}

} // namespace

OpenTable
open_table(int32 queue, core::SegmentNumber number, Oid Tables::*table, LOCKMODE mode, Wait wait)
{
	OpenTable const own = open_own_table(queue, number, table, mode, wait);
	bool const appends_jobs = table == &Tables::jobs && mode == RowExclusiveLock;
	if (own.table != nullptr || appends_jobs || number <= stay)
		return own;
	// Nothing but the end of its segment lets a backend forget it: but it may not have heard yet of one made.
	AcceptInvalidationMessages();
	OpenTable const again = open_own_table(queue, number, table, mode, wait);
	return again.table != nullptr ? again : open_own_table(queue, stay, table, mode, wait);
}

} // namespace onceq::store
