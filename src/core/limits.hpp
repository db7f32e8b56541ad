// SPDX-License-Identifier: PostgreSQL
// How many jobs of a queue may run at once, and how many may be delivered in a time.
#pragma once

#include "core/time.hpp"

#include <algorithm>
#include <cstdint>

namespace onceq::core {

// limit jobs in each period, and burst of them at once after a pause. limit 0: no limit.
struct Rate
{
	std::int32_t limit;
	std::int32_t burst;
	Microseconds period;

	friend constexpr bool operator==(Rate const &, Rate const &) noexcept = default;
};

inline constexpr std::int32_t rate_limit_max = 1'000'000; // and of burst
inline constexpr Microseconds rate_period_max = 24 * 3600 * microseconds_per_second;
static_assert(rate_period_max < INT64_MAX / rate_limit_max / 2);

// A token bucket, counted in tokens × period, so that nothing is lost by rounding.
class TokenBucket
{
  public:
	// Empty at this time; it begins to fill when it is first asked with a limit, as if it had been from then on.
	void
	begin(Monotonic empty_at) noexcept
	{
		rate_ = Rate{};
		level_ = 0;
		at_ = empty_at;
		begun_ = empty_at;
	}

	// How many jobs may be delivered now. Requires: rate.limit > 0.
	std::int32_t
	available(Rate const &rate, Monotonic now) noexcept
	{
		adapt(rate, now);
		return static_cast<std::int32_t>(level_ / rate_.period);
	}

	// From now on there is no limit.
	void
	open() noexcept
	{
		rate_ = Rate{};
	}

	// Jobs that were delivered; and those of them that were not in the end.
	void
	take(std::int32_t jobs) noexcept
	{
		level_ -= jobs * rate_.period;
	}
	void
	give_back(std::int32_t jobs) noexcept
	{
		level_ = std::min(level_ + jobs * rate_.period, full());
	}

	// How long until one job may be delivered. Requires: available() was asked just now.
	Microseconds
	wait() const noexcept
	{
		return level_ >= rate_.period ? 0 : (rate_.period - level_ + rate_.limit - 1) / rate_.limit;
	}

  private:
	std::int64_t
	full() const noexcept
	{
		return rate_.burst * rate_.period;
	}

	void
	adapt(Rate const &rate, Monotonic now) noexcept
	{
		if (rate_.limit == 0)
		{
			level_ = 0;
			at_ = begun_;
		}
		else if (!(rate == rate_))
			level_ = std::min(level_ / rate_.period, std::int64_t{rate.burst}) * rate.period;
		rate_ = rate;
		if (now <= at_)
			return;
		Microseconds const to_fill = (full() - level_ + rate.limit - 1) / rate.limit;
		bool const fills = at_.us < now.us - to_fill; // not by their difference: at_ may be monotonic_always
		level_ = fills ? full() : std::min(level_ + (now.us - at_.us) * rate.limit, full());
		at_ = now;
	}

	Rate rate_; // by which it was filled last
	std::int64_t level_;
	Monotonic at_; // when it was filled last
	Monotonic begun_;
};

// What a queue allows. 0: no limit.
struct Limits
{
	std::int32_t running;
	Rate rate;
};

} // namespace onceq::core
