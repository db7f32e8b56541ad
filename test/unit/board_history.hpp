// SPDX-License-Identifier: PostgreSQL
// A history of a board beside that of a map from id to state: each step is taken by both, and what
// the board answers is what the map answers.
#pragma once

#include "naive_board.hpp"

namespace onceq::core::test {

class BoardHistory : NaiveBoard
{
  public:
	using NaiveBoard::compare;
	using NaiveBoard::has_bytes;
	using NaiveBoard::NaiveBoard;

	void
	step()
	{
		if (course_.starved && dice_.chance(10))
		{
			stand_.release_frames();
			if (dice_.chance(60))
				stand_.use_up_frames(static_cast<std::uint32_t>(dice_.below(4)));
		}
		switch (dice_.below(16))
		{
			case 0:
			case 1:
				begin_enqueue();
				break;
			case 2:
			case 3:
				end_enqueue();
				break;
			case 4:
			case 5:
			case 6:
				claim();
				break;
			case 7:
				pin_some();
				break;
			case 8:
			case 9:
			case 10:
				end_pinned();
				break;
			case 11:
				release_some();
				break;
			case 12:
				expire_one();
				break;
			case 13:
				promote_all();
				break;
			case 14:
				seize_some();
				break;
			default:
				close_segment();
		}
	}

	// Everything ends; nothing may be left over.
	void
	wind_up()
	{
		stand_.release_frames();
		while (!reservations_.empty())
			end_enqueue();
		while (!seized_.empty())
			end_seizure();
		while (!leases_.empty() && !testing::Test::HasFatalFailure())
			expire_all();
		promote_due(wall_never);
		while (!jobs_.empty() && !testing::Test::HasFatalFailure())
		{
			Claimed const claimed = stand_.claim(1000);
			ASSERT_FALSE(claimed.ids.empty());
			ASSERT_TRUE(stand_.finish(claimed));
			for (JobId const id : claimed.ids)
				ASSERT_EQ(jobs_.erase(id), 1U);
		}
		ASSERT_EQ(stand_.count(ready_at(0)), 0);
		ASSERT_EQ(stand_.table().in_use(), 0U);
		free_board(stand_.board, stand_.pool());
		ASSERT_EQ(stand_.pool().in_use(), 0U);
	}

  private:
	// ---- producers

	void
	begin_enqueue()
	{
		int const wanted = static_cast<int>(dice_.between(1, dice_.chance(10) ? 5000 : 60));
		JobId const end = std::min(next_id_ + wanted, first_id_of(segment_of(next_id_) + 1));
		Reservation const got = reserve(stand_.board, stand_.pool(), wanted);
		if (got.count == 0)
		{
			ASSERT_TRUE(course_.starved);
			ASSERT_EQ(got.refusal, Refusal::no_memory);
			return;
		}
		ASSERT_EQ(got.first, next_id_);
		ASSERT_TRUE(got.first + got.count == end || (course_.starved && got.first + got.count < end));
		next_id_ = got.first + got.count;
		touched_.insert(segment_of(got.first));
		for (int i = 0; i < got.count; i++)
			set(got.first + i, JobState::reserved);
		reservations_.push_back(got);
	}

	void
	end_enqueue()
	{
		if (reservations_.empty())
			return;
		Reservation &one = any(reservations_);
		int const part = dice_.chance(50) ? one.count : static_cast<int>(dice_.between(1, one.count));
		JobId const last = one.first + part - 1;
		Wall const due = random_due();
		int const priority = dice_.chance(50) ? 0 : static_cast<int>(dice_.below(10));
		JobState const state = dice_.chance(80) ? available(priority, due) : JobState::none;
		if (state == JobState::none)
			abandon(stand_.board, stand_.pool(), one.first, last);
		else
			publish(stand_.board, stand_.pool(), one.first, last, priority, due);
		for (JobId id = one.first; id <= last; id++)
		{
			due_[id] = due;
			set(id, state);
		}
		one.first += part;
		one.count -= part;
		std::erase_if(reservations_, [](Reservation const &left) { return left.count == 0; });
	}

	// ---- consumers

