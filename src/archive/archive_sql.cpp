// SPDX-License-Identifier: PostgreSQL
#include "archive/archive.hpp"
#include "archive/handover.hpp"
#include "archive/policy.hpp"
#include "archive/runs.hpp"
#include "base/owner.hpp"
#include "base/require.hpp"
#include "base/scope.hpp"
#include "base/wall.hpp"
#include "catalog/catalog.hpp"

extern "C" {
#include <catalog/pg_class.h>
#include <funcapi.h>
#include <nodes/parsenodes.h>
#include <storage/proc.h>
#include <utils/acl.h>
#include <utils/lsyscache.h>
#include <utils/syscache.h>
#include <utils/tuplestore.h>
}

namespace onceq::archive {

namespace {

// ---- the means of a session: batches are subtransactions, committed by SPI

struct Snapped
{
	Step step;
	void *argument;
};

void
take_step(void *argument)
{
	Snapped const &snapped = *static_cast<Snapped *>(argument);
	base::SnapshotScope const snapshot(GetTransactionSnapshot());
	snapped.step(snapped.argument);
}

bool
carry_out(Step step, void *argument, base::Failure &failure)
{
	Snapped snapped{step, argument};
	bool const done = base::attempt(take_step, &snapped, failure);
	SPI_commit();
	return done;
}

bool
never()
{
	return false;
}

constexpr Means means_of_session{carry_out, nullptr, never, INT64_MAX};

bool
is_operator()
{
	return base::is_member("onceq_operator") || base::is_member("onceq_admin");
}

// InvalidOid: there is no such table.
Oid
owner_of(Oid table)
{
	HeapTuple const tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	Oid const owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

bool
may_archive(Oid table)
{
	Oid const owner = owner_of(table);
	return is_operator() || (OidIsValid(owner) && has_privs_of_role(GetUserId(), owner));
}

void
say(Oid source, Outcome const &outcome)
{
	char const *const name = get_rel_name(source);
	if (outcome.ending == Ending::busy)
		ereport(NOTICE, (errmsg("table \"%s\" is being archived already, by process %d", name != nullptr ? name : "?",
								outcome.other)));
	else if (outcome.ending == Ending::failed)
		ereport(WARNING,
				(errcode(outcome.failure.sqlstate),
				 errmsg("table \"%s\" was not archived: %s", name != nullptr ? name : "?", outcome.failure.text),
				 errhint("See onceq.archive_policies; it will be tried again after a while.")));
}

void
archive_one(Oid source)
{
	Policy policy;
	if (!find_policy(source, policy))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("table %u has no archive policy", source),
						errhint("onceq.set_archive_policy() makes one.")));
	if (!may_archive(source))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of table %s", get_rel_name(source)),
				 errhint("Members of onceq_operator and onceq_admin may archive any table.")));
	say(source, run_policy(source, means_of_session, true));
}

// The oids are needed in the transactions that follow.
Policies
policies_of_caller(MemoryContext context)
{
	base::MemoryContextScope const scope(context);
	base::SnapshotScope const snapshot(GetTransactionSnapshot());
	Policies policies = all_policies();
	int count = 0;
	for (int i = 0; i < policies.count; i++)
		if (may_archive(policies.policy[i].source))
			policies.policy[count++] = policies.policy[i];
	policies.count = count;
	return policies;
}

void
archive_all(MemoryContext context)
{
	Policies const policies = policies_of_caller(context);
	for (int i = 0; i < policies.count; i++)
		say(policies.policy[i].source, run_policy(policies.policy[i].source, means_of_session, false));
}

List *
queues_that_are_due(MemoryContext context)
{
	base::MemoryContextScope const scope(context);
	base::SnapshotScope const snapshot(GetTransactionSnapshot());
	return due_handovers();
}

void
archive_jobs(MemoryContext context)
{
	ListCell *cell;
	foreach (cell, queues_that_are_due(context))
	{
		Outcome const outcome = run_handover(lfirst_int(cell), means_of_session);
		if (outcome.ending == Ending::failed)
			ereport(WARNING, (errcode(outcome.failure.sqlstate),
							  errmsg("finished jobs were not archived: %s", outcome.failure.text),
							  errhint("See onceq.job_archives; it will be tried again after a while.")));
	}
}

void
require_own_transactions(FunctionCallInfo fcinfo)
{
	auto *const context = reinterpret_cast<CallContext *>(fcinfo->context);
	if (context == nullptr || !IsA(context, CallContext) || context->atomic)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("onceq.archive() cannot be called inside a transaction block"),
						errdetail("Each batch is a transaction of its own."),
						errhint("CALL it outside of one, and not from a function.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("onceq.archive() needs isolation level READ COMMITTED"),
						errhint("SET default_transaction_isolation = 'read committed';")));
}

char const *
name_of(Phase phase)
{
	switch (phase)
	{
		case Phase::preparing:
			return "preparing";
		case Phase::moving_rows:
			return "moving rows";
		case Phase::moving_partitions:
			return "moving partitions";
		case Phase::vacuuming:
			return "vacuuming";
		case Phase::copying_jobs:
			return "copying jobs";
	}
	pg_unreachable();
}

bool
may_see(Oid source)
{
	Oid const owner = owner_of(source);
	return is_operator() || base::is_member("onceq_monitor") ||
		   (OidIsValid(owner) && has_privs_of_role(GetUserId(), owner));
}

} // namespace

} // namespace onceq::archive

namespace archive = onceq::archive;
namespace base = onceq::base;

ONCEQ_FUNCTION(onceq_archive)
{
	base::require_writable("onceq.archive()");
	archive::require_own_transactions(fcinfo);
	onceq::catalog::require_adopted();
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
	MemoryContext const context = CurrentMemoryContext;
	if (PG_ARGISNULL(0))
	{
		if (archive::is_operator())
			archive::archive_jobs(context);
		archive::archive_all(context);
	}
	else
		archive::archive_one(PG_GETARG_OID(0));
	SPI_finish();
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_archive_progress)
{
	base::require_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	for (int i = 0; i < archive::run_places(); i++)
	{
		archive::Run const run = archive::read_run(i);
		if (run.database != MyDatabaseId || !archive::may_see(run.source))
			continue;
		Datum values[] = {ObjectIdGetDatum(run.source),
						  Int32GetDatum(run.pid),
						  CStringGetTextDatum(archive::name_of(run.phase)),
						  TimestampTzGetDatum(run.started_at.us),
						  Int64GetDatum(run.batches),
						  Int64GetDatum(run.rows)};
		bool nulls[] = {false, false, false, false, false, false};
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return 0;
}
