// SPDX-License-Identifier: PostgreSQL
// A set of the jobs of one lease: one bit per job, in the order in which the lease's runs list them.
#pragma once

#include <bit>
#include <cstdint>

namespace onceq::core {

inline constexpr int lease_jobs_max = 1024;

class JobSet
{
  public:
	static constexpr JobSet
	first(int count) noexcept
	{
		JobSet set{};
		for (int word = 0; word * 64 < count; word++)
			set.word_[word] =
				count - word * 64 >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (count - word * 64)) - 1;
		return set;
	}

	constexpr bool
	contains(int job) const noexcept
	{
		return (word_[job / 64] >> (job % 64)) & 1;
	}

	constexpr void
	add(int job) noexcept
	{
		word_[job / 64] |= std::uint64_t{1} << (job % 64);
	}

	constexpr void
	remove(int job) noexcept
	{
		word_[job / 64] &= ~(std::uint64_t{1} << (job % 64));
	}

	constexpr int
	size() const noexcept
	{
		int sum = 0;
		for (std::uint64_t const word : word_)
			if (word != 0) // popcount is a call on processors in general, and most sets are small
				sum += std::popcount(word);
		return sum;
	}

	constexpr bool
	empty() const noexcept
	{
		for (std::uint64_t const word : word_)
			if (word != 0)
				return false;
		return true;
	}

	// The first job at or after start whose membership is as asked; limit: none before it.
	constexpr int
	next(int start, int limit, bool member) const noexcept
	{
		for (int job = start; job < limit; job = (job / 64 + 1) * 64)
		{
			std::uint64_t const bits = (member ? word_[job / 64] : ~word_[job / 64]) >> (job % 64);
			if (bits != 0)
			{
				int const found = job + std::countr_zero(bits);
				return found < limit ? found : limit;
			}
		}
		return limit;
	}

	constexpr JobSet &
	operator|=(JobSet const &other) noexcept
	{
		for (int i = 0; i < words; i++)
			word_[i] |= other.word_[i];
		return *this;
	}

	constexpr JobSet &
	operator&=(JobSet const &other) noexcept
	{
		for (int i = 0; i < words; i++)
			word_[i] &= other.word_[i];
		return *this;
	}

	constexpr JobSet &
	operator-=(JobSet const &other) noexcept
	{
		for (int i = 0; i < words; i++)
			word_[i] &= ~other.word_[i];
		return *this;
	}

	friend constexpr JobSet
	operator&(JobSet left, JobSet const &right) noexcept
	{
		return left &= right;
	}

	friend constexpr JobSet
	operator|(JobSet left, JobSet const &right) noexcept
	{
		return left |= right;
	}

	friend constexpr JobSet
	operator-(JobSet left, JobSet const &right) noexcept
	{
		return left -= right;
	}

	friend constexpr bool operator==(JobSet const &, JobSet const &) noexcept = default;

	constexpr bool
	includes(JobSet const &other) const noexcept
	{
		return (other - *this).empty();
	}

  private:
	static constexpr int words = lease_jobs_max / 64;

	std::uint64_t word_[words];
};

} // namespace onceq::core
