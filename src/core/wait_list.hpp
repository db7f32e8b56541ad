// SPDX-License-Identifier: PostgreSQL
// Who waits for jobs of one board, in the order they came. The nodes lie in an array that all lists
// share; which node is whose, and in which list, its owner knows.
//
// Requires, for every function: the lock of the list.
#pragma once

#include "core/assert.hpp"
#include "core/index_stack.hpp"

#include <cstdint>

namespace onceq::core {

struct WaitNode
{
	std::uint32_t next;
	std::uint32_t previous;
	bool listed;
};

class WaitList
{
  public:
	void
	initialise() noexcept
	{
		first_ = last_ = no_index;
	}

	bool
	empty() const noexcept
	{
		return first_ == no_index;
	}

	// At the end. Requires: not listed.
	void
	push(WaitNode *nodes, std::uint32_t index) noexcept
	{
		ONCEQ_ASSERT(!nodes[index].listed);
		nodes[index] = {no_index, last_, true};
		(last_ == no_index ? first_ : nodes[last_].next) = index;
		last_ = index;
	}

	// The one that came first; no_index: nobody waits.
	std::uint32_t
	pop(WaitNode *nodes) noexcept
	{
		std::uint32_t const index = first_;
		if (index != no_index)
			remove(nodes, index);
		return index;
	}

	// Requires: listed here.
	void
	remove(WaitNode *nodes, std::uint32_t index) noexcept
	{
		ONCEQ_ASSERT(nodes[index].listed);
		WaitNode &node = nodes[index];
		(node.previous == no_index ? first_ : nodes[node.previous].next) = node.next;
		(node.next == no_index ? last_ : nodes[node.next].previous) = node.previous;
		node.listed = false;
	}

  private:
	std::uint32_t first_;
	std::uint32_t last_;
};

} // namespace onceq::core
