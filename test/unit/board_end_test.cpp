// SPDX-License-Identifier: PostgreSQL
// Proves the end of a delivery: who may end a job, once and once only; what COMMIT and ABORT make of
// it; and how the worker takes a lease away.
#include "core/board.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

namespace onceq::core::test {
namespace {

JobSet
only(int job)
{
	JobSet set{};
	set.add(job);
	return set;
}

// ---- who may end

TEST(board_end, only_the_token_of_the_lease_may_end_its_jobs)
{
	Stand stand;
	stand.enqueue(2);
	Claimed const claimed = stand.claim(2);
	JobSet const all = claimed.all();
	EXPECT_TRUE(may_end(*claimed.lease, claimed.token, all));
	EXPECT_FALSE(may_end(*claimed.lease, claimed.token + 1, all));
	EXPECT_FALSE(may_end(*claimed.lease, no_token, all));
	EXPECT_FALSE(pin(*claimed.lease, make_token(0, 4711), all));
	EXPECT_TRUE(claimed.lease->pinned.empty());
	EXPECT_FALSE(may_end(*claimed.lease, claimed.token, JobSet::first(3)));
}

TEST(board_end, the_token_of_a_freed_slot_ends_nothing)
{
	Stand stand(64, 1);
	stand.enqueue(2);
	Claimed const first = stand.claim(1);
	ASSERT_TRUE(stand.finish(first));
	EXPECT_FALSE(may_end(*first.lease, first.token, only(0)));
	EXPECT_FALSE(may_end(*first.lease, no_token, JobSet{}));
	Claimed const second = stand.claim(1);
	ASSERT_EQ(second.lease, first.lease);
	EXPECT_FALSE(pin(*second.lease, first.token, only(0)));
	EXPECT_TRUE(pin(*second.lease, second.token, only(0)));
}

TEST(board_end, of_two_transactions_that_end_a_job_one_passes_pre_commit)
{
	Stand stand;
	stand.enqueue(3);
	Claimed const claimed = stand.claim(3);
	// Both asked while the job was held.
	EXPECT_TRUE(may_end(*claimed.lease, claimed.token, only(1)));
	EXPECT_TRUE(may_end(*claimed.lease, claimed.token, claimed.all()));
	EXPECT_TRUE(pin(*claimed.lease, claimed.token, only(1)));
	EXPECT_FALSE(pin(*claimed.lease, claimed.token, claimed.all()));
	EXPECT_EQ(claimed.lease->pinned, only(1));
	EXPECT_TRUE(pin(*claimed.lease, claimed.token, only(2)));
}

TEST(board_end, a_failed_commit_gives_the_jobs_back_for_at_least_the_grace)
{
	Stand stand;
	stand.enqueue(2);
	Claimed const claimed = stand.claim(2, Monotonic{100});
	ASSERT_TRUE(pin(*claimed.lease, claimed.token, claimed.all()));
	unpin(*claimed.lease, claimed.token, only(0), Monotonic{50});
	EXPECT_EQ(claimed.lease->deadline.load(), 100);
	unpin(*claimed.lease, claimed.token, only(1), Monotonic{250});
	EXPECT_EQ(claimed.lease->deadline.load(), 250);
	EXPECT_TRUE(claimed.lease->pinned.empty());
	EXPECT_TRUE(may_end(*claimed.lease, claimed.token, claimed.all()));
	EXPECT_TRUE(stand.finish(claimed));
}

TEST(board_end, unpinning_with_a_token_that_no_longer_matches_changes_nothing)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.claim(1, Monotonic{100});
	ASSERT_TRUE(pin(*claimed.lease, claimed.token, claimed.all()));
	unpin(*claimed.lease, claimed.token + (1 << token_slot_bits), claimed.all(), Monotonic{900});
	EXPECT_EQ(claimed.lease->pinned, claimed.all());
	EXPECT_EQ(claimed.lease->deadline.load(), 100);
}

TEST(board_end, only_a_lease_that_is_held_is_extended)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.claim(1, Monotonic{100});
	EXPECT_TRUE(extend(*claimed.lease, claimed.token, Monotonic{500}));
	EXPECT_FALSE(may_expire(*claimed.lease, Monotonic{499}));
	EXPECT_FALSE(extend(*claimed.lease, claimed.token + (Token{1} << 40), Monotonic{900}));
	EXPECT_EQ(claimed.lease->deadline.load(), 500);
	lose(*claimed.lease, claimed.token);
	EXPECT_FALSE(extend(*claimed.lease, claimed.token, Monotonic{900}));
	begin_expiry(*claimed.lease, stand.table().index_of(*claimed.lease), 7);
	EXPECT_FALSE(extend(*claimed.lease, claimed.token, Monotonic{900}));
}

// ---- time limits

