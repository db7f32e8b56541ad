// SPDX-License-Identifier: PostgreSQL
// Proves that the state map does what a map from id to state does, through long random histories:
// every answer is the same, memory is exactly what the stored pages need, and what a used-up pool
// refuses is refused at the same id.
#include "map_history.hpp"

namespace onceq::core::test {
namespace {

class state_map_model : public testing::TestWithParam<MapCourse>
{
};

TEST_P(state_map_model, agrees_with_a_map_from_id_to_state)
{
	MapHistory history(GetParam());
	for (int step = 0; step < GetParam().steps && !testing::Test::HasFatalFailure(); step++)
	{
		history.step();
		if (step % 500 == 0)
			history.compare_everything();
	}
	history.clear();
}

INSTANTIATE_TEST_SUITE_P(with_memory_to_spare, state_map_model,
						 testing::Values(MapCourse{1, 200, 10'000}, MapCourse{2, 200, 10'000}));
INSTANTIATE_TEST_SUITE_P(in_need_of_memory, state_map_model,
						 testing::Values(MapCourse{3, 3, 3000}, MapCourse{4, 5, 3000}, MapCourse{5, 8, 3000},
										 MapCourse{6, 12, 10'000}, MapCourse{7, 16, 10'000}));

} // namespace
} // namespace onceq::core::test
