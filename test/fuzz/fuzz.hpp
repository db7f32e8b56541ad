// SPDX-License-Identifier: PostgreSQL
// What the fuzzers share: a check that fails ends the program, which is how libFuzzer learns of it, and a
// history goes on while there are bytes to decide its steps.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>

namespace onceq::core::test {

using Bytes = std::span<std::uint8_t const>;

// Taken off the front; 0 when there are none left.
inline std::uint8_t
first_byte(Bytes &bytes)
{
	if (bytes.empty())
		return 0;
	std::uint8_t const first = bytes.front();
	bytes = bytes.subspan(1);
	return first;
}

inline Bytes
at_most(Bytes bytes, std::size_t count)
{
	return bytes.first(std::min(bytes.size(), count));
}

template <typename History>
void
take_steps(History &history)
{
	while (history.has_bytes())
		history.step();
}

void fuzz(Bytes bytes);

} // namespace onceq::core::test

extern "C" int
LLVMFuzzerInitialize(int *, char ***)
{
	GTEST_FLAG_SET(break_on_failure, true);
	return 0;
}

extern "C" int
LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size)
{
	onceq::core::test::fuzz({data, size});
	return 0;
}
