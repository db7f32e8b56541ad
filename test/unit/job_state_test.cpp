// SPDX-License-Identifier: PostgreSQL
// Proves that the states fit four bits and that ready means any of the ten priorities.
#include "core/job_state.hpp"

#include <gtest/gtest.h>

#include <set>

namespace onceq::core::test {
namespace {

TEST(job_state, there_is_a_ready_state_for_each_priority)
{
	std::set<JobState> states;
	for (int priority = 0; priority <= priority_max; priority++)
	{
		JobState const state = ready_at(priority);
		EXPECT_TRUE(is_ready(state));
		EXPECT_FALSE(keeps_page(state));
		EXPECT_EQ(priority_of(state), priority);
		EXPECT_LT(static_cast<int>(state), job_state_count);
		states.insert(state);
	}
	EXPECT_EQ(states.size(), 10U);
}

TEST(job_state, what_a_transaction_or_a_lease_owns_keeps_its_page)
{
	for (JobState const state : {JobState::reserved, JobState::leased, JobState::seized})
	{
		EXPECT_TRUE(keeps_page(state));
		EXPECT_FALSE(is_ready(state));
	}
	for (JobState const state : {JobState::none, JobState::waiting})
	{
		EXPECT_FALSE(keeps_page(state));
		EXPECT_FALSE(is_ready(state));
	}
}

} // namespace
} // namespace onceq::core::test
