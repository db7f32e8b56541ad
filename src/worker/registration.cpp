// SPDX-License-Identifier: PostgreSQL
#include "worker/launch.hpp"
#include "worker/worker.hpp"

namespace onceq::worker {

namespace {

// Long enough not to spin when the launcher cannot stay up, short enough not to be missed.
constexpr int launcher_restart_s = 1;

} // namespace

void
describe_process(BackgroundWorker &worker, char const *type, char const *function)
{
	worker = {};
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker.bgw_library_name, "onceq", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_type, type, sizeof(worker.bgw_type));
}

void
register_launcher()
{
	// pg_upgrade moves the files of databases: nothing may run in them meanwhile.
	if (IsBinaryUpgrade)
		return;

	BackgroundWorker launcher;
	describe_process(launcher, "onceq launcher", "onceq_launcher_main");
	launcher.bgw_restart_time = launcher_restart_s;
	strlcpy(launcher.bgw_name, launcher.bgw_type, sizeof(launcher.bgw_name));
	RegisterBackgroundWorker(&launcher);
}

} // namespace onceq::worker
