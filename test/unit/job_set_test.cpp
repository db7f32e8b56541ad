// SPDX-License-Identifier: PostgreSQL
// Proves the set of a lease's jobs against std::bitset: borders of words, the walk over members and
// gaps, and the algebra that "held and not pinned" is made of.
#include "core/job_set.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <bitset>

namespace onceq::core::test {
namespace {

using Bits = std::bitset<lease_jobs_max>;

void
expect_same(JobSet const &set, Bits const &bits)
{
	for (int job = 0; job < lease_jobs_max; job++)
		ASSERT_EQ(set.contains(job), bits.test(static_cast<std::size_t>(job))) << job;
	ASSERT_EQ(set.size(), static_cast<int>(bits.count()));
	ASSERT_EQ(set.empty(), bits.none());
}

int
next(Bits const &bits, int start, int limit, bool member)
{
	for (int job = start; job < limit; job++)
		if (bits.test(static_cast<std::size_t>(job)) == member)
			return job;
	return limit;
}

TEST(job_set, first_holds_exactly_so_many)
{
	for (int count = 0; count <= lease_jobs_max; count++)
	{
		JobSet const set = JobSet::first(count);
		ASSERT_EQ(set.size(), count);
		ASSERT_EQ(set.next(0, lease_jobs_max, false), count);
		ASSERT_EQ(set.empty(), count == 0);
	}
}

TEST(job_set, walks_members_and_gaps_over_word_borders)
{
	JobSet set{};
	for (int const job : {0, 63, 64, 127, 500, lease_jobs_max - 1})
		set.add(job);
	EXPECT_EQ(set.next(0, lease_jobs_max, true), 0);
	EXPECT_EQ(set.next(1, lease_jobs_max, true), 63);
	EXPECT_EQ(set.next(63, lease_jobs_max, false), 65);
	EXPECT_EQ(set.next(65, lease_jobs_max, true), 127);
	EXPECT_EQ(set.next(128, 500, true), 500);
	EXPECT_EQ(set.next(128, 501, true), 500);
	EXPECT_EQ(set.next(501, lease_jobs_max - 1, true), lease_jobs_max - 1);
	EXPECT_EQ(set.next(501, lease_jobs_max, true), lease_jobs_max - 1);
	EXPECT_EQ(set.next(lease_jobs_max, lease_jobs_max, true), lease_jobs_max);
}

TEST(job_set, can_be_worked_with_at_compile_time)
{
	constexpr JobSet left = JobSet::first(100);
	constexpr JobSet right = JobSet::first(40);
	static_assert(left.includes(right) && !right.includes(left));
	static_assert((left - right).size() == 60 && (left & right) == right);
	static_assert(JobSet{}.empty() && left.includes(JobSet{}));
}

TEST(job_set, agrees_with_a_bitset_through_random_algebra)
{
	Dice dice(64);
	JobSet sets[3] = {};
	Bits bits[3];
	for (int step = 0; step < 50'000; step++)
	{
		auto const a = static_cast<std::size_t>(dice.below(3));
		auto const b = static_cast<std::size_t>(dice.below(3));
		int const job = static_cast<int>(dice.below(lease_jobs_max));
		switch (dice.below(8))
		{
			case 0:
				sets[a] |= sets[b];
				bits[a] |= bits[b];
				break;
			case 1:
				sets[a] &= sets[b];
				bits[a] &= bits[b];
				break;
			case 2:
				sets[a] -= sets[b];
				bits[a] &= ~Bits(bits[b]);
				break;
			case 3:
				sets[a] = JobSet::first(job);
				bits[a] = Bits();
				for (int i = 0; i < job; i++)
					bits[a].set(static_cast<std::size_t>(i));
				break;
			case 4:
				sets[a].remove(job);
				bits[a].reset(static_cast<std::size_t>(job));
				break;
			default:
				sets[a].add(job);
				bits[a].set(static_cast<std::size_t>(job));
		}
		ASSERT_EQ(sets[a].includes(sets[b]), (bits[b] & ~bits[a]).none());
		ASSERT_EQ(sets[a] == sets[b], bits[a] == bits[b]);
		int const limit = job + static_cast<int>(dice.below(lease_jobs_max - job + 1));
		for (bool const member : {false, true})
			ASSERT_EQ(sets[a].next(job, limit, member), next(bits[a], job, limit, member));
		if (step % 50 == 0)
			expect_same(sets[a], bits[a]);
	}
}

} // namespace
} // namespace onceq::core::test
