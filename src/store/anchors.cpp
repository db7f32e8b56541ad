// SPDX-License-Identifier: PostgreSQL
#include <atomic>
#include <new>

#include "store/anchors.hpp"

extern "C" {
#include <common/hashfn.h>
#include <miscadmin.h>
}

namespace onceq::store {

namespace {

constexpr uint32 places = 16384;
constexpr uint64 anchors_max = 4; // of a group, before all its acks are indexed

// 30 bits that tell whose it is, 4 bits the number of anchors, 30 bits the block of the last one.
using Hint = std::atomic<uint64>;
static_assert(Hint::is_always_lock_free);

constexpr int block_bits = 30;
constexpr int count_bits = 4;
constexpr uint64 block_mask = (uint64{1} << block_bits) - 1;
constexpr uint64 count_mask = (uint64{1} << count_bits) - 1;
static_assert(anchors_max <= count_mask);

constinit Hint *hints = nullptr;

Size
hints_size()
{
	return sizeof(Hint) * places;
}

void
initialise(void *memory)
{
	for (uint32 i = 0; i < places; i++)
		new (static_cast<Hint *>(memory) + i) Hint(0);
}

void
attach(void *memory)
{
	hints = static_cast<Hint *>(memory);
}

// The file, and not the table: who rewrites it moves the rows.
uint64
hash_of(Relation outcomes, core::JobId group)
{
#if PG_VERSION_NUM >= 160000
	uint64 const file = outcomes->rd_locator.relNumber;
#else
	uint64 const file = outcomes->rd_node.relNode;
#endif
	uint32 const table = hash_combine(murmurhash32(static_cast<uint32>(file)), murmurhash32(MyDatabaseId));
	uint64 const number = static_cast<uint64>(group / anchor_group);
	return uint64{hash_combine(table, murmurhash32(static_cast<uint32>(number)))} << 32 |
		   murmurhash32(table ^ static_cast<uint32>(number * 3));
}

} // namespace

base::ShmemItem const anchors_shmem_item{"onceq_anchors", hints_size, initialise, attach, nullptr};

Anchor::Anchor(Relation outcomes, core::JobId first_id, BlockNumber block)
{
	uint64 const hash = hash_of(outcomes, first_id_of_group(first_id));
	uint64 const owner = hash >> (block_bits + count_bits);
	place_ = static_cast<uint32>(hash % places);
	uint64 const found = hints[place_].load(std::memory_order_relaxed);
	uint64 const anchor = found & block_mask;
	bool const is_ours = found >> (block_bits + count_bits) == owner && found != 0;
	is_needed_ = !is_ours || block + anchor_reach_back < anchor || block >= anchor + (anchor_reach - anchor_reach_back);
	uint64 const count = is_ours ? found >> block_bits & count_mask : 0;
	hint_ = count < anchors_max && block <= block_mask
				? owner << (block_bits + count_bits) | (count + 1) << block_bits | block
				: found;
}

void
Anchor::note() const
{
	hints[place_].store(hint_, std::memory_order_relaxed);
}

} // namespace onceq::store
