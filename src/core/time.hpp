// SPDX-License-Identifier: PostgreSQL
// Two kinds of time that must never be mixed, so they are two types.
//
// Wall is what people mean: microseconds since 2000-01-01 UTC, as TimestampTz; it can be stepped.
// Monotonic only ever grows while the machine runs; lease deadlines live on it. Core reads no clock:
// every function that needs a time takes it as a parameter.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace onceq::core {

using Microseconds = std::int64_t;

inline constexpr Microseconds microseconds_per_second = 1'000'000;

struct Wall
{
	std::int64_t us;

	friend constexpr auto operator<=>(Wall, Wall) noexcept = default;
};

struct Monotonic
{
	std::int64_t us;

	friend constexpr auto operator<=>(Monotonic, Monotonic) noexcept = default;
};

// The values of TimestampTz's -infinity and infinity.
inline constexpr Wall wall_always{std::numeric_limits<std::int64_t>::min()};
inline constexpr Wall wall_never{std::numeric_limits<std::int64_t>::max()};
inline constexpr Monotonic monotonic_always{std::numeric_limits<std::int64_t>::min()};
inline constexpr Monotonic monotonic_never{std::numeric_limits<std::int64_t>::max()};

constexpr std::int64_t
saturating_add(std::int64_t time, Microseconds span) noexcept
{
	std::int64_t sum = 0;
	if (__builtin_add_overflow(time, span, &sum))
		return span > 0 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int64_t>::min();
	return sum;
}

constexpr Wall
operator+(Wall time, Microseconds span) noexcept
{
	return Wall{saturating_add(time.us, span)};
}

constexpr Monotonic
operator+(Monotonic time, Microseconds span) noexcept
{
	return Monotonic{saturating_add(time.us, span)};
}

} // namespace onceq::core
