// SPDX-License-Identifier: PostgreSQL
// The columns of segment tables, as create_segment makes them: the payload last, so that a rebuild need
// not walk over it. No more than eight of a job: with a ninth the header of each row would grow by 8 bytes.
#pragma once

#include "base/postgres.hpp"

namespace onceq::store {

// onceq_data.j<queue>_<segment>
enum JobColumn : AttrNumber
{
	job_id = 1,       // bigint NOT NULL
	job_enqueued_at,  // timestamptz NOT NULL
	job_run_at,       // timestamptz; null: at once
	job_priority,     // smallint; null: 0
	job_ordering_key, // text; null: none
	job_options,      // jsonb, see job_options.hpp; null: none
	job_payload,      // jsonb NOT NULL
	job_headers,      // jsonb
	job_column_count = job_headers,
};

// onceq_data.o<queue>_<segment>
enum OutcomeColumn : AttrNumber
{
	outcome_first_id = 1, // bigint NOT NULL
	outcome_last_id,      // bigint NOT NULL
	outcome_at,           // timestamptz NOT NULL
	outcome_due_at,       // timestamptz; null: none, or at once
	outcome_attempt,      // smallint NOT NULL
	outcome_outcome,      // "char" NOT NULL
	outcome_worker,       // text STORAGE PLAIN
	outcome_detail,       // text STORAGE PLAIN
	outcome_column_count = outcome_detail,
};

// onceq_data.r<queue>_<segment>
enum ResultColumn : AttrNumber
{
	result_id = 1, // bigint NOT NULL
	result_result, // jsonb NOT NULL
	result_column_count = result_result,
};

} // namespace onceq::store
