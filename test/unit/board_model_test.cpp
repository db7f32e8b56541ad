// SPDX-License-Identifier: PostgreSQL
// Proves the whole of the board against a map from id to state, through long random histories in which
// producers, consumers, the worker and maintenance take their steps in any order; with memory to spare
// and with a pool that is used up again and again.
#include "board_history.hpp"

namespace onceq::core::test {
namespace {

class board_model : public testing::TestWithParam<Course>
{
};

TEST_P(board_model, agrees_with_a_map_from_id_to_state)
{
	BoardHistory history(GetParam());
	for (int step = 0; step < GetParam().steps && !testing::Test::HasFatalFailure(); step++)
	{
		history.step();
		if (step % 20 == 0)
			history.compare();
	}
	history.wind_up();
}

INSTANTIATE_TEST_SUITE_P(with_memory_to_spare, board_model,
						 testing::Values(Course{1, 400, 4000, false}, Course{2, 400, 6000, false},
										 Course{3, 400, 6000, false}));
INSTANTIATE_TEST_SUITE_P(in_need_of_memory, board_model,
						 testing::Values(Course{4, 40, 4000, true}, Course{5, 24, 6000, true},
										 Course{6, 12, 6000, true}));

} // namespace
} // namespace onceq::core::test
