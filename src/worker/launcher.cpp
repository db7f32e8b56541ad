// SPDX-License-Identifier: PostgreSQL
#include <algorithm>

#include "core/backoff.hpp"
#include "core/time.hpp"

#include "base/clock.hpp"
#include "base/wall.hpp"
#include "board/board.hpp"
#include "notify/slots.hpp"
#include "notify/wait_event.hpp"
#include "worker/launch.hpp"

extern "C" {
#include <access/genam.h>
#include <access/htup_details.h>
#include <access/table.h>
#include <catalog/pg_database.h>
#include <nodes/pg_list.h>
#include <pgstat.h>
#include <postmaster/interrupt.h>
#include <storage/ipc.h>
#include <storage/latch.h>
#include <utils/acl.h>
#include <utils/catcache.h>
#include <utils/guc.h>
#include <utils/memutils.h>
#include <utils/snapmgr.h>
#include <utils/syscache.h>
}

namespace onceq::worker {

namespace {

// How many databases are looked at at once: each takes a background worker for some milliseconds.
constexpr int starts_at_once = 4;

// A look at the table without a reason: a wake-up that got lost in some way costs no more than this.
constexpr core::Microseconds nap_max = 60 * core::microseconds_per_second;

// Without a handle, from the launcher's predecessor, a start is known to have failed only by its age.
constexpr core::Microseconds start_patience = 30 * core::microseconds_per_second;

// A worker needs milliseconds to connect.
constexpr core::Microseconds arrival_patience = 5 * core::microseconds_per_second;

// Boards of databases that were dropped take memory until somebody looks. Who drops one wakes us; whoever else
// does must not make us look all the time.
constexpr core::Microseconds reap_interval = 30 * core::microseconds_per_second;
constexpr core::Microseconds reap_pause = core::microseconds_per_second;

constexpr core::Microseconds complaint_interval = 600 * core::microseconds_per_second;

// Other users of background workers tell nobody when they end.
constexpr core::Backoff no_process_backoff{
	.base = core::microseconds_per_second,
	.factor = 2,
	.max = 10 * core::microseconds_per_second,
	.jitter = 0.1,
};

constinit notify::WaitEvent launcher_main{"OnceqLauncherMain", 0};

struct Launcher
{
	MemoryContext turn;              // what one turn allocates
	BackgroundWorkerHandle **handle; // of the process last started for each slot; nullptr: none
	List *to_look_at;                // oids of databases that may have the extension
	core::Monotonic next_complaint;  // about a full table, at the earliest
	core::Monotonic next_reap;
};

constinit Launcher launcher{};

// ---- What the catalogs say; each in a transaction of its own

bool
is_connectable(Form_pg_database row)
{
#ifdef DATCONNLIMIT_INVALID_DB
	if (row->datconnlimit == DATCONNLIMIT_INVALID_DB)
		return false;
#endif
	return row->datallowconn;
}

List *
all_databases()
{
	List *databases = NIL;

	StartTransactionCommand();
	Relation const catalog = table_open(DatabaseRelationId, AccessShareLock);
	SysScanDesc const scan = systable_beginscan(catalog, InvalidOid, false, nullptr, 0, nullptr);
	while (HeapTuple const tuple = systable_getnext(scan))
	{
		auto const row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
		if (!is_connectable(row))
			continue;
		MemoryContext const outer = MemoryContextSwitchTo(TopMemoryContext);
		databases = lappend_oid(databases, row->oid);
		MemoryContextSwitchTo(outer);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(launcher.turn);
	return databases;
}

struct Target
{
	bool connectable;
	bool may_connect; // the role
	Oid role;         // InvalidOid: there is none
	char name[NAMEDATALEN];
};

bool
may_connect(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, database, role, ACL_CONNECT) == ACLCHECK_OK;
#else
	return pg_database_aclcheck(database, role, ACL_CONNECT) == ACLCHECK_OK;
#endif
}

Target
find_target(Oid database)
{
	Target target{};

	StartTransactionCommand();
	// A commit callback wakes before its backend says what is to be forgotten from caches.
	ResetCatalogCaches();
	HeapTuple const tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (HeapTupleIsValid(tuple))
	{
		auto const row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
		target.connectable = is_connectable(row);
		strlcpy(target.name, NameStr(row->datname), sizeof(target.name));
		ReleaseSysCache(tuple);
		target.role = get_role_oid("onceq_worker", true);
		target.may_connect = OidIsValid(target.role) && may_connect(database, target.role);
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(launcher.turn);
	return target;
}

// Nobody can be connected to a database that is gone, so nobody touches its boards. Returns when to look again.
core::Microseconds
reap_dropped_databases()
{
	core::Monotonic const now = base::now_monotonic();
	if (now < launcher.next_reap)
		return launcher.next_reap.us - now.us;
	launcher.next_reap = now + reap_pause;
	board::Databases const databases = board::databases_of_boards();
	if (databases.count == 0)
		return reap_interval;
	StartTransactionCommand();
	ResetCatalogCaches();
	for (int i = 0; i < databases.count; i++)
		if (!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(databases.oid[i])))
			board::reap_boards(databases.oid[i], nullptr);
	CommitTransactionCommand();
	MemoryContextSwitchTo(launcher.turn);
	return reap_interval;
}

// ---- Starting a worker

void
log_no_process(Target const &target)
{
	ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				  errmsg("no background worker is free for onceq in database \"%s\"", target.name),
				  errhint("You might need to increase max_worker_processes.")));
}

