// SPDX-License-Identifier: PostgreSQL
// Ageing: the longer a job waits, the more its priority counts, so that none waits for ever.
//
// A job of priority p that a claim first found ready at time t comes before one of a higher priority q
// that was found at u, if t - p * step < u - q * step: it has waited more than (q - p) * step longer.
// Within a priority the lowest id comes first. What claims find is kept as a few samples for each
// priority, so that the choice costs the same however many jobs there are.
#pragma once

#include "core/time.hpp"

#include <cstdint>

namespace onceq::core {

struct Ageing
{
	Microseconds step; // of waiting, that counts as much as one priority; 0: priorities count alone
	Monotonic now;
};

inline constexpr Ageing no_ageing{0, Monotonic{0}};

// Since when the jobs of one priority have been waiting. They are counted in the order in which they
// became ready; jobs taken in another order change places. Times are not exact: a job seems to have
// waited up to grain longer than it has, or, since samples are few, as little as a third of that.
class WaitingTimes
{
  public:
	void begin() noexcept;

	// A claim finds so many jobs ready now.
	void find(std::int64_t ready, Monotonic now, Microseconds grain) noexcept;

	// So many of them were taken. Requires: at most next_count().
	void take(std::int64_t jobs) noexcept;

	// Since when the next job waits, and how many after it seem to wait as long. Requires: ready > 0 at find(), and not
	// all of them taken since.
	Monotonic next_since() const noexcept;
	std::int64_t next_count() const noexcept;

  private:
	static constexpr int samples_max = 12;

	// Jobs with numbers above the sample's before it and up to last were found at this time.
	struct Sample
	{
		std::int64_t last;
		Monotonic found;
	};

	void forget_lost(std::int64_t last) noexcept;
	void merge_two(Monotonic now) noexcept;

	std::int64_t taken_; // the number of the last job taken
	std::int32_t count_;
	Sample sample_[samples_max];
};

} // namespace onceq::core
