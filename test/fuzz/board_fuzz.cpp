// SPDX-License-Identifier: PostgreSQL
// The board against a map from id to state, as board_model_test does it; here a fuzzer decides the steps.
#include "fuzz.hpp"

#include "../unit/board_history.hpp"

namespace onceq::core::test {

void
fuzz(Bytes bytes)
{
	std::uint8_t const kind = first_byte(bytes);
	bool const starved = kind % 2 == 1;
	// Not so long that all segments with tables are used.
	BoardHistory history(Course{1, starved ? 12U + kind / 2 : 1500U, 0, starved, at_most(bytes, 480)});
	take_steps(history);
	history.compare();
	history.wind_up();
}

} // namespace onceq::core::test