TEST(board_end, no_deadline_lies_beyond_the_hard_time_limit)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.take_ready(1);
	LeaseSlot &lease = *claimed.lease;
	lease.holder.hard_time_limit = 300;
	begin_limits(lease, Monotonic{1000});
	hold(stand.board, lease, Monotonic{5000});
	EXPECT_EQ(lease.deadline.load(), 1300);
	EXPECT_TRUE(extend(lease, claimed.token, Monotonic{1200}));
	EXPECT_EQ(lease.deadline.load(), 1200);
	EXPECT_TRUE(extend(lease, claimed.token, Monotonic{1301}));
	EXPECT_EQ(lease.deadline.load(), 1300);
	ASSERT_TRUE(pin(lease, claimed.token, claimed.all()));
	EXPECT_FALSE(may_expire(lease, Monotonic{1300}));
	unpin(lease, claimed.token, claimed.all(), Monotonic{9000});
	EXPECT_EQ(lease.deadline.load(), 1300);
	EXPECT_TRUE(may_expire(lease, Monotonic{1300}));
}

TEST(board_end, a_holder_is_asked_to_stop_from_the_soft_time_limit_on)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.take_ready(1);
	LeaseSlot &lease = *claimed.lease;
	EXPECT_EQ(reason_to_stop(lease, 0, Monotonic{1'000'000}), StopReason::none);
	lease.holder.soft_time_limit = 300;
	begin_limits(lease, Monotonic{1000});
	hold(stand.board, lease, Monotonic{5000});
	EXPECT_EQ(lease.deadline.load(), 5000);
	EXPECT_EQ(reason_to_stop(lease, 0, Monotonic{1299}), StopReason::none);
	EXPECT_EQ(reason_to_stop(lease, 0, Monotonic{1300}), StopReason::soft_time_limit);
}

TEST(board_end, the_limits_of_a_lease_are_not_those_of_the_next_one_in_its_slot)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const first = stand.take_ready(1);
	first.lease->holder.soft_time_limit = 300;
	first.lease->holder.hard_time_limit = 300;
	begin_limits(*first.lease, Monotonic{1000});
	hold(stand.board, *first.lease, Monotonic{5000});
	give_back(stand.board, stand.pool(), stand.table(), *first.lease, first.all());
	Claimed const second = stand.claim(1, Monotonic{5000});
	ASSERT_EQ(second.lease, first.lease);
	EXPECT_EQ(second.lease->deadline.load(), 5000);
	EXPECT_EQ(reason_to_stop(*second.lease, 0, Monotonic{9999}), StopReason::none);
}

// ---- what becomes of the jobs

TEST(board_end, an_acked_job_is_gone_and_the_last_one_frees_the_lease)
{
	Stand stand;
	stand.enqueue(3);
	Claimed const claimed = stand.claim(3);
	for (int job = 0; job < 3; job++)
	{
		EXPECT_EQ(stand.table().in_use(), 1U);
		ASSERT_TRUE(pin(*claimed.lease, claimed.token, only(job)));
		end(stand.board, stand.pool(), stand.table(), *claimed.lease, only(job), Ending::succeeded, wall_always);
		EXPECT_EQ(stand.state(job + 1), JobState::none);
	}
	EXPECT_EQ(stand.table().in_use(), 0U);
	EXPECT_EQ(stand.board.counters.succeeded, 3);
	EXPECT_EQ(stand.board.counters.failed, 0);
}

TEST(board_end, a_failed_job_comes_again_when_due_with_its_priority_and_a_history)
{
	struct Case
	{
		Wall due;
		JobState state;
	};
	for (Case const &row : {Case{noon, ready_at(4)}, {noon + 1, JobState::waiting}})
	{
		Stand stand;
		stand.enqueue(2, 4);
		Claimed const claimed = stand.claim(2);
		ASSERT_TRUE(pin(*claimed.lease, claimed.token, only(1)));
		end(stand.board, stand.pool(), stand.table(), *claimed.lease, only(1), Ending::failed, row.due);
		EXPECT_EQ(stand.state(2), row.state);
		EXPECT_TRUE(stand.board.map.history(stand.pool(), 2));
		EXPECT_FALSE(stand.board.map.history(stand.pool(), 1));
		EXPECT_EQ(stand.board.counters.failed, 1);
		EXPECT_EQ(claimed.lease->held, only(0));
		EXPECT_EQ(stand.claim(5).ids.size(), is_ready(row.state) ? 1U : 0U);
	}
}

TEST(board_end, a_dead_job_is_gone_and_counted)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.claim(1);
	ASSERT_TRUE(stand.finish(claimed, Ending::dead));
	EXPECT_EQ(stand.state(1), JobState::none);
	EXPECT_FALSE(stand.board.map.history(stand.pool(), 1));
	EXPECT_EQ(stand.board.counters.dead, 1);
	EXPECT_EQ(stand.board.counters.failed, 1);
}

