// SPDX-License-Identifier: PostgreSQL
// Proves that jobs with an ordering key take turns, against a list of all jobs, through long random histories in
// which claimers are interrupted between any two holds of the board's lock: a job starts only when no earlier
// published job of its key is unfinished and none runs; with a limit of n at most n run; and in the end nothing
// is left blocked, unless behind a job that is dead and blocks its key. With memory to spare and without.
#include "key_history.hpp"

namespace onceq::core::test {
namespace {

class key_turns : public testing::TestWithParam<Turns>
{
};

TEST_P(key_turns, jobs_take_turns)
{
	KeyHistory history(GetParam());
	for (int step = 0; step < 6000 && !testing::Test::HasFatalFailure(); step++)
		history.step();
	if (!testing::Test::HasFatalFailure())
		history.wind_up();
}

INSTANTIATE_TEST_SUITE_P(in_order, key_turns,
						 testing::Values(Turns{1, 1, 1, 400, false}, Turns{2, 1, 3, 400, false},
										 Turns{3, 1, 3, 400, false}, Turns{4, 1, 10, 400, false},
										 Turns{5, 1, 200, 400, false}));
INSTANTIATE_TEST_SUITE_P(some_at_once, key_turns,
						 testing::Values(Turns{6, 2, 1, 400, false}, Turns{7, 3, 5, 400, false}));
INSTANTIATE_TEST_SUITE_P(in_need_of_memory, key_turns,
						 testing::Values(Turns{8, 1, 3, 24, true}, Turns{9, 1, 50, 40, true},
										 Turns{10, 2, 5, 24, true}));

} // namespace
} // namespace onceq::core::test
