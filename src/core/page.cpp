// SPDX-License-Identifier: PostgreSQL
#include "core/page.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include "core/assert.hpp"

#include <algorithm>
#include <bit>

namespace onceq::core {

namespace {

constexpr std::uint64_t all_ones = ~std::uint64_t{0};

// The bits of word that lie in first … last, which are slots of the page.
constexpr std::uint64_t
range_mask(int word, int first, int last) noexcept
{
	int const low = std::max(first - word * 64, 0);
	int const high = std::min(last - word * 64, 63);
	return (all_ones << low) & (all_ones >> (63 - high));
}

constexpr int
bit_of(JobState state, int bit) noexcept
{
	return (static_cast<int>(state) >> bit) & 1;
}

} // namespace

void
Page::fill(JobState state, bool history) noexcept
{
	for (int bit = 0; bit < state_bits; bit++)
		std::fill_n(plane_[bit], words, bit_of(state, bit) ? all_ones : 0);
	std::fill_n(history_, words, history ? all_ones : 0);
	std::fill_n(count_, job_state_count, std::uint16_t{0});
	count_[static_cast<int>(state)] = ids_per_page;
	history_count_ = history ? ids_per_page : 0;
}

JobState
Page::state(int slot) const noexcept
{
	int value = 0;
	for (int bit = 0; bit < state_bits; bit++)
		value |= static_cast<int>((plane_[bit][slot / 64] >> (slot % 64)) & 1) << bit;
	return static_cast<JobState>(value);
}

bool
Page::history(int slot) const noexcept
{
	return (history_[slot / 64] >> (slot % 64)) & 1;
}

int
Page::move(int first, int last, JobState from, JobState to) noexcept
{
	ONCEQ_ASSERT(0 <= first && first <= last && last < ids_per_page);
	int moved = 0;
	for (int word = first / 64; word <= last / 64; word++)
	{
		std::uint64_t const mask = in_state(word, from) & range_mask(word, first, last);
		if (mask == 0)
			continue;
		for (int bit = 0; bit < state_bits; bit++)
			plane_[bit][word] = bit_of(to, bit) ? plane_[bit][word] | mask : plane_[bit][word] & ~mask;
		if (to == JobState::none)
		{
			history_count_ -= static_cast<std::uint16_t>(std::popcount(history_[word] & mask));
			history_[word] &= ~mask;
		}
		moved += std::popcount(mask);
	}
	count_[static_cast<int>(from)] -= static_cast<std::uint16_t>(moved);
	count_[static_cast<int>(to)] += static_cast<std::uint16_t>(moved);
	return moved;
}

void
Page::mark_history(int first, int last) noexcept
{
	for (int word = first / 64; word <= last / 64; word++)
	{
		std::uint64_t const mask = range_mask(word, first, last) & ~history_[word];
		history_[word] |= mask;
		history_count_ += static_cast<std::uint16_t>(std::popcount(mask));
	}
}

int
Page::find(JobState state, int start) const noexcept
{
	if (count(state) == 0 || start >= ids_per_page)
		return -1;
	std::uint64_t mask = all_ones << (start % 64);
	for (int word = start / 64; word < words; word++, mask = all_ones)
		if (std::uint64_t const found = in_state(word, state) & mask; found != 0)
			return word * 64 + std::countr_zero(found);
	return -1;
}

int
Page::run_length(int start, int limit) const noexcept
{
	JobState const wanted = state(start);
	bool const marked = history(start);
	int const end = std::min(start + limit, ids_per_page);
	int slot = start;
	while (slot < end)
	{
		int const word = slot / 64;
		std::uint64_t const alike = in_state(word, wanted) & (marked ? history_[word] : ~history_[word]);
		int const length = std::countr_one(alike >> (slot % 64));
		int const room = 64 - slot % 64;
		slot += std::min(length, room);
		if (length < room)
			break;
	}
	return std::min(slot, end) - start;
}

bool
Page::is_uniform() const noexcept
{
	if (history_count_ != 0 && history_count_ != ids_per_page)
		return false;
	return count_[static_cast<int>(state(0))] == ids_per_page;
}

std::uint64_t
Page::in_state(int word, JobState state) const noexcept
{
	std::uint64_t mask = all_ones;
	for (int bit = 0; bit < state_bits; bit++)
		mask &= bit_of(state, bit) ? plane_[bit][word] : ~plane_[bit][word];
	return mask;
}

} // namespace onceq::core
