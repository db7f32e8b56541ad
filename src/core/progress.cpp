// SPDX-License-Identifier: PostgreSQL
#include "core/progress.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include <new>

namespace onceq::core {

namespace {

constexpr std::size_t header_size = 64;

} // namespace

std::size_t
ProgressTable::size_for(std::uint32_t entries) noexcept
{
	static_assert(sizeof(ProgressTable) <= header_size);
	return header_size + std::size_t{entries} * (sizeof(Entry) + sizeof(IndexStack::Link));
}

ProgressTable *
ProgressTable::create(void *memory, std::uint32_t entries) noexcept
{
	auto *const table = new (memory) ProgressTable;
	table->capacity_ = entries;
	table->free_.fill(table->links(), entries);
	return table;
}

bool
ProgressTable::set(std::uint32_t &chain, int job, Progress const &progress) noexcept
{
	Entry *entry = entry_of(chain, job);
	if (entry == nullptr)
	{
		std::uint32_t const index = free_.pop(links());
		if (index == no_index)
			return false;
		entry = &at(index);
		entry->next = chain;
		entry->job = static_cast<std::int16_t>(job);
		chain = index;
	}
	entry->progress = progress;
	return true;
}

Progress const *
ProgressTable::find(std::uint32_t chain, int job) noexcept
{
	Entry const *const entry = entry_of(chain, job);
	return entry != nullptr ? &entry->progress : nullptr;
}

void
ProgressTable::forget(std::uint32_t &chain, JobSet const &jobs) noexcept
{
	for (std::uint32_t *link = &chain; *link != no_index;)
	{
		std::uint32_t const index = *link;
		if (!jobs.contains(at(index).job))
		{
			link = &at(index).next;
			continue;
		}
		*link = at(index).next;
		free_.push(links(), index);
	}
}

ProgressTable::Entry *
ProgressTable::entry_of(std::uint32_t chain, int job) noexcept
{
	for (std::uint32_t index = chain; index != no_index; index = at(index).next)
		if (at(index).job == job)
			return &at(index);
	return nullptr;
}

ProgressTable::Entry &
ProgressTable::at(std::uint32_t index) noexcept
{
	ONCEQ_ASSERT(index < capacity_);
	return reinterpret_cast<Entry *>(reinterpret_cast<std::byte *>(this) + header_size)[index];
}

IndexStack::Link *
ProgressTable::links() noexcept
{
	return reinterpret_cast<IndexStack::Link *>(reinterpret_cast<std::byte *>(this) + header_size +
												std::size_t{capacity_} * sizeof(Entry));
}

} // namespace onceq::core
