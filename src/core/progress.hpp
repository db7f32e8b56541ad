// SPDX-License-Identifier: PostgreSQL
// How far running jobs are, as their holders say: a fixed number of entries, chained by lease.
//
// Locks: a chain is under the lock of the board that its lease belongs to; taking and giving back an
// entry needs none.
#pragma once

#include "core/index_stack.hpp"
#include "core/job_set.hpp"

namespace onceq::core {

inline constexpr int progress_message_max = 200; // bytes
inline constexpr std::int64_t no_total = -1;

struct Progress
{
	std::int64_t current;
	std::int64_t total;                     // no_total: not known
	char message[progress_message_max + 1]; // empty: none
};

class ProgressTable
{
  public:
	static std::size_t size_for(std::uint32_t entries) noexcept;
	static ProgressTable *create(void *memory, std::uint32_t entries) noexcept;

	// Of a lease's job, by its number; false: all entries are in use, nothing changed. A chain begins as no_index.
	bool set(std::uint32_t &chain, int job, Progress const &progress) noexcept;
	// nullptr: none.
	Progress const *find(std::uint32_t chain, int job) noexcept;
	void forget(std::uint32_t &chain, JobSet const &jobs) noexcept;

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
	struct Entry
	{
		Progress progress;
		std::uint32_t next;
		std::int16_t job;
	};

	Entry &at(std::uint32_t index) noexcept;
	Entry *entry_of(std::uint32_t chain, int job) noexcept;
	IndexStack::Link *links() noexcept;

	IndexStack free_;
	std::uint32_t capacity_;
};

} // namespace onceq::core
