// SPDX-License-Identifier: PostgreSQL
// Who has which piece of the fixed memory that all boards share.
//
// The pool is the last in the lock order: it is used under any board's lock and takes none itself.
// A frame's content belongs to whoever took it.
#pragma once

#include "core/index_stack.hpp"

namespace onceq::core {

using FrameIndex = std::uint32_t;

inline constexpr FrameIndex no_frame = no_index;
inline constexpr std::size_t frame_size = 2176;

class FramePool
{
  public:
	// Bytes the pool needs for this many frames, itself included.
	static std::size_t size_for(std::uint32_t frames) noexcept;

	// Lays a pool out at memory (aligned to 64 bytes, size_for(frames) long).
	static FramePool *create(void *memory, std::uint32_t frames) noexcept;

	// Takes a frame, its bytes zeroed; no_frame when none is left, or no more than leave. Takers at the
	// same time may together go a little below that.
	FrameIndex take(std::uint32_t leave = 0) noexcept;
	void give_back(FrameIndex frame) noexcept;

	template <typename T>
	T &
	at(FrameIndex frame) noexcept
	{
		static_assert(sizeof(T) <= frame_size && alignof(T) <= 64);
		return *reinterpret_cast<T *>(address(frame));
	}

	std::uint32_t
	capacity() const noexcept
	{
		return capacity_;
	}

	std::uint32_t
	in_use() const noexcept
	{
		return free_.in_use();
	}

  private:
	std::byte *address(FrameIndex frame) noexcept;
	IndexStack::Link *links() noexcept;

	IndexStack free_;
	std::uint32_t capacity_;
};

} // namespace onceq::core
