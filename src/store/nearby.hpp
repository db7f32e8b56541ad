// SPDX-License-Identifier: PostgreSQL
// Finding the row of one job without the index. Jobs that are claimed one after the other lie so in their
// table, too: a look at the page of the last one, or at the next, costs a sixth of a descent in the index.
#pragma once

#include "core/job_state.hpp"

#include "base/postgres.hpp"

extern "C" {
#include <executor/tuptable.h>
#include <utils/rel.h>
}

namespace onceq::store {

// As an index scan with SnapshotSelf would find it; false: it lies elsewhere, or there is none, or a look is not worth it.
bool fetch_nearby(Relation jobs, core::JobId id, TupleTableSlot *slot);

// Of a row that the index found.
void note_place(Relation jobs, TupleTableSlot const *slot);

} // namespace onceq::store
