// SPDX-License-Identifier: PostgreSQL
#include <algorithm>

#include "core/time.hpp"

#include "base/clock.hpp"
#include "base/owner.hpp"
#include "base/require.hpp"
#include "base/shmem.hpp"
#include "base/wall.hpp"
#include "notify/slots.hpp"
#include "worker/chores.hpp"
#include "worker/report.hpp"

extern "C" {
#include <funcapi.h>
#include <utils/snapmgr.h>
#include <utils/tuplestore.h>
}

namespace onceq::worker {

namespace {

void
run_chores_of(Duty duty, char const *what)
{
	base::require_writable(what);
	if (!base::is_member("onceq_operator") && !base::is_member("onceq_admin"))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for %s", what),
						errhint("Membership in onceq_operator or onceq_admin is needed.")));

	for (Chore const &chore : all_chores())
	{
		if (chore.duty != duty)
			continue;
		CHECK_FOR_INTERRUPTS();
		PushActiveSnapshot(GetTransactionSnapshot());
		chore.run();
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
}

char const *
state_name(notify::SlotFacts const &facts)
{
	switch (facts.state)
	{
		case notify::SlotState::free:
			return "free";
		case notify::SlotState::held:
			return "held off";
		case notify::SlotState::wanted:
			return base::now_monotonic() < facts.held_until ? "held off"
				   : facts.failures > 0                     ? "backing off"
															: "wanted";
		case notify::SlotState::starting:
		case notify::SlotState::connecting:
			return "starting";
		case notify::SlotState::running:
			return "running";
	}
	pg_unreachable();
}

// A time that was noted on the monotonic clock, for people.
TimestampTz
shown(core::Monotonic time)
{
	return (base::now_wall() + (time.us - base::now_monotonic().us)).us;
}

void
put_worker(ReturnSetInfo *result, notify::SlotFacts const &facts)
{
	bool const waits = facts.state == notify::SlotState::wanted;
	Datum values[] = {ObjectIdGetDatum(facts.database),
					  Int32GetDatum(facts.pid),
					  PointerGetDatum(cstring_to_text(state_name(facts))),
					  TimestampTzGetDatum(facts.since.us),
					  Int32GetDatum(facts.failures),
					  TimestampTzGetDatum(shown(std::max(facts.next_start, facts.held_until)))};
	bool nulls[] = {false, facts.pid == 0, false, false, false, !waits};
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

void
put_chore(ReturnSetInfo *result, notify::SlotFacts const &facts, int slot, int i)
{
	ChoreReport const report = read_report(slot, i);
	bool const never = report.last_run == core::wall_always;
	bool const no_error = report.last_error[0] == '\0';
	Datum values[] = {ObjectIdGetDatum(facts.database),
					  PointerGetDatum(cstring_to_text(all_chores()[i].name)),
					  Int64GetDatum(report.runs),
					  TimestampTzGetDatum(report.last_run.us),
					  Float8GetDatum(static_cast<double>(report.duration) / 1000),
					  TimestampTzGetDatum(report.next_run.us),
					  Int32GetDatum(report.failures),
					  PointerGetDatum(cstring_to_text(report.last_error))};
	bool nulls[] = {false, false, false, never, never, never, false, no_error};
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

} // namespace

} // namespace onceq::worker

namespace base = onceq::base;
namespace notify = onceq::notify;
namespace worker = onceq::worker;

ONCEQ_FUNCTION(onceq_recover)
{
	worker::run_chores_of(worker::Duty::recover, "onceq.recover");
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_maintain)
{
	worker::run_chores_of(worker::Duty::maintain, "onceq.maintain");
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_workers)
{
	base::require_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	for (int slot = 0; slot < notify::slot_count(); slot++)
	{
		notify::SlotFacts const facts = notify::read_slot(slot);
		if (facts.state != notify::SlotState::free)
			worker::put_worker(result, facts);
	}
	return 0;
}

ONCEQ_FUNCTION(onceq_worker_chores)
{
	base::require_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	int const chores = static_cast<int>(worker::all_chores().size());
	for (int slot = 0; slot < notify::slot_count(); slot++)
	{
		notify::SlotFacts const facts = notify::read_slot(slot);
		if (facts.state != notify::SlotState::running)
			continue;
		for (int i = 0; i < chores; i++)
			if (worker::all_chores()[i].duty != worker::Duty::farewell)
				worker::put_chore(result, facts, slot, i);
	}
	return 0;
}
