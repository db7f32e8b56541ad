// SPDX-License-Identifier: PostgreSQL
// In which order a claim over several queues looks at them.
#pragma once

#include <cstdint>

namespace onceq::core {

inline constexpr int turn_queues_max = 32;
inline constexpr int weight_max = 1000;

// Puts 0 … count-1 into order. Each place goes by lot to one of those that are left, by their weights
// (1 … weight_max). So whichever of them have something to give, each is the first of those with a
// chance in proportion to its weight. random: 64 bits, which decide all lots.
void order_by_lot(int const *weight, int count, std::uint64_t random, int *order) noexcept;

} // namespace onceq::core
