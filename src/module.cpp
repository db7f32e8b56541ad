// SPDX-License-Identifier: PostgreSQL
// The order in which all is wired. No logic.
#include <iterator>

#include "archive/runs.hpp"
#include "base/postgres.hpp"
#include "base/settings.hpp"
#include "base/shmem.hpp"
#include "board/board.hpp"
#include "board/waiters.hpp"
#include "notify/notify.hpp"
#include "store/anchors.hpp"
#include "worker/worker.hpp"

extern "C" {
#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "onceq", .version = ONCEQ_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);
}

void
_PG_init(void)
{
	static onceq::base::ShmemItem shmem_items[7];

	onceq::base::define_settings();
	if (!process_shared_preload_libraries_in_progress)
		return;
	shmem_items[0] = onceq::board::shmem_item;
	shmem_items[1] = onceq::board::waiters_shmem_item;
	shmem_items[2] = onceq::notify::shmem_item;
	shmem_items[3] = onceq::worker::shmem_item;
	shmem_items[4] = onceq::archive::runs_item;
	shmem_items[5] = onceq::worker::archivers_item;
	shmem_items[6] = onceq::store::anchors_shmem_item;
	onceq::base::request_shmem(shmem_items, std::size(shmem_items));
	onceq::notify::watch_transactions();
	onceq::worker::install_hooks();
	onceq::worker::register_launcher();
}
