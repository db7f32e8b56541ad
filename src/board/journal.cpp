// SPDX-License-Identifier: PostgreSQL
#include "board/journal.hpp"

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/owner.hpp"
#include "base/settings.hpp"
#include "board/lease_copy.hpp"
#include "board/transaction.hpp"
#include "notify/notify.hpp"

extern "C" {
#include <access/transam.h>
#include <access/xact.h>
#include <catalog/pg_type.h>
#include <postmaster/bgworker.h>
#include <utils/array.h>
#include <utils/guc.h>
#include <utils/lsyscache.h>
}

namespace onceq::board {

namespace {

constexpr core::Microseconds journal_wait = 10 * core::microseconds_per_second;
constexpr core::Microseconds round_min = 10 * 1000; // with onceq.lease_journal_after = 0
constexpr core::Microseconds ended_look_min = 100 * 1000;

enum class Action
{
	none,
	write,
	clear
};

// What the journal should do about a lease that is not in it, or has released jobs. Requires: B.
Action
action_for(core::LeaseSlot const &lease, core::Wall held_since, bool all)
{
	core::LeaseJournal const journal = lease.journal.load(std::memory_order_relaxed);
	// A row that another session is writing cannot be deleted before it commits.
	if (!lease.released.empty())
		return journal == core::LeaseJournal::writing ? Action::none : Action::clear;
	core::LeaseState const state = lease.state.load(std::memory_order_relaxed);
	if (journal == core::LeaseJournal::wanted)
		return state == core::LeaseState::held || state == core::LeaseState::provisional ? Action::write : Action::none;
	bool const wanted = journal == core::LeaseJournal::none && state == core::LeaseState::held &&
						lease.holder.hold == core::LeaseHold::time && (all || lease.holder.claimed_at <= held_since);
	return wanted ? Action::write : Action::none;
}

// Copies what the journal should have of a lease, and marks it: from here on its release waits for us.
Action
begin_action(core::LeaseSlot &lease, core::Token token, Handle const &handle, core::Wall held_since, bool all,
			 LeaseCopy &copy, core::JobSet &released)
{
	Locked board(handle.index);
	if (!board.stands_for(handle.key) || !core::owns(lease, token))
		return Action::none;
	Action const action = action_for(lease, held_since, all);
	if (action == Action::none)
		return action;
	copy_lease(handle, lease, lease.held - lease.released, copy);
	released = lease.released;
	lease.journal.store(core::LeaseJournal::writing, std::memory_order_release);
	return action;
}

// ---- Rows, many in one statement: claims that wait for them wait for one commit together

// Row number i of all columns is one run of ids.
struct Runs
{
	static constexpr int columns = 12;
	static constexpr int capacity = 1024;
	Datum value[columns][capacity];
	int count;
};

constexpr Oid run_types[Runs::columns] = {INT4OID, INT8OID, INT8OID, INT8OID, INT4OID, INT2OID,
										  INT8OID, BOOLOID, OIDOID,  TEXTOID, INT8OID, INT8OID};
constexpr Oid run_array_types[Runs::columns] = {INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
												INT4ARRAYOID, INT2ARRAYOID, INT8ARRAYOID, BOOLARRAYOID,
												OIDARRAYOID,  TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID};

// A statement planned once in the life of this process.
SPIPlanPtr
planned(SPIPlanPtr &plan, char const *sql, int count, Oid const *types)
{
	if (plan == nullptr)
	{
		plan = SPI_prepare(sql, count, const_cast<Oid *>(types));
		if (plan == nullptr || SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	}
	return plan;
}

Datum
array_of(Datum *values, int count, Oid type)
{
	int16 length;
	bool by_value;
	char align;
	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(values, count, type, length, by_value, align));
}

void
insert_runs(Runs &runs)
{
	static SPIPlanPtr plan = nullptr;

	if (runs.count == 0)
		return;
	Datum arrays[Runs::columns];
	for (int i = 0; i < Runs::columns; i++)
		arrays[i] = array_of(runs.value[i], runs.count, run_types[i]);
	SPI_execute_plan(
		planned(plan,
				"INSERT INTO onceq.lease_journal (queue_id, token, first_id, last_id, attempt, priority, lease,"
				" hold, role, worker, soft_time_limit, hard_time_limit, journalled_at)"
				" SELECT e.queue_id, e.token, e.first_id, e.last_id, e.attempt, e.priority,"
				" e.span * interval '1 microsecond', (CASE WHEN e.session THEN 's' ELSE 't' END)::\"char\","
				" pg_catalog.pg_get_userbyid(e.role), e.worker, nullif(e.soft, 0) * interval '1 microsecond',"
				" nullif(e.hard, 0) * interval '1 microsecond', pg_catalog.clock_timestamp()"
				" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS"
				" e(queue_id, token, first_id, last_id, attempt, priority, span, session, role, worker, soft, hard)"
				" ON CONFLICT DO NOTHING",
				Runs::columns, run_array_types),
		arrays, nullptr, false, 0);
	runs.count = 0;
}

void
add_run(Runs &runs, LeaseCopy const &copy, core::LeasedIds const &ids)
{
	if (runs.count == Runs::capacity)
		insert_runs(runs);
	Datum const row[Runs::columns] = {
		Int32GetDatum(copy.board.key.queue),
		Int64GetDatum(copy.token),
		Int64GetDatum(ids.first),
		Int64GetDatum(ids.last),
		Int32GetDatum(ids.attempt),
		Int16GetDatum(static_cast<int16>(ids.priority)),
		Int64GetDatum(copy.holder.span),
		BoolGetDatum(copy.holder.hold == core::LeaseHold::session),
		ObjectIdGetDatum(copy.holder.role),
		CStringGetTextDatum(copy.holder.worker),
		Int64GetDatum(copy.holder.soft_time_limit),
		Int64GetDatum(copy.holder.hard_time_limit),
	};
	for (int i = 0; i < Runs::columns; i++)
		runs.value[i][runs.count] = row[i];
	runs.count++;
}

// A lease that is, or may be, in the journal.
struct Journalled
{
	core::Token token;
	int32 queue;
};

// By index, whatever the planner thinks of the table: under an old snapshot it is full of dead rows.
void
delete_leases(Journalled const *lease, int count)
{
	static SPIPlanPtr plan = nullptr;
	constexpr Oid types[2] = {INT4ARRAYOID, INT8ARRAYOID};

	if (count == 0)
		return;
	auto *const queues = static_cast<Datum *>(palloc(sizeof(Datum) * count));
	auto *const tokens = static_cast<Datum *>(palloc(sizeof(Datum) * count));
	for (int i = 0; i < count; i++)
	{
		queues[i] = Int32GetDatum(lease[i].queue);
		tokens[i] = Int64GetDatum(lease[i].token);
	}
	Datum arrays[2] = {array_of(queues, count, INT4OID), array_of(tokens, count, INT8OID)};
	for (char const *setting : {"enable_seqscan", "enable_hashjoin", "enable_mergejoin"})
		set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_execute_plan(planned(plan,
							 "DELETE FROM onceq.lease_journal j USING unnest($1, $2) AS e(queue_id, token)"
							 " WHERE j.queue_id = e.queue_id AND j.token = e.token",
							 2, types),
					 arrays, nullptr, false, 0);
}

// ---- What is in the journal, as far as this process knows, so that its end is noticed without reading
// the table

struct Memory
{
	Journalled *lease; // of TopMemoryContext
	int count;
	int capacity;
	core::Monotonic read_at; // when the table was read last
	core::Monotonic looked_at;
	bool in_turn;       // the last turn did not come to its end
	TransactionId turn; // of the last turn, if it wrote
};
constinit Memory memory{};

// Others write to the table, too: onceq.maintain().
constexpr core::Microseconds memory_lasts = 60 * core::microseconds_per_second;

void
remember(core::Token token, int32 queue)
{
	if (memory.count == memory.capacity)
	{
		memory.capacity = Max(memory.capacity * 2, 256);
		Size const size = sizeof(Journalled) * memory.capacity;
		memory.lease = static_cast<Journalled *>(memory.lease != nullptr ? repalloc_huge(memory.lease, size)
																		 : MemoryContextAlloc(TopMemoryContext, size));
	}
	memory.lease[memory.count++] = {token, queue};
}

bool
is_outdated()
{
	bool const failed = memory.in_turn || (TransactionIdIsValid(memory.turn) && !TransactionIdDidCommit(memory.turn));
	bool const alone = MyBgworkerEntry != nullptr; // a session cannot tell what came of its savepoints
	return failed || !alone || memory.read_at.us == 0 || memory.read_at + memory_lasts <= base::now_monotonic();
}

void
read_journal()
{
	memory.count = 0;
	memory.read_at = base::now_monotonic();
	SPI_execute("SELECT DISTINCT queue_id, token FROM onceq.lease_journal", false, 0);
	SPITupleTable *const rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		bool null;
		int32 const queue = DatumGetInt32(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &null));
		remember(DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &null)), queue);
	}
}