	void
	claim()
	{
		auto const count = static_cast<std::size_t>(dice_.between(1, dice_.chance(20) ? 400 : 20));
		std::vector<JobId> expected = next_ready(count);
		bool const full = stand_.table().in_use() == stand_.table().capacity();
		Claimed const claimed = stand_.take_ready(static_cast<int>(count));
		if (full)
			return;
		ASSERT_LE(claimed.ids.size(), expected.size());
		if (claimed.ids.size() < expected.size())
		{
			bool const many_runs = claimed.lease->run_count == lease_runs_max;
			bool const no_frame_for_runs = claimed.lease->run_count == lease_runs_inline && course_.starved;
			ASSERT_TRUE(many_runs || no_frame_for_runs || claimed.refusal == Refusal::no_memory);
			ASSERT_TRUE(many_runs || course_.starved);
			expected.resize(claimed.ids.size());
		}
		ASSERT_EQ(claimed.ids, expected);
		if (claimed.ids.empty())
			return;
		Lease lease{claimed.lease, claimed.token, claimed.ids, {}, claimed.all(), {}, {}, false};
		for (JobId const id : claimed.ids)
		{
			lease.priority.push_back(priority_of(jobs_[id].state));
			set(id, JobState::leased);
		}
		leases_.push_back(lease);
		ASSERT_EQ(claimed.lease->held, lease.held);
		settle_claim(leases_.back());
	}

	void
	settle_claim(Lease &lease)
	{
		Findings findings{{}, {}, {}, wall_never};
		for (std::size_t job = 0; job < lease.ids.size(); job++)
		{
			JobId const id = lease.ids[job];
			int const number = static_cast<int>(job);
			if (due_[id] > stand_.board.watermark)
			{
				findings.early.add(number);
				findings.earliest_due = std::min(findings.earliest_due, due_[id]);
				set(id, JobState::waiting);
			}
			else if (dice_.chance(3))
			{
				findings.absent.add(number);
				set(id, JobState::none);
			}
			else if (dice_.chance(3))
			{
				findings.unseen.add(number);
				set(id, ready_at(lease.priority[job]));
			}
		}
		settle(stand_.board, stand_.pool(), *lease.slot, findings);
		lease.held -= findings.absent;
		lease.held -= findings.early;
		lease.held -= findings.unseen;
		if (lease.held.empty() || dice_.chance(10))
			give_back_some(lease, lease.held);
		else
			hold(stand_.board, *lease.slot, Monotonic{dice_.below(1000)});
	}

	void
	give_back_some(Lease &lease, JobSet const jobs)
	{
		give_back(stand_.board, stand_.pool(), stand_.table(), *lease.slot, jobs);
		leave(lease, jobs, [&](std::size_t job) { return ready_at(lease.priority[job]); });
	}

	template <typename Where>
	void
	leave(Lease &lease, JobSet const jobs, Where where)
	{
		for (std::size_t job = 0; job < lease.ids.size(); job++)
			if (jobs.contains(static_cast<int>(job)))
				set(lease.ids[job], where(job));
		lease.held -= jobs;
		lease.pinned -= jobs;
		lease.released -= jobs;
		std::erase_if(leases_, [](Lease const &one) { return one.held.empty(); });
	}

	void
	pin_some()
	{
		if (leases_.empty())
			return;
		Lease &lease = any(leases_);
		JobSet const jobs = some_of(dice_.chance(80) ? lease.held - lease.pinned - lease.released : lease.held);
		bool const allowed = (lease.held - lease.pinned - lease.released).includes(jobs);
		ASSERT_EQ(may_end(*lease.slot, lease.token, jobs), allowed);
		ASSERT_FALSE(may_end(*lease.slot, lease.token ^ (Token{1} << 40), jobs));
		ASSERT_EQ(pin(*lease.slot, lease.token, jobs), allowed);
		if (allowed)
			lease.pinned |= jobs;
		ASSERT_EQ(lease.slot->pinned - lease.released, lease.pinned);
	}

	void
	end_pinned()
	{
		if (leases_.empty())
			return;
		Lease &lease = any(leases_);
		JobSet const jobs = some_of(lease.pinned);
		if (jobs.empty())
			return;
		if (dice_.chance(20))
		{
			unpin(*lease.slot, lease.token, jobs, Monotonic{5});
			lease.pinned -= jobs;
			return;
		}
		end_jobs(lease, jobs, static_cast<Ending>(dice_.below(3)), random_due());
	}

	void
	end_jobs(Lease &lease, JobSet const jobs, Ending const ending, Wall const due)
	{
		end(stand_.board, stand_.pool(), stand_.table(), *lease.slot, jobs, ending, due);
		leave(lease, jobs, [&](std::size_t job) {
			if (ending != Ending::failed)
				return JobState::none;
			jobs_[lease.ids[job]].history = true;
			due_[lease.ids[job]] = due;
			return available(lease.priority[job], due);
		});
	}

	void
	release_some()
	{
		if (leases_.empty())
			return;
		Lease &lease = any(leases_);
		if (!lease.released.empty() && dice_.chance(70))
			give_back_some(lease, lease.released);
		else if (JobSet const jobs = some_of(lease.held - lease.pinned - lease.released); dice_.chance(50))
		{
			release_later(*lease.slot, jobs);
			lease.released |= jobs;
		}
		else if (!jobs.empty())
			give_back_some(lease, jobs);
	}

	// ---- the worker

