// SPDX-License-Identifier: PostgreSQL
// Proves the lease table (slots, tokens, what a free slot answers) and the list of a lease's runs:
// in the slot or in a frame of its own, at every limit, against a plain list of ids.
#include "core/lease.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace onceq::core::test {
namespace {

LeaseSlot &
granted(TableMemory const &table, std::uint64_t random = 12345)
{
	LeaseSlot *const lease = table->grant(7, random, LeaseHolder{});
	EXPECT_NE(lease, nullptr);
	return *lease;
}

// ---- the table

TEST(lease, a_granted_slot_is_provisional_empty_and_never_expires)
{
	TableMemory table(4);
	LeaseHolder holder{};
	holder.process = 42;
	LeaseSlot const *const lease = table->grant(7, 99, holder);
	ASSERT_NE(lease, nullptr);
	EXPECT_EQ(lease->state.load(), LeaseState::provisional);
	EXPECT_EQ(lease->deadline.load(), monotonic_never.us);
	EXPECT_EQ(lease->board.load(), 7U);
	EXPECT_EQ(lease->journal.load(), LeaseJournal::none);
	EXPECT_EQ(lease->holder.process, 42);
	EXPECT_EQ(lease->job_count, 0);
	EXPECT_EQ(lease->run_count, 0);
	EXPECT_TRUE(lease->held.empty());
	EXPECT_TRUE(lease->pinned.empty());
	EXPECT_EQ(slot_of(lease->token.load()), table->index_of(*lease));
}

TEST(lease, the_table_is_full_when_every_slot_is_granted)
{
	PoolMemory pool(1);
	TableMemory table(5);
	std::set<LeaseSlot *> slots;
	for (int i = 0; i < 5; i++)
		slots.insert(&granted(table));
	EXPECT_EQ(slots.size(), 5U);
	EXPECT_EQ(table->grant(7, 1, LeaseHolder{}), nullptr);
	EXPECT_EQ(table->in_use(), 5U);
	table->free(*pool, **slots.begin());
	EXPECT_EQ(table->grant(7, 1, LeaseHolder{}), *slots.begin());
	EXPECT_EQ(TableMemory(0)->grant(7, 1, LeaseHolder{}), nullptr);
}

TEST(lease, finds_the_slot_of_a_token_and_nothing_for_a_stranger)
{
	TableMemory table(4);
	LeaseSlot &lease = granted(table);
	Token const token = lease.token.load();
	EXPECT_EQ(table->find(token), &lease);
	EXPECT_EQ(table->find(0), nullptr);
	EXPECT_EQ(table->find(-1), nullptr);
	EXPECT_EQ(table->find(-token), nullptr);
	EXPECT_EQ(table->find(make_token(4, 1)), nullptr);
	EXPECT_NE(table->find(make_token(3, 1)), nullptr);
	EXPECT_EQ(table->find(make_token(3, 1))->token.load(), no_token);
}

TEST(lease, a_freed_slot_forgets_its_token_runs_and_frame)
{
	PoolMemory pool(1);
	TableMemory table(1);
	LeaseSlot &lease = granted(table);
	Token const token = lease.token.load();
	for (JobId id = 1; id <= 2 * lease_runs_inline; id++)
		ASSERT_TRUE(add_run(*pool, lease, 2 * id, 2 * id, 0));
	EXPECT_EQ(pool->in_use(), 1U);
	lease.held = lease.pinned = lease.released = JobSet::first(lease.job_count);
	table->free(*pool, lease);
	EXPECT_EQ(pool->in_use(), 0U);
	EXPECT_EQ(lease.token.load(), no_token);
	EXPECT_EQ(lease.state.load(), LeaseState::free);
	EXPECT_EQ(job_of(*pool, lease, 2), -1);
	LeaseSlot const &again = granted(table, 54321);
	EXPECT_EQ(&again, &lease);
	EXPECT_NE(again.token.load(), token);
	EXPECT_TRUE(again.held.empty());
	EXPECT_TRUE(again.pinned.empty());
	EXPECT_TRUE(again.released.empty());
}

TEST(lease, a_job_that_was_taken_again_has_its_last_number)
{
	PoolMemory pool(1);
	TableMemory table(1);
	LeaseSlot &lease = granted(table);
	ASSERT_TRUE(add_run(*pool, lease, 10, 12, 0));
	ASSERT_TRUE(add_run(*pool, lease, 11, 11, 0));
	EXPECT_EQ(job_of(*pool, lease, 10), 0);
	EXPECT_EQ(job_of(*pool, lease, 11), 3);
	EXPECT_EQ(job_of(*pool, lease, 12), 2);
}

TEST(lease, high_water_says_which_slots_were_ever_used)
{
	PoolMemory pool(1);
	TableMemory table(10);
	EXPECT_EQ(table->high_water(), 0U);
	LeaseSlot &first = granted(table);
	granted(table);
	EXPECT_EQ(table->high_water(), 2U);
	table->free(*pool, first);
	granted(table);
	EXPECT_EQ(table->high_water(), 2U);
	ASSERT_NE(table->restore(7, make_token(8, 5), LeaseHolder{}), nullptr);
	EXPECT_EQ(table->high_water(), 9U);
}

TEST(lease, a_restored_lease_has_the_token_it_had_before)
{
	TableMemory table(6);
	Token const token = make_token(4, 777);
	LeaseSlot const *const lease = table->restore(7, token, LeaseHolder{});
	ASSERT_NE(lease, nullptr);
	EXPECT_EQ(lease->token.load(), token);
	EXPECT_EQ(table->find(token), lease);
	EXPECT_EQ(table->in_use(), 1U);
	// Its slot is given to nobody else, every other one still is.
	std::set<std::uint32_t> given;
	while (LeaseSlot const *const other = table->grant(7, 1, LeaseHolder{}))
	{
		EXPECT_EQ(other->overflow, no_frame);
		given.insert(table->index_of(*other));
	}
	EXPECT_EQ(given, (std::set<std::uint32_t>{0, 1, 2, 3, 5}));
}

TEST(lease, a_lease_whose_slot_is_taken_is_restored_in_another_and_found)
{
	PoolMemory pool(1);
	TableMemory table(3);
	Token const tokens[] = {make_token(1, 1), make_token(1, 2), make_token(3, 2)};
	for (Token const token : tokens)
	{
		LeaseSlot *const lease = table->restore(7, token, LeaseHolder{});
		ASSERT_NE(lease, nullptr);
		EXPECT_EQ(table->find(token), lease);
	}
	EXPECT_EQ(table->in_use(), 3U);
	EXPECT_EQ(table->restore(7, make_token(0, 1), LeaseHolder{}), nullptr);
	for (Token const token : tokens)
	{
		table->free(*pool, *table->find(token));
		LeaseSlot const *const found = table->find(token);
		EXPECT_TRUE(found == nullptr || found->token.load() != token);
	}
	EXPECT_EQ(table->in_use(), 0U);
}

// The slot that a token names may lie deep in the stack of free ones: then it is not dug out, so that restoring
// many leases takes no time, and others find a slot meanwhile.
TEST(lease, many_leases_are_restored_wherever_their_slots_are)
{
	constexpr std::uint32_t slots = 5000;
	TableMemory table(slots);
	std::vector<Token> tokens;
	for (std::uint32_t i = 0; i < slots; i++)
		tokens.push_back(make_token(slots - 1 - i, i + 1));
	for (Token const token : tokens)
	{
		LeaseSlot const *const lease = table->restore(7, token, LeaseHolder{});
		ASSERT_NE(lease, nullptr);
		ASSERT_EQ(lease->overflow, no_frame);
	}
	EXPECT_EQ(table->in_use(), slots);
	EXPECT_EQ(table->grant(7, 1, LeaseHolder{}), nullptr);
	std::set<LeaseSlot const *> found;
	for (Token const token : tokens)
	{
		ASSERT_EQ(table->find(token)->token.load(), token);
		found.insert(table->find(token));
	}
	EXPECT_EQ(found.size(), slots);
}

TEST(lease, what_is_no_token_is_not_restored)
{
	TableMemory table(3);
	EXPECT_EQ(table->restore(7, no_token, LeaseHolder{}), nullptr);
	EXPECT_EQ(table->restore(7, -make_token(2, 2), LeaseHolder{}), nullptr);
	EXPECT_EQ(table->in_use(), 0U);
}

// ---- runs

TEST(lease, runs_keep_their_order_ids_and_numbers)
{
	PoolMemory pool(1);
	TableMemory table(1);
	LeaseSlot &lease = granted(table);
	ASSERT_TRUE(add_run(*pool, lease, 1000, 1009, 9));
	ASSERT_TRUE(add_run(*pool, lease, 20, 20, 3)); // lower, of a lower priority
	ASSERT_TRUE(add_run(*pool, lease, 5'000'000, 5'000'999, 0));
	set_attempt(*pool, lease, 1, 17);
	struct Expected
	{
		JobId first, last;
		int job, attempt, priority;
	};
	constexpr Expected expected[] = {{1000, 1009, 0, 1, 9}, {20, 20, 10, 17, 3}, {5'000'000, 5'000'999, 11, 1, 0}};
	for (int index = 0; index < 3; index++)
	{
		LeasedIds const run = run_at(*pool, lease, index);
		EXPECT_EQ(run.first, expected[index].first);
		EXPECT_EQ(run.last, expected[index].last);
		EXPECT_EQ(run.job, expected[index].job);
		EXPECT_EQ(run.attempt, expected[index].attempt);
		EXPECT_EQ(run.priority, expected[index].priority);
	}
	EXPECT_EQ(lease.job_count, 1011);
	EXPECT_EQ(job_of(*pool, lease, 1000), 0);
	EXPECT_EQ(job_of(*pool, lease, 1009), 9);
	EXPECT_EQ(job_of(*pool, lease, 20), 10);
	EXPECT_EQ(job_of(*pool, lease, 5'000'999), 1010);
	for (JobId const stranger : {JobId{19}, JobId{21}, JobId{999}, JobId{1010}, JobId{5'001'000}})
		EXPECT_EQ(job_of(*pool, lease, stranger), -1);
}

TEST(lease, takes_so_many_jobs_and_no_more)
{
	PoolMemory pool(1);
	TableMemory table(1);
	LeaseSlot &lease = granted(table);
	ASSERT_TRUE(add_run(*pool, lease, 1, 1000, 0));
	EXPECT_FALSE(add_run(*pool, lease, 5000, 5024, 0));
	EXPECT_TRUE(add_run(*pool, lease, 5000, 5023, 0));
	EXPECT_FALSE(add_run(*pool, lease, 9000, 9000, 0));
	EXPECT_EQ(lease.job_count, lease_jobs_max);
	EXPECT_EQ(lease.run_count, 2);
}

TEST(lease, takes_so_many_runs_and_no_more)
{
	PoolMemory pool(1);
	TableMemory table(1);
	LeaseSlot &lease = granted(table);
	for (JobId id = 1; id <= lease_runs_max; id++)
		ASSERT_TRUE(add_run(*pool, lease, 3 * id, 3 * id, 1)) << id;
	EXPECT_FALSE(add_run(*pool, lease, 1, 1, 1));
	EXPECT_EQ(lease.run_count, lease_runs_max);
	EXPECT_EQ(job_of(*pool, lease, 3 * lease_runs_max), lease_runs_max - 1);
	EXPECT_EQ(pool->in_use(), 1U);
}

TEST(lease, without_a_frame_a_lease_has_the_runs_of_its_slot)
{
	PoolMemory pool(0);
	TableMemory table(1);
	LeaseSlot &lease = granted(table);
	for (JobId id = 1; id <= lease_runs_inline; id++)
		ASSERT_TRUE(add_run(*pool, lease, 3 * id, 3 * id + 1, 1)) << id;
	EXPECT_FALSE(add_run(*pool, lease, 1000, 1000, 1));
	EXPECT_EQ(lease.run_count, lease_runs_inline);
	EXPECT_EQ(lease.job_count, 2 * lease_runs_inline);
	EXPECT_EQ(run_at(*pool, lease, lease_runs_inline - 1).last, 3 * lease_runs_inline + 1);
}

TEST(lease, refuses_ids_too_far_from_its_first)
{
	PoolMemory pool(1);
	TableMemory table(3);
	JobId const far = JobId{1} << 40;
	LeaseSlot &lease = granted(table);
	ASSERT_TRUE(add_run(*pool, lease, far, far, 0));
	EXPECT_FALSE(add_run(*pool, lease, 1, 1, 0));
	EXPECT_FALSE(add_run(*pool, lease, far - (JobId{1} << 31) - 1, far - (JobId{1} << 31), 0));
	EXPECT_TRUE(add_run(*pool, lease, far - (JobId{1} << 31), far - (JobId{1} << 31), 0));
	EXPECT_TRUE(add_run(*pool, lease, far + (JobId{1} << 31) - 1, far + (JobId{1} << 31) - 1, 0));
	EXPECT_FALSE(add_run(*pool, lease, far + (JobId{1} << 31), far + (JobId{1} << 31), 0));
	EXPECT_EQ(run_at(*pool, lease, 1).first, far - (JobId{1} << 31));
	EXPECT_EQ(run_at(*pool, lease, 2).first, far + (JobId{1} << 31) - 1);
}

TEST(lease, an_attempt_is_kept_within_its_bounds)
{
	PoolMemory pool(1);
	TableMemory table(1);
	LeaseSlot &lease = granted(table);
	ASSERT_TRUE(add_run(*pool, lease, 1, 1, 9));
	struct Case
	{
		int given, kept;
	};
	for (Case const &row : {Case{1, 1}, {0, 1}, {-5, 1}, {attempt_max, attempt_max}, {attempt_max + 1, attempt_max}})
	{
		set_attempt(*pool, lease, 0, row.given);
		EXPECT_EQ(run_at(*pool, lease, 0).attempt, row.kept);
		EXPECT_EQ(run_at(*pool, lease, 0).priority, 9);
	}
}

// ---- random leases against a list

struct Listed
{
	JobId id;
	int run;
};

void
expect_runs_of(FramePool &pool, LeaseSlot const &lease, std::vector<Listed> const &jobs, JobSet const &set)
{
	std::vector<JobId> visited;
	int last_run = -1;
	for_each_run(pool, lease, set, [&](LeasedIds const &ids) {
		// Longest: what comes before and after is no neighbour, not of the run, or not of the set.
		auto const job = static_cast<std::size_t>(ids.job);
		auto const end = job + static_cast<std::size_t>(ids.last - ids.first) + 1;
		ASSERT_EQ(jobs[job].id, ids.first);
		ASSERT_EQ(jobs[end - 1].id, ids.last);
		bool const first_of_run = job == 0 || jobs[job - 1].run != jobs[job].run;
		bool const last_of_run = end == jobs.size() || jobs[end].run != jobs[job].run;
		ASSERT_TRUE(first_of_run || !set.contains(ids.job - 1));
		ASSERT_TRUE(last_of_run || !set.contains(static_cast<int>(end)));
		ASSERT_GE(jobs[job].run, last_run);
		last_run = jobs[job].run;
		for (JobId id = ids.first; id <= ids.last; id++)
			visited.push_back(id);
	});
	std::vector<JobId> expected;
	for (std::size_t job = 0; job < jobs.size(); job++)
		if (set.contains(static_cast<int>(job)))
			expected.push_back(jobs[job].id);
	ASSERT_EQ(visited, expected);
}

TEST(lease, agrees_with_a_list_of_ids_whatever_its_runs)
{
	Dice dice(2048);
	PoolMemory pool(1);
	TableMemory table(1);
	for (int round = 0; round < 600; round++)
	{
		LeaseSlot &lease = granted(table, dice.bits());
		std::vector<Listed> jobs;
		JobId id = dice.below(1'000'000) + 1;
		int const runs = static_cast<int>(dice.between(1, dice.chance(30) ? lease_runs_max : 12));
		for (int run = 0; run < runs; run++)
		{
			JobId const length = dice.between(1, dice.chance(10) ? 200 : 4);
			bool const fits = lease.job_count + length <= lease_jobs_max;
			ASSERT_EQ(add_run(*pool, lease, id, id + length - 1, static_cast<int>(dice.below(10))), fits);
			for (JobId i = 0; fits && i < length; i++)
				jobs.push_back({id + i, run});
			id += length + dice.below(3);
		}
		ASSERT_EQ(static_cast<std::size_t>(lease.job_count), jobs.size());
		for (std::size_t job = 0; job < jobs.size(); job++)
			ASSERT_EQ(job_of(*pool, lease, jobs[job].id), static_cast<int>(job));
		expect_runs_of(*pool, lease, jobs, JobSet::first(lease.job_count));
		expect_runs_of(*pool, lease, jobs, JobSet{});
		JobSet some{};
		for (int job = 0; job < lease.job_count; job++)
			if (dice.chance(round % 100))
				some.add(job);
		expect_runs_of(*pool, lease, jobs, some);
		table->free(*pool, lease);
	}
	EXPECT_EQ(pool->in_use(), 0U);
}

} // namespace
} // namespace onceq::core::test