// Whether a lease in the journal is over. While its queue has no standing board it is still to be restored; and one that
// was taken away, whose token is another since, is over when it is written that its attempts failed.
bool
has_ended(int32 queue_id, core::Token token)
{
	catalog::Queue const *const queue = catalog::find_queue(queue_id);
	if (queue == nullptr || queue->dropped)
		return true;
	Handle handle;
	if (!find(*queue, handle))
		return false;
	Locked board(handle.index, LW_SHARED);
	if (!board.stands_for(handle.key))
		return false;
	core::LeaseSlot const *const lease = leases().find(token);
	if (lease == nullptr)
		return true;
	core::LeaseState const state = lease->state.load(std::memory_order_acquire);
	return lease->token.load(std::memory_order_acquire) != token && state != core::LeaseState::expiring &&
		   state != core::LeaseState::lost;
}

// Deletes those that ended; not in each turn, for claims may be waiting.
void
delete_ended(bool outdated)
{
	if (outdated)
		read_journal();
	else if (base::now_monotonic() < memory.looked_at + ended_look_min)
		return;
	memory.looked_at = base::now_monotonic();
	int kept = 0;
	auto *const ended =
		static_cast<Journalled *>(palloc_extended(sizeof(Journalled) * Max(memory.count, 1), MCXT_ALLOC_HUGE));
	for (int i = 0; i < memory.count; i++)
	{
		Journalled const lease = memory.lease[i];
		core::LeaseSlot const *const slot = leases().find(lease.token);
		bool const lives = slot != nullptr && slot->token.load(std::memory_order_acquire) == lease.token;
		if (!lives && has_ended(lease.queue, lease.token))
			ended[i - kept] = lease;
		else
			memory.lease[kept++] = lease;
	}
	delete_leases(ended, memory.count - kept);
	memory.count = kept;
	pfree(ended);
}

