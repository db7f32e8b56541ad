// SPDX-License-Identifier: PostgreSQL
// Which events were already processed, and by whom.
//
// Owns onceq.consumer, onceq.processed_event and one empty table onceq_data.c<id> per consumer, which
// carries its privileges. The promise is the primary key of onceq.processed_event: a mark is one INSERT …
// ON CONFLICT DO NOTHING in the caller's transaction, so a second one waits for the first and then is a
// duplicate, or not if the first rolled back. Nothing lies in shared memory; a crash undoes what had not
// committed, as everywhere. It needs no queue, and no onceq.adopt() in a copy of the database.
//
// Locks: a transaction that marks holds RowExclusiveLock on the consumer's table until it ends. So who
// holds AccessExclusiveLock on it knows that no mark of that consumer is under way. Who forgets old
// events holds ShareUpdateExclusiveLock: one session at a time, and nobody waits for it.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::ledger {

inline constexpr int event_id_max = 512; // bytes
inline constexpr int topic_max = 255;
inline constexpr int once_many_max = 10000;
inline constexpr core::Microseconds retention_min = 3600 * core::microseconds_per_second;
inline constexpr core::Microseconds retention_max = int64{100} * 366 * 24 * 3600 * core::microseconds_per_second;

// Chore: deletes events past their consumer's retention, some thousands a time, and what is left of
// dropped consumers. Returns when it should run again.
core::Microseconds forget_old_events();

} // namespace onceq::ledger
