// SPDX-License-Identifier: PostgreSQL
// The token of a lease: where its slot is, and 43 random bits that prove it was granted.
//
// Random, and not counted, so that a token of an earlier life of the server, of another server or of
// a copy never matches. Always positive, so that a client may keep it in a signed 64-bit integer.
#pragma once

#include <cstdint>

namespace onceq::core {

using Token = std::int64_t;

inline constexpr Token no_token = 0;
inline constexpr int token_slot_bits = 20;
inline constexpr std::uint32_t lease_slots_max = std::uint32_t{1} << token_slot_bits;

// random: 64 random bits, of which 43 are used.
constexpr Token
make_token(std::uint32_t slot, std::uint64_t random) noexcept
{
	constexpr std::uint64_t random_mask = (std::uint64_t{1} << (63 - token_slot_bits)) - 1;
	std::uint64_t const bits = random & random_mask;
	return static_cast<Token>((bits != 0 ? bits : 1) << token_slot_bits | slot);
}

constexpr std::uint32_t
slot_of(Token token) noexcept
{
	return static_cast<std::uint32_t>(token) & (lease_slots_max - 1);
}

} // namespace onceq::core