void
log_no_role(Target const &target)
{
	ereport(LOG, (errcode(ERRCODE_UNDEFINED_OBJECT),
				  errmsg("onceq cannot work in database \"%s\": role \"onceq_worker\" does not exist", target.name),
				  errhint("CREATE EXTENSION onceq creates it.")));
}

void
log_no_privilege(Target const &target)
{
	ereport(LOG, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				  errmsg("onceq cannot work in database \"%s\": role \"onceq_worker\" may not connect", target.name),
				  errhint("GRANT CONNECT ON DATABASE %s TO onceq_worker.", quote_identifier(target.name))));
}

void
start_worker(int slot, notify::SlotFacts const &facts, Target const &target)
{
	LaunchOrder const order{slot, notify::begin_start(slot), facts.database, target.role};

	BackgroundWorker worker;
	describe_process(worker, "onceq worker", "onceq_worker_main");
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
#ifdef BGWORKER_INTERRUPTIBLE
	worker.bgw_flags |= BGWORKER_INTERRUPTIBLE;
#endif
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "onceq worker for database %s", target.name);
	memcpy(worker.bgw_extra, &order, sizeof(order));

	if (launcher.handle[slot] != nullptr)
		pfree(launcher.handle[slot]);
	launcher.handle[slot] = nullptr;
	MemoryContextSwitchTo(TopMemoryContext);
	bool const registered = RegisterDynamicBackgroundWorker(&worker, &launcher.handle[slot]);
	MemoryContextSwitchTo(launcher.turn);
	if (registered)
		return;

	// Parallel queries take and give back such places all the time: a few refusals mean nothing.
	if (facts.failures == 2)
		log_no_process(target);
	notify::start_failed(slot, notify::SlotState::starting, no_process_backoff);
}

void
try_to_start(int slot, notify::SlotFacts const &facts)
{
	bool const needed = notify::take_need(slot);
	Target const target = find_target(facts.database);
	if (target.connectable && target.may_connect)
		return start_worker(slot, facts, target);

	// Unless it is known to be needed, the extension is hardly in that database.
	if (!target.connectable || !needed)
		return notify::close_slot(slot);

	if (facts.failures == 0)
		OidIsValid(target.role) ? log_no_privilege(target) : log_no_role(target);
	notify::start_failed(slot, notify::SlotState::wanted, notify::restart_backoff);
}

// ---- The table: each turn looks at all of it, and says when it is to be looked at again

// Now and then: with many databases that come and go it is full again and again.
void
note_table_is_full()
{
	core::Monotonic const now = base::now_monotonic();
	if (now < launcher.next_complaint)
		return;
	launcher.next_complaint = now + complaint_interval;
	ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("onceq has no room for another database"),
				  errhint("You might need to increase onceq.max_databases.")));
}

// False: the table is full. Then the rest is kept for when a worker ends, which wakes us.
bool
accept_requests()
{
	bool all = true;

	for (int i = 0; i < notify::slot_count(); i++)
	{
		Oid const database = notify::requested_database(i);
		if (!OidIsValid(database))
			continue;
		if (notify::open_slot(database, true) >= 0)
			notify::forget_request(i, database);
		else
			all = false;
	}
	return all;
}

