// SPDX-License-Identifier: PostgreSQL
// The worker of one database: runs the chores, each in a transaction of its own, until the extension
// is gone or it is asked to leave.
#include <algorithm>

#include "core/backoff.hpp"
#include "core/time.hpp"

#include "base/clock.hpp"
#include "base/settings.hpp"
#include "base/wall.hpp"
#include "board/board.hpp"
#include "board/journal.hpp"
#include "notify/slots.hpp"
#include "notify/wait_event.hpp"
#include "worker/chores.hpp"
#include "worker/launch.hpp"
#include "worker/report.hpp"
#include "worker/session.hpp"

extern "C" {
#include <common/pg_prng.h>
#include <pgstat.h>
#include <postmaster/interrupt.h>
#include <storage/ipc.h>
#include <storage/latch.h>
#include <storage/proc.h>
#include <utils/guc.h>
#include <utils/memutils.h>
#include <utils/snapmgr.h>
#include <utils/timeout.h>
}

namespace onceq::worker {

namespace {

constexpr core::Backoff chore_backoff{
	.base = core::microseconds_per_second,
	.factor = 2,
	.max = 60 * core::microseconds_per_second,
	.jitter = 0.1,
};

// Somebody is about to drop the extension, or changes it: it will be over, or the extension gone.
constexpr core::Microseconds busy_nap = core::microseconds_per_second / 10;

// How long a chore may go on when the worker has been asked to end, at most.
constexpr int patience_ms = 1000;
constexpr int farewell_patience_ms = 3000;

constinit notify::WaitEvent worker_main{"OnceqWorkerMain", 0};

struct Worker
{
	bool attached; // to its slot
	int slot;
	Oid extension;
	char database[NAMEDATALEN]; // its name when the worker started
	TimeoutId patience;
	notify::Ending ending; // what to tell the table
	core::Monotonic due[chores_max];
	int failures[chores_max]; // in a row
};

// What the transaction of one chore came to; survives a jump out of it.
struct Attempt
{
	Chore const *chore;
	Extension extension;
	bool failed;
	core::Microseconds leave_alone;
	char error[error_text_max];
};

constinit Worker worker{};
constinit Attempt attempt{};

// ---- Coming and going

void
leave_slot(int, Datum)
{
	if (worker.attached)
		notify::detach(worker.slot, worker.ending);
}

// Signal handlers. The parameters they get differ between versions of PostgreSQL.

// Until the session stands there is nothing to finish, and perhaps a wait for the lock of a DROP
// DATABASE to get out of.
constexpr auto terminate_while_connecting = [](auto...) {
	int const saved_errno = errno;
	worker.ending = notify::Ending::asked;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
	errno = saved_errno;
};

constexpr auto terminate = [](auto...) {
	int const saved_errno = errno;
	worker.ending = notify::Ending::asked;
	ShutdownRequestPending = true;
	SetLatch(MyLatch);
	errno = saved_errno;
};

// A timeout's handler: a chore that goes on after the worker has been asked to end is cancelled.
void
lose_patience()
{
	if (!ShutdownRequestPending)
		return;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

void
start_session(LaunchOrder const &order)
{
	open_session(order.database, order.role, "onceq worker");
	worker.patience = RegisterTimeout(USER_TIMEOUT, lose_patience);
	pqsignal(SIGTERM, terminate);
}

// ---- One chore

Datum
run_chore(FunctionCallInfo)
{
	attempt.leave_alone = attempt.chore->run();
	return 0;
}

// Without a chore it only looks whether the extension is still there.
void
carry_out()
{
	bool const is_farewell = attempt.chore != nullptr && attempt.chore->duty == Duty::farewell;
	int const patience = is_farewell ? farewell_patience_ms : patience_ms;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	enable_timeout_every(worker.patience, TimestampTzPlusMilliseconds(GetCurrentStatementStartTimestamp(), patience),
						 patience);
	attempt.extension = lock_extension(worker.extension);
	if (attempt.extension == Extension::present && attempt.chore != nullptr)
	{
		pgstat_report_activity(STATE_RUNNING, attempt.chore->name);
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
		PushActiveSnapshot(GetTransactionSnapshot());
		base::wall(attempt.chore->name, run_chore, nullptr);
		PopActiveSnapshot();
		disable_timeout(STATEMENT_TIMEOUT, false);
	}
	// Waiting for a synchronous standby must not delay the end either: patience lasts until here.
	CommitTransactionCommand();
	disable_timeout(worker.patience, false);
}

void
clean_up_after_error()
{
	disable_all_timeouts(false);
	QueryCancelPending = false;

	MemoryContextSwitchTo(TopMemoryContext);
	ErrorData *const error = CopyErrorData();
	strlcpy(attempt.error, error->message != nullptr ? error->message : "", sizeof(attempt.error));
	if (!(ShutdownRequestPending && error->sqlerrcode == ERRCODE_QUERY_CANCELED))
		EmitErrorReport();
	FreeErrorData(error);
	AbortCurrentTransaction();
	FlushErrorState();
}

void
name_chore(void *)
{
	if (attempt.chore != nullptr)
		errcontext("onceq worker for database \"%s\", chore \"%s\"", worker.database, attempt.chore->name);
	else
		errcontext("onceq worker for database \"%s\"", worker.database);
}

// Runs the chore in a transaction; the result is in `attempt`.
void
try_chore(Chore const *chore)
{
	ErrorContextCallback context{.previous = error_context_stack, .callback = name_chore, .arg = nullptr};

	attempt.chore = chore;
	attempt.extension = Extension::present;
	attempt.failed = false;
	error_context_stack = &context;
	PG_TRY();
	{
		carry_out();
	}
	PG_CATCH();
	{
		// Not raised again: AbortCurrentTransaction has cleaned up, as PostgresMain does it.
		attempt.failed = true;
		clean_up_after_error();
	}
	PG_END_TRY();
	error_context_stack = context.previous;

	QueryCancelPending = false; // a timeout that came too late
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_activity(STATE_IDLE, nullptr);
	pgstat_report_stat(false);
}

// ---- A round

void
do_chore(int i)
{
	core::Monotonic const start = base::now_monotonic();
	try_chore(&all_chores()[i]);
	core::Monotonic const end = base::now_monotonic();
	core::Microseconds const duration = end.us - start.us;

	if (attempt.failed)
	{
		worker.failures[i]++;
		core::Microseconds const delay =
			core::backoff_delay(chore_backoff, worker.failures[i], pg_prng_double(&pg_global_prng_state));
		worker.due[i] = end + delay;
		if (!ShutdownRequestPending)
			report_failure(worker.slot, i, duration, delay, attempt.error);
	}
	else if (attempt.extension == Extension::present)
	{
		worker.failures[i] = 0;
		worker.due[i] = end + attempt.leave_alone;
		report_success(worker.slot, i, duration, attempt.leave_alone);
	}
}

// Whether the worker does this chore by itself; what a passive one was asked to do, and failed, it does again.
bool
is_own_duty(int i)
{
	Chore const &chore = all_chores()[i];
	if (chore.duty == Duty::farewell)
		return false;
	return !base::settings.worker_passive || (chore.is_awaited && worker.failures[i] > 0);
}

// What somebody has asked for.
struct Asked
{
	bool all;
	bool journal;
};

// What is due or asked for; a chore that failed keeps to its back-off.
bool
is_due(int i, Asked asked)
{
	Chore const &chore = all_chores()[i];
	bool const wanted = asked.all || (asked.journal && chore.run == board::keep_journal);
	if (!is_own_duty(i) && !(wanted && chore.is_awaited))
		return false;
	return (wanted && worker.failures[i] == 0) || worker.due[i] <= base::now_monotonic();
}

void
look_for_extension()
{
	try_chore(nullptr);
	if (attempt.failed && !ShutdownRequestPending)
	{
		worker.ending = notify::Ending::failed;
		proc_exit(1);
	}
}

// How long the worker may sleep; attempt.extension tells whether it has anything to work for.
core::Microseconds
take_round(Asked asked)
{
	int const count = static_cast<int>(all_chores().size());
	core::Microseconds nap = base::from_ms(base::settings.worker_naptime_ms);

	look_for_extension();
	for (int i = 0; i < count && !ShutdownRequestPending; i++)
	{
		if (attempt.extension != Extension::present)
			return std::min(nap, busy_nap);
		if (is_due(i, asked))
			do_chore(i);
	}
	core::Monotonic const now = base::now_monotonic();
	for (int i = 0; i < count; i++)
		if (is_own_duty(i))
			nap = std::clamp<core::Microseconds>(worker.due[i].us - now.us, 0, nap);
	return nap;
}

void
say_farewell()
{
	int const count = static_cast<int>(all_chores().size());
	for (int i = 0; i < count; i++)
		if (all_chores()[i].duty == Duty::farewell)
			try_chore(&all_chores()[i]);
}

void
work(bool asked_at_start)
{
	while (!ShutdownRequestPending)
	{
		ResetLatch(MyLatch);
		QueryCancelPending = false; // there is nothing to cancel
		CHECK_FOR_INTERRUPTS();
		Asked asked{notify::take_wake(worker.slot) || asked_at_start, notify::take_journal_wake(worker.slot)};
		asked_at_start = false;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			asked.all = true; // chores may be due sooner now
		}
		core::Microseconds const nap = take_round(asked);
		if (attempt.extension == Extension::gone || attempt.extension == Extension::replaced)
		{
			// To the next extension the next worker comes: this one may remember things of the last.
			if (attempt.extension == Extension::gone)
				board::reap_boards(MyDatabaseId, nullptr);
			worker.ending = attempt.extension == Extension::gone ? notify::Ending::absent : notify::Ending::asked;
			return;
		}
		if (nap > 0)
			WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (nap + 999) / 1000, worker_main);
	}
	// Who holds the worker off wants the database for itself, and at once.
	if (!notify::is_held(worker.slot))
		say_farewell();
}

Datum
worker_body(FunctionCallInfo)
{
	LaunchOrder order;
	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	worker.slot = order.slot;
	worker.ending = notify::Ending::failed;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, terminate_while_connecting);
	// Registered before the session starts, it runs after the session has ended: who waits for the
	// worker to leave wants to see nobody in the database.
	on_shmem_exit(leave_slot, 0);
	worker.attached = notify::attach(order.slot, order.generation);
	if (!worker.attached)
		proc_exit(0);
	BackgroundWorkerUnblockSignals();

	start_session(order);
	// Before the look for the extension: without one, nobody is to be asked for again.
	bool const asked = notify::take_wake(worker.slot);
	worker.extension = find_extension(worker.database);
	if (!OidIsValid(worker.extension))
	{
		board::reap_boards(MyDatabaseId, nullptr);
		worker.ending = notify::Ending::absent;
		proc_exit(0);
	}
	clear_reports(worker.slot);
	notify::confirm(worker.slot);
	work(asked);
	proc_exit(0);
}

} // namespace

} // namespace onceq::worker

extern "C" {
PGDLLEXPORT void onceq_worker_main(Datum);
}

void
onceq_worker_main(Datum)
{
	onceq::base::wall("onceq_worker_main", onceq::worker::worker_body, nullptr);
}
