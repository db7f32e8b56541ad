// SPDX-License-Identifier: PostgreSQL
// The table of ordering keys against a map, as key_table_test does it; here a fuzzer decides the steps.
#include "fuzz.hpp"

#include "../unit/key_table_history.hpp"

namespace onceq::core::test {

void
fuzz(Bytes bytes)
{
	std::uint32_t const frames = 1U + first_byte(bytes) % 32;
	KeyTableHistory history(KeyTableCourse{1, frames, at_most(bytes, 2000)});
	take_steps(history);
	history.wind_up();
}

} // namespace onceq::core::test
