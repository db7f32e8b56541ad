// SPDX-License-Identifier: PostgreSQL
// Reading the catalog tables, by index and with a current look.
//
// A catalog snapshot is taken for each scan: it shows what is committed now and what this transaction
// did, in every isolation level, and does not fix the transaction's own snapshot. It is an MVCC
// snapshot, because rows are updated here: SnapshotSelf could pass over both versions of one.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

extern "C" {
#include <access/genam.h>
#include <utils/rel.h>
}

namespace onceq::catalog {

enum QueueColumn : AttrNumber
{
	queue_id = 1,
	queue_name,
	queue_incarnation,
	queue_lease,
	queue_max_attempts,
	queue_backoff_base,
	queue_backoff_factor,
	queue_backoff_max,
	queue_backoff_jitter,
	queue_retention,
	queue_segment_age,
	queue_soft_time_limit,
	queue_hard_time_limit,
	queue_on_dead_key,
	queue_max_running,
	queue_max_running_per_key,
	queue_rate_limit,
	queue_rate_period,
	queue_rate_burst,
	queue_durable_leases,
	queue_priority_ageing,
	queue_dead_letter_queue,
	queue_archive_to,
	queue_paused,
	queue_created_at,
	queue_dropped_at,
	queue_column_count = queue_dropped_at,
};

enum CeilingColumn : AttrNumber
{
	ceiling_queue_id = 1,
	ceiling_ceiling,
	ceiling_step,
	ceiling_raised_at,
	ceiling_column_count = ceiling_raised_at,
};

enum InstallationColumn : AttrNumber
{
	installation_system_identifier = 1,
	installation_database,
	installation_relation,
	installation_column_count = installation_relation,
};

// InvalidOid: there is no such table or index.
Oid find_relation(char const *schema, char const *name);
// InvalidOid: there is no such table or index of schema onceq; the extension is not in this database.
Oid find_catalog_oid(char const *name);
// Raises 55000 instead.
Oid catalog_oid(char const *name);

// The anchor table of a queue; InvalidOid: none.
Oid find_anchor(int32 queue);

// Calls visit for each row whose column (a column of the index) equals the key, until it returns false.
// index nullptr: for each row of the table. table is open and locked.
using VisitRow = bool (*)(HeapTuple row, TupleDesc desc, void *argument);
void scan_rows(Relation table, char const *index, AttrNumber column, RegProcedure equal, Datum key, VisitRow visit,
			   void *argument);

// Raises XX001 if the table has not just so many columns: somebody has altered it by hand.
void require_columns(TupleDesc desc, int columns);
// The columns of a row; raises the same.
void deform(HeapTuple row, TupleDesc desc, int columns, Datum *values, bool *nulls);

// Tells all backends, once this transaction commits, that what they keep of the table is outdated.
void announce_change(char const *table);

} // namespace onceq::catalog
