// SPDX-License-Identifier: PostgreSQL
// What becomes of finished jobs: before a segment is dropped its jobs are copied to the queue's archive.
//
// In batches, each a transaction that also moves the mark up to which the segment was copied: so every job is
// copied once, whatever is killed. The worker drops the segment when all are. As the role that set the option.
#pragma once

#include "archive/archive.hpp"

namespace onceq::archive {

// How long until some queue has jobs to be copied; 0: now.
core::Microseconds until_handover();

// The queues that have; their numbers, palloc'd.
List *due_handovers();

// Copies what is due of a queue.
Outcome run_handover(int32 queue, Means const &means);

} // namespace onceq::archive
