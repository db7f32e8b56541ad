// SPDX-License-Identifier: PostgreSQL
#include <algorithm>

#include "worker/archiver.hpp"

#include "archive/archive.hpp"
#include "archive/handover.hpp"
#include "base/settings.hpp"
#include "base/wall.hpp"
#include "worker/archivers.hpp"
#include "worker/launch.hpp"
#include "worker/session.hpp"

extern "C" {
#include <nodes/parsenodes.h>
#include <nodes/pg_list.h>
#include <parser/parser.h>
#include <pgstat.h>
#include <postmaster/interrupt.h>
#include <storage/ipc.h>
#include <storage/proc.h>
#include <tcop/dest.h>
#include <tcop/tcopprot.h>
#include <tcop/utility.h>
#include <utils/acl.h>
#include <utils/guc.h>
#include <utils/memutils.h>
#include <utils/portal.h>
#include <utils/snapmgr.h>
#include <utils/timeout.h>
}

namespace onceq::worker {

namespace {

// A policy with more to do than this lets the others have their turn.
constexpr core::Microseconds patience = 60 * core::microseconds_per_second;

// Between two looks whether there is a process, or something due.
constexpr core::Microseconds look_again = core::microseconds_per_second;

struct Process
{
	int32 place;
	Oid role;
	Oid extension;
	bool over; // the extension is not there, or somebody is about to drop it
	char database[NAMEDATALEN];
	MemoryContext round; // what lasts longer than a transaction
};

constinit Process process{};

// ---- transactions

void
name_process(void *)
{
	errcontext("onceq archiver for database \"%s\"", process.database);
}

void
require_extension()
{
	if (lock_extension(process.extension) == Extension::present)
		return;
	process.over = true;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("extension onceq is being changed or dropped")));
}

void
execute_step(archive::Step step, void *argument)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	require_extension();
	enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	PushActiveSnapshot(GetTransactionSnapshot());
	step(argument);
	PopActiveSnapshot();
	disable_timeout(STATEMENT_TIMEOUT, false);
	CommitTransactionCommand();
}

// The command may end the transaction and begin others, so what it needs is kept elsewhere.
void
execute_command(char const *sql, Oid role)
{
	SetUserIdAndSecContext(role, 0);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(PortalContext);
	auto *const statement = makeNode(PlannedStmt);
	statement->commandType = CMD_UTILITY;
	statement->utilityStmt = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT))->stmt;
	ProcessUtility(statement, sql, false, PROCESS_UTILITY_TOPLEVEL, nullptr, nullptr, None_Receiver, nullptr);
	while (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	SetUserIdAndSecContext(process.role, 0);
	MemoryContextReset(PortalContext);
}

base::Failure
clean_up_after_error(MemoryContext context)
{
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(context);
	ErrorData *const error = CopyErrorData();
	base::Failure const failure = base::failure_of(error);
	if (!process.over)
		EmitErrorReport();
	FreeErrorData(error);
	AbortCurrentTransaction();
	FlushErrorState();
	// After a command it is the role of its last transaction.
	SetUserIdAndSecContext(process.role, 0);
	MemoryContextReset(PortalContext);
	return failure;
}

// One of the two: a step, or a command.
struct Work
{
	archive::Step step;
	void *argument;
	char const *sql;
	Oid role;
};

bool
attempt(Work const &work, base::Failure &failure)
{
	MemoryContext const context = CurrentMemoryContext;
	ErrorContextCallback frame{.previous = error_context_stack, .callback = name_process, .arg = nullptr};
	volatile bool done = false;

	error_context_stack = &frame;
	pgstat_report_activity(STATE_RUNNING, work.sql != nullptr ? work.sql : "archiving");
	PG_TRY();
	{
		if (work.sql != nullptr)
			execute_command(work.sql, work.role);
		else
			execute_step(work.step, work.argument);
		done = true;
	}
	PG_CATCH();
	{
		// Not raised again: AbortCurrentTransaction has cleaned up, as PostgresMain does it.
		failure = clean_up_after_error(context);
	}
	PG_END_TRY();
	error_context_stack = frame.previous;
	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_IDLE, nullptr);
	pgstat_report_stat(false);
	return done;
}