TEST(board_end, a_released_job_is_ready_at_once_and_nothing_is_counted)
{
	Stand stand;
	stand.enqueue(3, 8);
	Claimed const claimed = stand.claim(3);
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, only(1));
	EXPECT_EQ(stand.state(2), ready_at(8));
	EXPECT_FALSE(may_end(*claimed.lease, claimed.token, only(1)));
	EXPECT_TRUE(may_end(*claimed.lease, claimed.token, only(2)));
	EXPECT_EQ(stand.claim(1).ids, std::vector<JobId>{2});
	EXPECT_EQ(stand.board.counters.failed, 0);
	EXPECT_EQ(stand.board.counters.released, 1);
}

TEST(board_end, the_parts_of_a_lease_end_each_in_its_own_way)
{
	Stand stand;
	stand.enqueue(200);
	Claimed const claimed = stand.claim(200);
	Dice dice(200);
	JobSet parts[4] = {};
	for (int job = 0; job < 200; job++)
		parts[dice.below(4)].add(job);
	for (JobSet const &part : {parts[0], parts[1], parts[2]})
		ASSERT_TRUE(pin(*claimed.lease, claimed.token, part));
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, parts[0], Ending::succeeded, wall_always);
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, parts[1], Ending::failed, noon + 9);
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, parts[2], Ending::failed, wall_always);
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, parts[3]);
	EXPECT_EQ(stand.count(JobState::waiting), parts[1].size());
	EXPECT_EQ(stand.count(ready_at(0)), parts[2].size() + parts[3].size());
	EXPECT_EQ(stand.count(JobState::leased), 0);
	EXPECT_EQ(stand.table().in_use(), 0U);
}

// ---- the worker

TEST(board_expiry, a_lease_expires_at_its_deadline_and_not_before)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.claim(1, Monotonic{100});
	EXPECT_FALSE(may_expire(*claimed.lease, Monotonic{99}));
	EXPECT_TRUE(may_expire(*claimed.lease, Monotonic{100}));
	lose(*claimed.lease, claimed.token);
	EXPECT_TRUE(may_expire(*claimed.lease, Monotonic{0}));
}

TEST(board_expiry, who_comes_after_a_slot_was_used_again_loses_nothing)
{
	Stand stand(256, 1);
	stand.enqueue(2);
	Claimed const before = stand.claim(1, Monotonic{100});
	ASSERT_TRUE(stand.finish(before));
	Claimed const claimed = stand.claim(1, Monotonic{100});
	ASSERT_EQ(claimed.lease, before.lease);
	lose(*claimed.lease, before.token);
	EXPECT_EQ(claimed.lease->state.load(), LeaseState::held);
	EXPECT_TRUE(stand.finish(claimed));
	lose(*claimed.lease, claimed.token);
	EXPECT_EQ(claimed.lease->state.load(), LeaseState::free);
}

TEST(board_expiry, a_free_provisional_or_expiring_lease_does_not_expire)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.take_ready(1);
	EXPECT_FALSE(may_expire(*claimed.lease, monotonic_never));
	hold(stand.board, *claimed.lease, Monotonic{1});
	begin_expiry(*claimed.lease, stand.table().index_of(*claimed.lease), 5);
	EXPECT_FALSE(may_expire(*claimed.lease, monotonic_never));
	EXPECT_FALSE(may_expire(stand.table().slot(3), monotonic_never));
}

TEST(board_expiry, nothing_expires_while_a_commit_ends_part_of_it)
{
	Stand stand;
	stand.enqueue(5);
	Claimed const claimed = stand.claim(5, Monotonic{100});
	ASSERT_TRUE(pin(*claimed.lease, claimed.token, only(4)));
	EXPECT_FALSE(may_expire(*claimed.lease, Monotonic{1000}));
	lose(*claimed.lease, claimed.token);
	EXPECT_FALSE(may_expire(*claimed.lease, Monotonic{1000}));
	unpin(*claimed.lease, claimed.token, only(4), Monotonic{2000});
	EXPECT_TRUE(may_expire(*claimed.lease, Monotonic{1000})) << "lost: nobody is left to be graceful to";
}

TEST(board_expiry, the_holders_token_ends_nothing_once_expiry_began)
{
	Stand stand;
	stand.enqueue(2);
	Claimed const claimed = stand.claim(2, Monotonic{100});
	begin_expiry(*claimed.lease, stand.table().index_of(*claimed.lease), 987);
	EXPECT_FALSE(may_end(*claimed.lease, claimed.token, claimed.all()));
	EXPECT_FALSE(pin(*claimed.lease, claimed.token, claimed.all()));
	Token const system = claimed.lease->token.load();
	EXPECT_EQ(slot_of(system), slot_of(claimed.token));
	EXPECT_EQ(stand.count(JobState::leased), 2);
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, only(0), Ending::failed, wall_always);
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, only(1), Ending::dead, wall_always);
	EXPECT_EQ(stand.board.counters.expired, 2);
	EXPECT_EQ(stand.claim(5).ids, std::vector<JobId>{1});
}

