// SPDX-License-Identifier: PostgreSQL
// What a job is right now, as the board knows it: exactly one of these, in four bits.
#pragma once

#include <cstdint>

namespace onceq::core {

using JobId = std::int64_t;

enum class JobState : std::uint8_t
{
	none = 0,         // never enqueued, rolled back, or finished
	reserved = 1,     // a producer's transaction has the id and has not ended
	waiting = 2,      // to be ready at its due time
	leased = 3,       // a lease slot owns it
	seized = 4,       // a transaction of maintenance owns it and remembers where it was
	blocked = 5,      // an earlier job of its ordering key has to end first
	ready_lowest = 6, // ready, priority 0; priority p is ready_lowest + p
	ready_highest = 15,
};

inline constexpr int job_state_count = 16;
inline constexpr int priority_max = 9;

constexpr JobState
ready_at(int priority) noexcept
{
	return static_cast<JobState>(static_cast<int>(JobState::ready_lowest) + priority);
}

constexpr bool
is_ready(JobState state) noexcept
{
	return state >= JobState::ready_lowest;
}

constexpr int
priority_of(JobState ready) noexcept
{
	return static_cast<int>(ready) - static_cast<int>(JobState::ready_lowest);
}

// States whose end may come in a commit or abort callback: their page must stay in memory, so that
// leaving them never needs any.
constexpr bool
keeps_page(JobState state) noexcept
{
	return state == JobState::reserved || state == JobState::leased || state == JobState::seized;
}

static_assert(priority_of(JobState::ready_highest) == priority_max);

} // namespace onceq::core