// The same for some of the databases that are still to be looked at.
bool
look_at_some(int at_most)
{
	for (int i = 0; i < at_most && launcher.to_look_at != NIL; i++)
	{
		if (notify::open_slot(llast_oid(launcher.to_look_at), false) < 0)
			return false;
		launcher.to_look_at = list_delete_last(launcher.to_look_at);
	}
	return true;
}

bool
is_overdue(int slot, notify::SlotFacts const &facts)
{
	pid_t pid;
	if (launcher.handle[slot] != nullptr)
		return GetBackgroundWorkerPid(launcher.handle[slot], &pid) == BGWH_STOPPED;
	return facts.since + start_patience < base::now_wall();
}

// How long this slot may be left alone. Starts a worker only while the budget of starts lasts.
core::Microseconds
serve(int slot, int &starts)
{
	notify::SlotFacts const facts = notify::read_slot(slot);
	core::Monotonic const now = base::now_monotonic();
	core::Monotonic const start = std::max(facts.next_start, facts.held_until);

	switch (facts.state)
	{
		case notify::SlotState::free:
		case notify::SlotState::connecting:
		case notify::SlotState::running:
			return nap_max;
		case notify::SlotState::held:
			if (now < facts.held_until)
				return facts.held_until.us - now.us;
			notify::close_slot(slot);
			return nap_max;
		case notify::SlotState::wanted:
			if (now < start)
				return start.us - now.us;
			if (starts == 0)
				return arrival_patience; // a worker that has arrived, or ended, wakes us
			starts--;
			try_to_start(slot, facts);
			return 0;
		case notify::SlotState::starting:
			if (!is_overdue(slot, facts))
				return launcher.handle[slot] != nullptr ? nap_max : start_patience;
			notify::start_failed(slot, notify::SlotState::starting, notify::restart_backoff);
			return 0;
	}
	pg_unreachable();
}

int
starts_left()
{
	core::Wall const now = base::now_wall();
	int count = starts_at_once;
	for (int i = 0; i < notify::slot_count(); i++)
	{
		notify::SlotFacts const facts = notify::read_slot(i);
		// One that does not arrive waits for somebody who has locked its database.
		bool const arrives = facts.state == notify::SlotState::connecting && now < facts.since + arrival_patience;
		count -= arrives || facts.state == notify::SlotState::starting;
	}
	return std::max(count, 0);
}

// How long the launcher may sleep.
core::Microseconds
take_turn()
{
	core::Microseconds nap = reap_dropped_databases();

	if (notify::take_full_look())
	{
		list_free(launcher.to_look_at);
		launcher.to_look_at = all_databases();
	}
	int starts = starts_left();
	bool const has_room = accept_requests() && look_at_some(starts);
	if (!has_room)
		note_table_is_full();
	for (int i = 0; i < notify::slot_count(); i++)
		nap = std::min(nap, serve(i, starts));
	return launcher.to_look_at != NIL && starts > 0 && has_room ? 0 : nap;
}

void
retract(int, Datum)
{
	notify::retract_launcher();
}

void
start_launcher()
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	on_shmem_exit(retract, 0);
	if (!notify::publish_launcher())
	{
		ereport(LOG, (errmsg("another launcher of onceq runs already")));
		proc_exit(1);
	}
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
	launcher.handle = static_cast<BackgroundWorkerHandle **>(
		MemoryContextAllocZero(TopMemoryContext, sizeof(BackgroundWorkerHandle *) * notify::slot_count()));
	launcher.turn = AllocSetContextCreate(TopMemoryContext, "onceq launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(launcher.turn);
}

Datum
launch_for_ever(FunctionCallInfo)
{
	start_launcher();
	while (!ShutdownRequestPending)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		core::Microseconds const nap = take_turn();
		MemoryContextReset(launcher.turn);
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (nap + 999) / 1000, launcher_main);
	}
	proc_exit(1); // the postmaster never restarts what ends with 0
}

} // namespace

} // namespace onceq::worker

extern "C" {
PGDLLEXPORT void onceq_launcher_main(Datum);
}

void
onceq_launcher_main(Datum)
{
	onceq::base::wall("onceq_launcher_main", onceq::worker::launch_for_ever, nullptr);
}
