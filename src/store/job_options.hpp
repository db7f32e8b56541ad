// SPDX-License-Identifier: PostgreSQL
// What few jobs have of their own, in one nullable column, so that the others do not pay for it:
// {"max_attempts": n, "soft_time_limit": µs, "hard_time_limit": µs}, as far as they are given.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::store {

struct JobOptions
{
	int max_attempts; // 0: the queue's, as of all of them
	core::Microseconds soft_time_limit;
	core::Microseconds hard_time_limit;

	bool
	any() const
	{
		return max_attempts > 0 || soft_time_limit > 0 || hard_time_limit > 0;
	}
};

// A jsonb. Requires: any().
Datum form_options(JobOptions const &options);

JobOptions read_options(Datum stored);

} // namespace onceq::store
