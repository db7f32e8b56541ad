// SPDX-License-Identifier: PostgreSQL
#include <type_traits>

#include "worker/report.hpp"

#include "base/clock.hpp"
#include "base/scope.hpp"
#include "base/settings.hpp"
#include "worker/chores.hpp"
#include "worker/worker.hpp"

extern "C" {
#include <storage/shmem.h>
}

namespace onceq::worker {

namespace {

static_assert(std::is_standard_layout_v<ChoreReport> && std::is_trivially_copyable_v<ChoreReport>);

// Reports of slot s start at s × chores_max. Written by the worker that has the slot, read by anybody,
// under the lock: a copy is taken or made, nothing else.
constinit ChoreReport *reports = nullptr;

Size
size()
{
	return mul_size(mul_size(sizeof(ChoreReport), chores_max), base::settings.max_databases);
}

void
attach(void *memory)
{
	reports = static_cast<ChoreReport *>(memory);
}

void
initialise(void *)
{
	for (int slot = 0; slot < base::settings.max_databases; slot++)
		for (int chore = 0; chore < chores_max; chore++)
			reports[slot * chores_max + chore] = {.last_run = core::wall_always, .next_run = core::wall_always};
}

} // namespace

constinit base::ShmemItem const shmem_item = {"onceq_chores", size, initialise, attach, base::one_lock};

namespace {

LWLock *
reports_lock()
{
	return base::lock_of(shmem_item);
}

} // namespace

void
clear_reports(int slot)
{
	base::LWLockScope const locked(reports_lock(), LW_EXCLUSIVE);
	for (int chore = 0; chore < chores_max; chore++)
		reports[slot * chores_max + chore] = {.last_run = core::wall_always, .next_run = core::wall_always};
}

void
report_success(int slot, int chore, core::Microseconds duration, core::Microseconds next)
{
	core::Wall const now = base::now_wall();
	base::LWLockScope const locked(reports_lock(), LW_EXCLUSIVE);
	ChoreReport &report = reports[slot * chores_max + chore];
	report.last_run = now;
	report.next_run = now + next;
	report.duration = duration;
	report.runs++;
	report.failures = 0;
}

void
report_failure(int slot, int chore, core::Microseconds duration, core::Microseconds next, char const *error)
{
	core::Wall const now = base::now_wall();
	base::LWLockScope const locked(reports_lock(), LW_EXCLUSIVE);
	ChoreReport &report = reports[slot * chores_max + chore];
	report.last_run = now;
	report.next_run = now + next;
	report.duration = duration;
	report.runs++;
	report.failures++;
	strlcpy(report.last_error, error, error_text_max);
	// Other databases, of any encoding, see this too.
	for (char *c = report.last_error; *c != '\0'; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
}

ChoreReport
read_report(int slot, int chore)
{
	base::LWLockScope const locked(reports_lock(), LW_SHARED);
	return reports[slot * chores_max + chore];
}

} // namespace onceq::worker
