// SPDX-License-Identifier: PostgreSQL
// What the tests of core/ share: memory laid out as the server lays it out, a dice that falls the
// same way every time, and names for states.
#pragma once

#include "core/board.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <ostream>
#include <random>
#include <span>

namespace onceq::core {

inline std::ostream &
operator<<(std::ostream &out, JobState state)
{
	static constexpr std::array<char const *, 6> names = {"none", "reserved", "waiting", "leased", "seized", "blocked"};
	if (is_ready(state))
		return out << "ready" << priority_of(state);
	return out << names[static_cast<std::size_t>(state)];
}

} // namespace onceq::core

namespace onceq::core::test {

// Exactly as many bytes as asked for, so that the sanitizer sees the first one too many.
class AlignedMemory
{
  public:
	explicit AlignedMemory(std::size_t size) : bytes_(::operator new (size, std::align_val_t{64})) {}
	~AlignedMemory() { ::operator delete (bytes_, std::align_val_t{64}); }
	AlignedMemory(AlignedMemory const &) = delete;
	AlignedMemory &operator=(AlignedMemory const &) = delete;

	void *
	get() const
	{
		return bytes_;
	}

  private:
	void *bytes_;
};

class PoolMemory
{
  public:
	explicit PoolMemory(std::uint32_t frames)
		: memory_(FramePool::size_for(frames)), pool_(FramePool::create(memory_.get(), frames))
	{
	}

	FramePool &
	operator*() const
	{
		return *pool_;
	}
	FramePool *
	operator->() const
	{
		return pool_;
	}

  private:
	AlignedMemory memory_;
	FramePool *pool_;
};

class TableMemory
{
  public:
	explicit TableMemory(std::uint32_t slots, std::uint32_t progress_slots = 64)
		: memory_(LeaseTable::size_for(slots, progress_slots)),
		  table_(LeaseTable::create(memory_.get(), slots, progress_slots))
	{
	}

	LeaseTable &
	operator*() const
	{
		return *table_;
	}
	LeaseTable *
	operator->() const
	{
		return table_;
	}

  private:
	AlignedMemory memory_;
	LeaseTable *table_;
};

// Falls as a fuzzer wants it while there are bytes, which are used sparingly.
class Dice
{
  public:
	explicit Dice(std::uint64_t seed, std::span<std::uint8_t const> bytes = {}) : engine_(seed), bytes_(bytes) {}

	std::uint64_t
	bits()
	{
		return bytes_.empty() ? engine_() : next_bytes(8);
	}

	// 0 … count-1
	std::int64_t
	below(std::int64_t count)
	{
		std::uint64_t const wide = bytes_.empty() ? engine_() : next_bytes(count <= 256 ? 1 : count <= 65536 ? 2 : 8);
		return static_cast<std::int64_t>(wide % static_cast<std::uint64_t>(count));
	}

	std::int64_t
	between(std::int64_t low, std::int64_t high)
	{
		return low + below(high - low + 1);
	}
	bool
	chance(int percent)
	{
		return below(100) < percent;
	}

	bool
	has_bytes() const
	{
		return !bytes_.empty();
	}

  private:
	std::uint64_t
	next_bytes(std::size_t count)
	{
		std::uint64_t number = 0;
		for (; count > 0 && !bytes_.empty(); count--)
		{
			number = number << 8 | bytes_.front();
			bytes_ = bytes_.subspan(1);
		}
		return number;
	}

	std::mt19937_64 engine_;
	std::span<std::uint8_t const> bytes_;
};

} // namespace onceq::core::test