	void
	expire_one()
	{
		if (leases_.empty())
			return;
		Lease &lease = any(leases_);
		if (dice_.chance(20))
		{
			lose(*lease.slot, lease.slot->token.load());
			lease.lost = true;
		}
		Monotonic const now{dice_.below(1000)};
		bool const over = lease.lost || lease.slot->deadline.load() <= now.us;
		bool const free_to = lease.pinned.empty() && lease.released.empty();
		ASSERT_EQ(may_expire(*lease.slot, now), over && free_to);
		if (!over || !free_to)
			return;
		Token const before = lease.token;
		begin_expiry(*lease.slot, stand_.table().index_of(*lease.slot), dice_.bits());
		lease.token = lease.slot->token.load();
		ASSERT_FALSE(may_end(*lease.slot, before, lease.held));
		if (dice_.chance(20))
		{
			cancel_expiry(*lease.slot);
			lease.lost = true;
			return;
		}
		JobSet const dead = some_of(lease.held);
		JobSet const rest = lease.held - dead;
		Wall const due = random_due();
		if (!dead.empty())
			end_jobs(lease, dead, Ending::dead, wall_always);
		if (!rest.empty())
			end_jobs(lease, rest, Ending::failed, due);
	}

	void
	expire_all()
	{
		Lease &lease = leases_.front();
		JobSet const jobs = lease.held;
		lease.slot->pinned = JobSet{};
		end_jobs(lease, jobs, Ending::failed, wall_always);
	}

	void
	promote_all()
	{
		promote_due(stand_.board.watermark + dice_.between(dice_.chance(15) ? -30 : 0, 20));
	}

	void
	promote_due(Wall now)
	{
		Wall const low = advance_watermark(stand_.board, now);
		Wall next = wall_never;
		bool done = true;
		for (auto const &[id, at] : due_)
		{
			if (at > now)
				next = std::min(next, at);
			if (at <= low || at > now)
				continue;
			bool const was_waiting = jobs_.contains(id) && jobs_[id].state == JobState::waiting;
			int const priority = static_cast<int>(dice_.below(10));
			bool const promoted = promote(stand_.board, stand_.pool(), id, priority);
			ASSERT_TRUE(promoted || (course_.starved && was_waiting));
			if (was_waiting && promoted)
				set(id, ready_at(priority));
			done = done && promoted;
		}
		note_due(stand_.board, next);
		if (!done)
			return;
		finish_promotion(stand_.board, now);
		for (auto const &[id, job] : jobs_)
			ASSERT_TRUE(job.state != JobState::waiting || due_[id] > now) << id << " waits for ever";
	}

	// ---- maintenance

	void
	seize_some()
	{
		if (!seized_.empty() && dice_.chance(60))
			return end_seizure();
		JobState const state = dice_.chance(40) ? JobState::waiting : ready_at(static_cast<int>(dice_.below(10)));
		Refusal refusal = Refusal::none;
		Seized const got = seize_next(stand_.board, stand_.pool(), state, 0, next_id_ - 1, refusal);
		auto const lowest = std::ranges::find_if(jobs_, [&](auto const &job) { return job.second.state == state; });
		if (got.first == 0)
		{
			ASSERT_TRUE(lowest == jobs_.end() || (course_.starved && refusal == Refusal::no_memory));
			return;
		}
		ASSERT_TRUE(lowest != jobs_.end() && lowest->first == got.first);
		for (JobId id = got.first; id <= got.last; id++)
		{
			ASSERT_EQ(jobs_[id].state, state);
			set(id, JobState::seized);
		}
		seized_.push_back(got);
	}

	void
	end_seizure()
	{
		Seized const one = seized_.back();
		seized_.pop_back();
		bool const commit = dice_.chance(40);
		if (commit)
			finish_seized(stand_.board, stand_.pool(), one);
		else
			restore_seized(stand_.board, stand_.pool(), one);
		for (JobId id = one.first; id <= one.last; id++)
			set(id, commit ? JobState::none : one.origin);
	}

	void
	close_segment()
	{
		SegmentNumber const open = segment_of(next_id_);
		if (dice_.chance(3) && next_id_ > first_id_of(open))
		{
			seal(stand_.board, open);
			next_id_ = first_id_of(open + 1);
		}
		for (SegmentNumber const segment : std::set<SegmentNumber>(touched_))
		{
			auto const live = jobs_.lower_bound(first_id_of(segment));
			bool const empty = live == jobs_.end() || segment_of(live->first) > segment;
			ASSERT_EQ(is_drained(stand_.board, stand_.pool(), segment), empty && segment < segment_of(next_id_));
			if (empty && segment < segment_of(next_id_))
			{
				stand_.board.map.forget(stand_.pool(), segment);
				touched_.erase(segment);
			}
		}
	}
};

} // namespace onceq::core::test
