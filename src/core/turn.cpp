// SPDX-License-Identifier: PostgreSQL
#include "core/turn.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include "core/assert.hpp"

#include <utility>

namespace onceq::core {

namespace {

// SplitMix64: from one number as many as are wanted.
std::uint64_t
next_random(std::uint64_t &state) noexcept
{
	state += 0x9e3779b97f4a7c15;
	std::uint64_t mixed = state;
	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
	return mixed ^ (mixed >> 31);
}

} // namespace

void
order_by_lot(int const *weight, int count, std::uint64_t random, int *order) noexcept
{
	ONCEQ_ASSERT(count <= turn_queues_max);
	std::uint64_t left = 0;
	for (int i = 0; i < count; i++)
	{
		order[i] = i;
		left += static_cast<std::uint64_t>(weight[i]);
	}
	for (int place = 0; place < count; place++)
	{
		std::uint64_t lot = next_random(random) % left;
		int drawn = place;
		while (lot >= static_cast<std::uint64_t>(weight[order[drawn]]))
			lot -= static_cast<std::uint64_t>(weight[order[drawn++]]);
		std::swap(order[place], order[drawn]);
		left -= static_cast<std::uint64_t>(weight[order[place]]);
	}
}

} // namespace onceq::core
