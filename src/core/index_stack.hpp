// SPDX-License-Identifier: PostgreSQL
// Free indexes of a fixed array in shared memory: a lock-free stack, so that it may be used under
// any lock. The links stand beside the array and not in it: a slow reader may look at the link of
// an index that somebody else has taken.
#pragma once

#include "core/assert.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace onceq::core {

inline constexpr std::uint32_t no_index = 0xFFFF'FFFF;

class IndexStack
{
  public:
	using Link = std::atomic<std::uint32_t>;

	// All of 0 … count-1 are free, the lowest on top. Links are count entries after the caller's array;
	// their place is given at each call, because shared structures hold no pointers.
	void
	fill(Link *links, std::uint32_t count) noexcept
	{
		for (std::uint32_t i = 0; i < count; i++)
			links[i].store(i + 1 < count ? i + 1 : no_index, std::memory_order_relaxed);
		in_use_.store(0, std::memory_order_relaxed);
		head_.store(count > 0 ? 0 : no_index, std::memory_order_release);
	}

	// no_index when none is free.
	std::uint32_t
	pop(Link *links) noexcept
	{
		std::uint64_t head = head_.load(std::memory_order_acquire);
		for (;;)
		{
			auto const top = static_cast<std::uint32_t>(head);
			if (top == no_index)
				return no_index;
			std::uint32_t const next = links[top].load(std::memory_order_relaxed);
			if (head_.compare_exchange_weak(head, successor(head, next), std::memory_order_acq_rel,
											std::memory_order_acquire))
			{
				in_use_.fetch_add(1, std::memory_order_relaxed);
				return top;
			}
		}
	}

	void
	push(Link *links, std::uint32_t index) noexcept
	{
		std::uint64_t head = head_.load(std::memory_order_acquire);
		do
			links[index].store(static_cast<std::uint32_t>(head), std::memory_order_relaxed);
		while (!head_.compare_exchange_weak(head, successor(head, index), std::memory_order_acq_rel,
											std::memory_order_acquire));
		in_use_.fetch_sub(1, std::memory_order_relaxed);
	}

	std::uint32_t
	in_use() const noexcept
	{
		return in_use_.load(std::memory_order_relaxed);
	}

  private:
	// The upper half counts changes, so that an index that left and came back is not taken for one
	// that never left.
	static constexpr std::uint64_t
	successor(std::uint64_t head, std::uint32_t top) noexcept
	{
		return (((head >> 32) + 1) << 32) | top;
	}

	std::atomic<std::uint64_t> head_;
	std::atomic<std::uint32_t> in_use_;

	static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
	static_assert(Link::is_always_lock_free);
};

} // namespace onceq::core
