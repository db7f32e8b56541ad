// SPDX-License-Identifier: PostgreSQL
// The processes that do our work while nobody calls.
//
// The launcher is a static background worker: the postmaster restarts it for ever, and it starts one
// dynamic background worker for each database with the extension. Which of them runs stands in the
// table of notify/. The processes keep nothing that a successor would miss: after a crash the
// postmaster has forgotten the workers, the table is empty, and the launcher looks at all databases.
// doc/internals/worker.md draws the states.
#pragma once

#include "base/postgres.hpp"
#include "base/shmem.hpp"

namespace onceq::worker {

extern base::ShmemItem const shmem_item;
extern base::ShmemItem const archivers_item;

// At _PG_init, while libraries are preloaded.
void register_launcher();
void install_hooks();

} // namespace onceq::worker
