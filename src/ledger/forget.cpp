// SPDX-License-Identifier: PostgreSQL
// What is past its retention goes, in small batches.
#include <algorithm>

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "catalog/catalog.hpp"
#include "ledger/consumer.hpp"
#include "ledger/ledger.hpp"
#include "ledger/plan.hpp"
#include "ledger/redelivery.hpp"

extern "C" {
#include <catalog/pg_type.h>
#include <storage/lmgr.h>
#include <utils/acl.h>
}

namespace onceq::ledger {

namespace {

constexpr core::Microseconds idle = 60 * core::microseconds_per_second;
constexpr core::Microseconds busy = core::microseconds_per_second / 10;
constexpr int batch_size = 1000; // as in the statement
constexpr int batches_per_run = 10;

// Oldest first. A row that somebody has locked, for example to forget it himself, is left to the next run.
constinit Plan forget_batch{
	"DELETE FROM onceq.processed_event WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM onceq.processed_event WHERE consumer_id = $1 AND processed_at >= $2 AND processed_at < $3"
	" ORDER BY processed_at LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING processed_at",
	3,
	{INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	nullptr};

// Where the next run begins. While somebody keeps an old snapshot the entries of what was deleted stay in
// the index; who begins behind them need not walk over them once per batch. Only a hint: each sweep over
// the consumers begins at the beginning.
struct Place
{
	int32 consumer;
	core::Wall at;
};
constexpr Place beginning{0, core::wall_always};
constinit Place place{beginning};

// Deletes a batch and moves on; whether there may be more.
bool
forget_some(int32 consumer, core::Wall before)
{
	core::Wall last = place.consumer == consumer ? place.at : core::wall_always;
	Datum values[] = {Int32GetDatum(consumer), TimestampTzGetDatum(last.us), TimestampTzGetDatum(before.us)};
	Execution execution(forget_batch, values);
	FAULT_POINT("forget: after batch");
	for (uint64 i = 0; i < execution.rows(); i++)
		last = std::max(last, core::Wall{DatumGetTimestampTz(execution.value(i, 1))});
	bool const is_full = execution.rows() == batch_size;
	execution.finish();
	place = {consumer, last};
	return is_full;
}

// Who restores a dump grants at its very end, and then the table has to be there. Administrators have privileges on
// each from the start.
bool
may_be_half_restored(Oid table)
{
	bool is_missing = false;
	Oid const administrators = get_role_oid("onceq_admin", true);
	return !catalog::is_adopted() &&
		   pg_class_aclcheck_ext(table, administrators, ACL_INSERT, &is_missing) != ACLCHECK_OK && !is_missing;
}

// The last rows, and the consumer; nothing if somebody may just be marking. With the lock in hand no
// transaction is left that could have marked.
void
try_remove(Consumer const &consumer)
{
	if (IsolationUsesXactSnapshot()) // CALL in a transaction that may not see the last marks
		return;
	Oid const table = find_privileges(consumer.id);
	// Before the lock, which would be in the way of the restore.
	if (may_be_half_restored(table))
		return;
	if (OidIsValid(table) && !ConditionalLockRelationOid(table, AccessExclusiveLock))
		return;
	place = beginning;
	if (forget_some(consumer.id, core::wall_never))
		return;
	FAULT_POINT("forget: before removal");
	remove_consumer(consumer.id);
}

// False: there is more to do. batches: how many may still be deleted in this run.
bool
forget_events_of(Consumer const &consumer, core::Wall redelivered_from, int &batches)
{
	Oid const table = find_privileges(consumer.id);
	if (OidIsValid(table) && !ConditionalLockRelationOid(table, ShareUpdateExclusiveLock))
		return true; // somebody else does it
	core::Wall const kept_from = base::now_wall() + -consumer.retention;
	core::Wall const before = consumer.dropped ? core::wall_never : std::min(kept_from, redelivered_from);
	while (batches-- > 0)
		if (!forget_some(consumer.id, before))
		{
			if (consumer.dropped)
				try_remove(consumer);
			return true;
		}
	return false;
}

} // namespace

core::Microseconds
forget_old_events()
{
	// What was restored may still be filled, and granted on; and its jobs may come again, who knows when.
	if (catalog::is_refused())
		return idle;
	Consumers const consumers = all_consumers();
	core::Wall const redelivered_from = consumers.count > 0 ? oldest_redelivery() : core::wall_never;
	int batches = batches_per_run;
	for (int i = 0; i < consumers.count; i++)
	{
		Consumer const &consumer = consumers.consumer[i];
		if (consumer.id < place.consumer)
			continue;
		if (!forget_events_of(consumer, redelivered_from, batches))
			return busy;
		place = {consumer.id + 1, core::wall_always};
	}
	place = beginning;
	return idle;
}

} // namespace onceq::ledger
