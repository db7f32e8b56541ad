// SPDX-License-Identifier: PostgreSQL
#include "core/ageing.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include "core/assert.hpp"

#include <algorithm>

namespace onceq::core {

void
WaitingTimes::begin() noexcept
{
	taken_ = 0;
	count_ = 0;
}

void
WaitingTimes::find(std::int64_t ready, Monotonic now, Microseconds grain) noexcept
{
	std::int64_t const last = taken_ + ready;
	forget_lost(last);
	if (ready == 0 || (count_ > 0 && sample_[count_ - 1].last == last))
		return;
	if (count_ > 0 && now < sample_[count_ - 1].found + grain)
	{
		sample_[count_ - 1].last = last;
		return;
	}
	if (count_ == samples_max)
		merge_two(now);
	sample_[count_++] = {last, now};
}

void
WaitingTimes::take(std::int64_t jobs) noexcept
{
	ONCEQ_ASSERT(jobs <= next_count());
	taken_ += jobs;
	if (sample_[0].last == taken_)
	{
		std::copy(sample_ + 1, sample_ + count_, sample_);
		count_--;
	}
}

Monotonic
WaitingTimes::next_since() const noexcept
{
	ONCEQ_ASSERT(count_ > 0);
	return sample_[0].found;
}

std::int64_t
WaitingTimes::next_count() const noexcept
{
	ONCEQ_ASSERT(count_ > 0);
	return sample_[0].last - taken_;
}

// Jobs that were purged or cancelled are taken for the youngest ones.
void
WaitingTimes::forget_lost(std::int64_t last) noexcept
{
	while (count_ > 0 && (count_ > 1 ? sample_[count_ - 2].last : taken_) >= last)
		count_--;
	if (count_ > 0)
		sample_[count_ - 1].last = std::min(sample_[count_ - 1].last, last);
}

// Of neighbours, those whose ages differ least become one, which is as old as the younger.
void
WaitingTimes::merge_two(Monotonic now) noexcept
{
	int best = 0;
	double best_ratio = 0;
	for (int i = 0; i + 1 < count_; i++)
	{
		auto const older = static_cast<double>(now.us - sample_[i].found.us);
		auto const younger = static_cast<double>(now.us - sample_[i + 1].found.us);
		if (younger > best_ratio * older)
		{
			best = i;
			best_ratio = younger / older;
		}
	}
	std::copy(sample_ + best + 1, sample_ + count_, sample_ + best);
	count_--;
}

} // namespace onceq::core
