// SPDX-License-Identifier: PostgreSQL
// Proves that what is reported of a job is found until the job leaves its lease, and no longer; that a full
// table refuses without changing anything; and that its entries come back.
#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <map>

namespace onceq::core::test {
namespace {

Progress
at(std::int64_t current, char const *message = "")
{
	Progress progress{current, no_total, {}};
	std::snprintf(progress.message, sizeof(progress.message), "%s", message);
	return progress;
}

class ProgressMemory
{
  public:
	explicit ProgressMemory(std::uint32_t entries)
		: memory_(ProgressTable::size_for(entries)), table_(ProgressTable::create(memory_.get(), entries))
	{
	}
	ProgressTable *
	operator->() const
	{
		return table_;
	}

  private:
	AlignedMemory memory_;
	ProgressTable *table_;
};

JobSet
only(int job)
{
	JobSet set{};
	set.add(job);
	return set;
}

TEST(progress, the_last_report_of_a_job_is_found)
{
	ProgressMemory table(4);
	std::uint32_t chain = no_index;
	EXPECT_EQ(table->find(chain, 0), nullptr);
	ASSERT_TRUE(table->set(chain, 7, at(1, "one")));
	ASSERT_TRUE(table->set(chain, 3, at(5)));
	ASSERT_TRUE(table->set(chain, 7, at(2)));
	EXPECT_EQ(table->find(chain, 7)->current, 2);
	EXPECT_EQ(table->find(chain, 7)->message[0], '\0');
	EXPECT_EQ(table->find(chain, 3)->current, 5);
	EXPECT_EQ(table->find(chain, 4), nullptr);
	EXPECT_EQ(table->in_use(), 2U);
}

TEST(progress, a_full_table_refuses_new_jobs_only)
{
	ProgressMemory table(2);
	std::uint32_t chain = no_index;
	std::uint32_t other = no_index;
	ASSERT_TRUE(table->set(chain, 0, at(1)));
	ASSERT_TRUE(table->set(other, 0, at(2)));
	EXPECT_FALSE(table->set(chain, 1, at(3)));
	EXPECT_EQ(table->find(chain, 1), nullptr);
	EXPECT_TRUE(table->set(chain, 0, at(4)));
	table->forget(other, only(0));
	EXPECT_EQ(other, no_index);
	EXPECT_TRUE(table->set(chain, 1, at(5)));
	EXPECT_FALSE(ProgressMemory(0)->set(other, 0, at(1)));
}

TEST(progress, chains_agree_with_maps_whatever_is_set_and_forgotten)
{
	constexpr int chains = 3;
	ProgressMemory table(20);
	Dice dice(5);
	std::uint32_t chain[chains] = {no_index, no_index, no_index};
	std::map<int, std::int64_t> model[chains];
	for (int step = 0; step < 20000; step++)
	{
		int const which = static_cast<int>(dice.bits() % chains);
		int const job = static_cast<int>(dice.bits() % 12);
		if (dice.bits() % 3 != 0)
		{
			bool const fits = model[which].count(job) != 0 || model[0].size() + model[1].size() + model[2].size() < 20;
			ASSERT_EQ(table->set(chain[which], job, at(step)), fits);
			if (fits)
				model[which][job] = step;
		}
		else
		{
			JobSet jobs{};
			for (int each = 0; each < 12; each++)
				if (dice.bits() % 2 != 0)
				{
					jobs.add(each);
					model[which].erase(each);
				}
			table->forget(chain[which], jobs);
		}
		for (int each = 0; each < 12; each++)
		{
			Progress const *const found = table->find(chain[which], each);
			ASSERT_EQ(found != nullptr, model[which].count(each) != 0);
			if (found == nullptr)
				continue;
			ASSERT_EQ(found->current, model[which][each]);
		}
	}
}

TEST(progress, of_a_job_ends_when_it_leaves_its_lease)
{
	Stand stand;
	stand.enqueue(3);
	Claimed const claimed = stand.claim(3);
	LeaseSlot &lease = *claimed.lease;
	ProgressTable &table = stand.table().progress();
	for (int job = 0; job < 3; job++)
		ASSERT_TRUE(table.set(lease.progress, job, at(job)));
	ASSERT_TRUE(pin(lease, claimed.token, only(0)));
	end(stand.board, stand.pool(), stand.table(), lease, only(0), Ending::succeeded, wall_always);
	EXPECT_EQ(table.find(lease.progress, 0), nullptr);
	EXPECT_EQ(table.find(lease.progress, 1)->current, 1);
	give_back(stand.board, stand.pool(), stand.table(), lease, only(1));
	EXPECT_EQ(table.in_use(), 1U);
	stand.table().free(stand.pool(), lease);
	EXPECT_EQ(table.in_use(), 0U);
}

} // namespace
} // namespace onceq::core::test
