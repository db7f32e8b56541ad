// SPDX-License-Identifier: PostgreSQL
// Proves that the table of ordering keys does what a map does, through long random histories: no key in use is
// forgotten or mistaken for another, the list is first in, first out, and what is only remembered gives way.
#include "key_table_history.hpp"

namespace onceq::core::test {
namespace {

class key_table : public testing::TestWithParam<KeyTableCourse>
{
};

TEST_P(key_table, agrees_with_a_map_from_hash_to_key)
{
	KeyTableHistory history(GetParam());
	for (int step = 0; step < 20'000 && !testing::Test::HasFatalFailure(); step++)
	{
		history.step();
		if (step % 500 == 0)
			history.compare_everything();
	}
	history.wind_up();
}

INSTANTIATE_TEST_SUITE_P(with_memory_to_spare, key_table,
						 testing::Values(KeyTableCourse{1, 500}, KeyTableCourse{2, 500}));
INSTANTIATE_TEST_SUITE_P(in_need_of_memory, key_table,
						 testing::Values(KeyTableCourse{3, 1}, KeyTableCourse{4, 2}, KeyTableCourse{5, 5},
										 KeyTableCourse{6, 20}));

} // namespace
} // namespace onceq::core::test
