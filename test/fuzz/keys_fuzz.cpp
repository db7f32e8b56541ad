// SPDX-License-Identifier: PostgreSQL
// Jobs with ordering keys against a list of all jobs, as key_turns_test does it; here a fuzzer decides the steps.
#include "fuzz.hpp"

#include "../unit/key_history.hpp"

namespace onceq::core::test {

void
fuzz(Bytes bytes)
{
	std::uint8_t const kind = first_byte(bytes);
	int const keys = 1 + first_byte(bytes) % 8;
	bool const starved = kind % 2 == 1;
	KeyHistory history(
		Turns{1, 1 + kind / 2 % 3, keys, starved ? 20U + kind / 8 : 400U, starved, at_most(bytes, 1000)});
	take_steps(history);
	history.wind_up();
}

} // namespace onceq::core::test