// ---- One turn

void
write_lease(core::LeaseSlot &lease, core::Wall held_since, bool all, LeaseCopy &copy, Runs &runs)
{
	core::Token const token = lease.token.load(std::memory_order_acquire);
	Handle const board = handle_of(lease.board.load(std::memory_order_relaxed));
	if (token == core::no_token || board.key.database != MyDatabaseId ||
		action_for(lease, held_since, all) == Action::none) // looked up without B: looked at again below
		return;
	// Made before the lease is marked, so that an abort unmarks it.
	Entry *const change = change_at_commit(board, Change::lease_journalled, token);
	core::JobSet released{};
	Action const action = begin_action(lease, token, board, held_since, all, copy, released);
	if (action == Action::clear)
		make_clearing(change, released);
	else if (action == Action::none)
		cancel_change(change);
	FAULT_POINT("journal: after mark");
	if (action == Action::none)
		return;
	ForceSyncCommit();
	Journalled const journalled{token, board.key.queue};
	if (action == Action::clear)
		delete_leases(&journalled, 1);
	else
		remember(token, board.key.queue);
	copy.runs().for_each(copy.jobs, [&](core::LeasedIds const &ids) { add_run(runs, copy, ids); });
}

void
write_leases(bool all)
{
	core::Wall const held_since = base::now_wall() + -base::from_ms(base::settings.lease_journal_after_ms);
	auto *const copy = static_cast<LeaseCopy *>(palloc(sizeof(LeaseCopy)));
	auto *const runs = static_cast<Runs *>(palloc(sizeof(Runs)));
	runs->count = 0;
	for (std::uint32_t i = 0; i < leases().high_water(); i++)
	{
		CHECK_FOR_INTERRUPTS();
		write_lease(leases().slot(i), held_since, all, *copy, *runs);
	}
	insert_runs(*runs);
	FAULT_POINT("journal: after insert");
	pfree(runs);
	pfree(copy);
}

// all: the server stops. Of a database that is not adopted nothing is touched.
void
take_turn(bool all)
{
	if (!catalog::is_adopted())
		return;
	base::AsOwner owner;
	bool const outdated = is_outdated();
	memory.in_turn = true;
	{
		base::SpiScope const spi;
		delete_ended(outdated);
		write_leases(all);
	}
	memory.in_turn = false;
	memory.turn = GetTopTransactionIdIfAny();
	owner.finish();
}

[[noreturn]] void
raise_not_durable()
{
	char const *const hint = notify::absent_worker_hint(MyDatabaseId);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the lease could not be made durable in time"),
			 errdetail("The onceq worker has not written it; no job was claimed."),
			 errhint("%s", hint != nullptr ? hint : "Try again; see onceq.workers.")));
	pg_unreachable();
}

} // namespace

core::Microseconds
keep_journal()
{
	take_turn(false);
	core::Microseconds const next = Max(base::from_ms(base::settings.lease_journal_after_ms) / 2, round_min);
	return memory.count > 0 ? Min(next, core::microseconds_per_second) : next;
}

core::Microseconds
journal_at_shutdown()
{
	take_turn(true);
	return 0;
}

void
wait_until_journalled(Handle const &board, core::Token token)
{
	core::LeaseSlot &lease = *leases().find(token);
	core::Monotonic const deadline = base::now_monotonic() + journal_wait;
	notify::wake_worker_to_journal(MyDatabaseId);
	ConditionVariablePrepareToSleep(&changed(board.index));
	// Of a queue that is dropped meanwhile the lease is gone.
	for (bool in_time = true; core::owns(lease, token);)
	{
		if (lease.journal.load(std::memory_order_acquire) == core::LeaseJournal::written)
			break;
		if (!in_time)
			raise_not_durable();
		FAULT_POINT("wait: for the journal");
		in_time = wait_for_change(board.index, deadline);
	}
	ConditionVariableCancelSleep();
}

} // namespace onceq::board
