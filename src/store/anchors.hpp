// SPDX-License-Identifier: PostgreSQL
// Where the acks of a job are to be looked for, without an index entry for each.
//
// Jobs are mostly acked in the order of their ids, so acks of neighbouring ids lie in neighbouring blocks.
// An ack that lies far from those of its group of ids is entered in an index, as an anchor: the acks of
// the group that follow lie within a few blocks of it, or become anchors themselves. What a group's last
// anchor is stands in shared memory, as a hint: what is not known there becomes an anchor. A group that is
// acked in no order at all has all its acks indexed after the first few anchors.
//
// An anchor serves as a place only, whether its row is visible or not. If one is removed, by VACUUM after an
// abort, acks near it are found by reading the whole table.
#pragma once

#include "core/state_map.hpp"

#include "base/postgres.hpp"
#include "base/shmem.hpp"

extern "C" {
#include <storage/block.h>
#include <utils/rel.h>
}

namespace onceq::store {

extern base::ShmemItem const anchors_shmem_item;

inline constexpr core::JobId anchor_group = 2048; // ids
inline constexpr BlockNumber anchor_reach_back = 8;
inline constexpr BlockNumber anchor_reach = 32; // blocks, those before it included

constexpr core::JobId
first_id_of_group(core::JobId id)
{
	return id / anchor_group * anchor_group;
}

// Whether an ack that was stored in this block has to be entered in the index; to be told once it is.
class Anchor
{
  public:
	Anchor(Relation outcomes, core::JobId first_id, BlockNumber block);

	bool
	is_needed() const
	{
		return is_needed_;
	}

	void note() const;

  private:
	uint32 place_;
	uint64 hint_; // what becomes of it; as it was: the group has its anchors
	bool is_needed_;
};

} // namespace onceq::store
