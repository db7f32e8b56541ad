// SPDX-License-Identifier: PostgreSQL
// Unique jobs: of the jobs of one key, at most one is unfinished.
#pragma once

#include "delivery/delivery.hpp"
#include "store/store.hpp"
#include "store/unique_key.hpp"

namespace onceq::delivery {

// What becomes of an enqueue whose key another job has.
enum class UniqueMode
{
	skip,     // nothing
	replace,  // the job is replaced, unless it is running; the new one is due when the old one was
	debounce, // the same, but the new one is due when the call says
};

struct Unique
{
	store::UniqueKey key;
	UniqueMode mode;
	core::Microseconds span; // for which the key is kept at least, from the enqueue on
};

// Raises 22023 unless the length is right.
store::UniqueKey key_argument(FunctionCallInfo fcinfo, int number, catalog::Queue const &queue);

// The arguments unique_key, unique_mode and unique_for, which follow each other. false: no unique_key.
bool unique_argument(FunctionCallInfo fcinfo, int number, catalog::Queue const &queue, Unique &unique);

// Adds the job, unless another one keeps the key; 0: it does. Waits for open transactions that use the key.
// Raises 40001 under a fixed snapshot that does not see the other one.
core::JobId enqueue_unique(catalog::Queue const &queue, Unique const &unique, store::NewJob &job);

// Adds the job; returns its id (delivery_enqueue.cpp).
core::JobId insert_job(catalog::Queue const &queue, store::NewJob &job);

} // namespace onceq::delivery
