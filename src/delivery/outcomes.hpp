// SPDX-License-Identifier: PostgreSQL
// What a failed attempt leads to; for the verbs of the holder and for the worker's expiry alike.
#pragma once

#include "delivery/delivery.hpp"
#include "store/store.hpp"

namespace onceq::delivery {

struct FailedAttempt
{
	bool dead;      // attempts used up
	core::Wall due; // of the next one; wall_always: at once
};

// max_attempts: the job's own; 0: the queue's.
FailedAttempt judge_failure(catalog::Queue const &queue, core::JobId id, int max_attempts, int attempt, core::Wall now);

// Ends the delivery of one job of the lease as a failed attempt.
void fail_job(board::LeaseCopy const &lease, catalog::Queue const &queue, core::JobSet const &job,
			  FailedAttempt const &failed, text const *detail);

// The job has died: the queue's dead_letter_queue, if it has one, gets a copy when the transaction commits.
void send_dead_letter(catalog::Queue const &queue, core::JobId id, int attempt, char const *worker, text const *error);

// Appends rows in the order of ids, segment by segment.
void append_by_segment(int32 queue, store::NewOutcome const *row, int count);

} // namespace onceq::delivery
