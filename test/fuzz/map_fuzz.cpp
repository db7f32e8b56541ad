// SPDX-License-Identifier: PostgreSQL
// The state map against a map from id to state, as state_map_model_test does it; here a fuzzer decides the steps.
#include "fuzz.hpp"

#include "../unit/map_history.hpp"

namespace onceq::core::test {

void
fuzz(Bytes bytes)
{
	std::uint32_t const frames = first_byte(bytes);
	MapHistory history(MapCourse{1, 1 + frames, 0, at_most(bytes, 1000)});
	take_steps(history);
	history.compare_everything();
	history.clear();
}

} // namespace onceq::core::test
