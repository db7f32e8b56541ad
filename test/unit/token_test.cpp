// SPDX-License-Identifier: PostgreSQL
// Proves that a token leads back to its slot, is positive and never no_token, whatever the random bits.
#include "core/token.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace onceq::core::test {
namespace {

TEST(token, leads_back_to_its_slot)
{
	for (std::uint32_t const slot : {0U, 1U, 4711U, lease_slots_max - 1})
		for (std::uint64_t const random :
			 {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 42, std::uint64_t{1} << 43, ~std::uint64_t{0}})
		{
			Token const token = make_token(slot, random);
			EXPECT_GT(token, 0);
			EXPECT_NE(token, no_token);
			EXPECT_EQ(slot_of(token), slot);
		}
	EXPECT_EQ(make_token(lease_slots_max - 1, ~std::uint64_t{0}), std::numeric_limits<Token>::max());
}

TEST(token, uses_43_random_bits)
{
	EXPECT_EQ(make_token(5, 9), make_token(5, 9 | std::uint64_t{1} << 43));
	for (int bit = 1; bit < 43; bit++)
		EXPECT_NE(make_token(5, 1), make_token(5, 1 | std::uint64_t{1} << bit)) << bit;
}

TEST(token, is_not_met_again_by_chance)
{
	Dice dice(43);
	std::set<Token> seen;
	for (int i = 0; i < 100'000; i++)
		EXPECT_TRUE(seen.insert(make_token(7, dice.bits())).second);
}

TEST(token, of_any_number_a_client_sends_some_slot_is_read)
{
	for (Token const token :
		 {Token{0}, Token{-1}, std::numeric_limits<Token>::min(), std::numeric_limits<Token>::max()})
		EXPECT_LT(slot_of(token), lease_slots_max);
}

} // namespace
} // namespace onceq::core::test