TEST(board_expiry, an_aborted_expiry_is_tried_again_and_the_holder_stays_locked_out)
{
	Stand stand;
	stand.enqueue(1);
	Claimed const claimed = stand.claim(1, Monotonic{100});
	begin_expiry(*claimed.lease, stand.table().index_of(*claimed.lease), 987);
	cancel_expiry(*claimed.lease);
	EXPECT_FALSE(pin(*claimed.lease, claimed.token, claimed.all()));
	EXPECT_TRUE(stand.expire(*claimed.lease, Monotonic{0}));
	EXPECT_EQ(stand.claim(1).ids, std::vector<JobId>{1});
}

TEST(board_expiry, only_what_is_still_held_expires)
{
	Stand stand;
	stand.enqueue(10);
	Claimed const claimed = stand.claim(10, Monotonic{100});
	ASSERT_TRUE(pin(*claimed.lease, claimed.token, JobSet::first(4)));
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, JobSet::first(4), Ending::succeeded, wall_always);
	give_back(stand.board, stand.pool(), stand.table(), *claimed.lease, only(4));
	EXPECT_TRUE(stand.expire(*claimed.lease, Monotonic{100}));
	EXPECT_EQ(stand.board.counters.expired, 5);
	EXPECT_EQ(stand.count(ready_at(0)), 6);
	EXPECT_EQ(stand.table().in_use(), 0U);
}

// ---- cancelled by somebody else than the holder

TEST(board_end, a_cancelled_job_leaves_the_lease_which_says_so)
{
	Stand stand;
	stand.enqueue(3);
	Claimed const claimed = stand.claim(3);
	LeaseSlot &lease = *claimed.lease;
	ASSERT_TRUE(pin_cancelled(lease, claimed.token, only(1)));
	EXPECT_EQ(lease.cancelled, only(1)) << "from PRE_COMMIT on: nobody may call the whole lease done";
	EXPECT_FALSE(pin(lease, claimed.token, claimed.all()));
	end(stand.board, stand.pool(), stand.table(), lease, only(1), Ending::cancelled, wall_always);
	EXPECT_EQ(lease.cancelled, only(1));
	EXPECT_EQ(lease.held, claimed.all() - only(1));
	EXPECT_EQ(stand.state(2), JobState::none);
	EXPECT_EQ(stand.board.counters.cancelled, 1);
	EXPECT_EQ(stand.board.counters.failed, 0);
	EXPECT_FALSE(pin(lease, claimed.token, only(1)));
	EXPECT_TRUE(pin(lease, claimed.token, only(0)));
}

TEST(board_end, a_cancellation_that_aborts_leaves_no_trace)
{
	Stand stand;
	stand.enqueue(2);
	Claimed const claimed = stand.claim(2, Monotonic{100});
	ASSERT_TRUE(pin_cancelled(*claimed.lease, claimed.token, only(0)));
	EXPECT_FALSE(pin_cancelled(*claimed.lease, claimed.token, only(0))) << "of two, one passes PRE_COMMIT";
	unpin_cancelled(*claimed.lease, claimed.token, only(0), Monotonic{200});
	EXPECT_TRUE(claimed.lease->cancelled.empty());
	EXPECT_EQ(claimed.lease->deadline.load(), 200);
	EXPECT_TRUE(pin(*claimed.lease, claimed.token, claimed.all()));
	EXPECT_FALSE(pin_cancelled(*claimed.lease, claimed.token, only(0))) << "the holder was first";
	EXPECT_TRUE(claimed.lease->cancelled.empty());
}

TEST(board_end, the_last_cancelled_job_frees_the_lease)
{
	Stand stand(64, 1);
	stand.enqueue(2);
	Claimed const claimed = stand.claim(1);
	ASSERT_TRUE(pin_cancelled(*claimed.lease, claimed.token, claimed.all()));
	end(stand.board, stand.pool(), stand.table(), *claimed.lease, claimed.all(), Ending::cancelled, wall_always);
	EXPECT_EQ(stand.table().in_use(), 0u);
	Claimed const next = stand.claim(1);
	ASSERT_EQ(next.lease, claimed.lease);
	EXPECT_TRUE(next.lease->cancelled.empty()) << "what was cancelled of an earlier lease is forgotten";
	unpin_cancelled(*next.lease, claimed.token, next.all(), Monotonic{1000});
	EXPECT_NE(next.lease->deadline.load(), 1000) << "another lease's token changes nothing";
}

} // namespace
} // namespace onceq::core::test
