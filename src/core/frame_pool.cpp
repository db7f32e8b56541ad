// SPDX-License-Identifier: PostgreSQL
#include "core/frame_pool.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include <cstring>
#include <new>

namespace onceq::core {

namespace {

constexpr std::size_t header_size = 64;

} // namespace

std::size_t
FramePool::size_for(std::uint32_t frames) noexcept
{
	static_assert(sizeof(FramePool) <= header_size);
	return header_size + std::size_t{frames} * (frame_size + sizeof(IndexStack::Link));
}

FramePool *
FramePool::create(void *memory, std::uint32_t frames) noexcept
{
	auto *pool = new (memory) FramePool;
	pool->capacity_ = frames;
	pool->free_.fill(pool->links(), frames);
	return pool;
}

FrameIndex
FramePool::take(std::uint32_t leave) noexcept
{
	if (leave > 0 && in_use() + leave >= capacity_)
		return no_frame;
	FrameIndex const frame = free_.pop(links());
	if (frame != no_frame)
		std::memset(address(frame), 0, frame_size);
	return frame;
}

void
FramePool::give_back(FrameIndex frame) noexcept
{
	ONCEQ_ASSERT(frame < capacity_);
	free_.push(links(), frame);
}

std::byte *
FramePool::address(FrameIndex frame) noexcept
{
	ONCEQ_ASSERT(frame < capacity_);
	return reinterpret_cast<std::byte *>(this) + header_size + std::size_t{frame} * frame_size;
}

IndexStack::Link *
FramePool::links() noexcept
{
	return reinterpret_cast<IndexStack::Link *>(reinterpret_cast<std::byte *>(this) + header_size +
												std::size_t{capacity_} * frame_size);
}

} // namespace onceq::core