bool
carry_out(archive::Step step, void *argument, base::Failure &failure)
{
	return attempt({step, argument, nullptr, InvalidOid}, failure);
}

bool
command(char const *sql, Oid role, base::Failure &failure)
{
	return attempt({nullptr, nullptr, sql, role}, failure);
}

bool
is_over()
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	return process.over;
}

// ---- the process

struct Due
{
	List *sources;
	List *queues;
};

void
find_due(void *argument)
{
	Due &due = *static_cast<Due *>(argument);
	List *const sources = archive::due_sources();
	List *const queues = archive::due_handovers();
	MemoryContext const transaction = MemoryContextSwitchTo(process.round);
	due.sources = list_copy(sources);
	due.queues = list_copy(queues);
	MemoryContextSwitchTo(transaction);
}

// Each queue and each policy that is due, once. What is due by then is for the next process: so one that always fails
// does not keep the others waiting.
void
take_round()
{
	constexpr archive::Means means{carry_out, command, is_over, patience};
	Due due{NIL, NIL};
	base::Failure failure;
	process.round = AllocSetContextCreate(TopMemoryContext, "onceq archiver", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(process.round);
	carry_out(find_due, &due, failure);
	ListCell *cell;
	foreach (cell, due.queues)
		if (!is_over())
			archive::run_handover(lfirst_int(cell), means);
	foreach (cell, due.sources)
		if (!is_over())
			archive::run_policy(lfirst_oid(cell), means, false);
}

void
leave(int, Datum)
{
	leave_archiver(process.place);
}

Datum
archiver_body(FunctionCallInfo)
{
	LaunchOrder order;
	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	process.place = order.slot;
	process.role = order.role;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	// Registered before the session starts, it runs after the session has ended.
	on_shmem_exit(leave, 0);
	if (!enter_archiver({order.slot, order.generation}))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();

	open_session(order.database, order.role, "onceq archiver");
	// As autovacuum does, to leave the disks to those who wait for them.
	SetConfigOption("vacuum_cost_delay", "2ms", PGC_SUSET, PGC_S_OVERRIDE);
	// Of a wait for transactions to end, which keeps nobody waiting. Batches have one of their own.
	SetConfigOption("lock_timeout", "10s", PGC_SUSET, PGC_S_OVERRIDE);
	process.extension = find_extension(process.database);
	if (!OidIsValid(process.extension))
		proc_exit(0);
	PortalContext = AllocSetContextCreate(TopMemoryContext, "onceq command", ALLOCSET_DEFAULT_SIZES);
	take_round();
	proc_exit(0);
}

} // namespace

core::Microseconds
start_archiver()
{
	if (base::settings.worker_passive)
		return look_again;
	core::Microseconds const wait = std::min(archive::until_work(), archive::until_handover());
	if (wait > 0)
		return wait;
	ArchiverPlace place;
	if (!book_archiver(MyDatabaseId, place))
		return look_again;
	LaunchOrder const order{place.place, place.generation, MyDatabaseId, get_role_oid("onceq_worker", false)};
	BackgroundWorker worker;
	describe_process(worker, "onceq archiver", "onceq_archiver_main");
	worker.bgw_restart_time = BGW_NEVER_RESTART;
#ifdef BGWORKER_INTERRUPTIBLE
	worker.bgw_flags |= BGWORKER_INTERRUPTIBLE;
#endif
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "onceq archiver for database %u", MyDatabaseId);
	memcpy(worker.bgw_extra, &order, sizeof(order));
	if (!RegisterDynamicBackgroundWorker(&worker, nullptr))
		forget_archiver(place);
	return look_again;
}

} // namespace onceq::worker

extern "C" {
PGDLLEXPORT void onceq_archiver_main(Datum);
}

void
onceq_archiver_main(Datum)
{
	onceq::base::wall("onceq_archiver_main", onceq::worker::archiver_body, nullptr);
}
