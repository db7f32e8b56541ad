// SPDX-License-Identifier: PostgreSQL
// A history of jobs with ordering keys beside a list of all jobs: claimers, producers and the worker are
// interrupted between any two holds of the board's lock, and no job starts before its turn.
#pragma once

#include "core/key_turns.hpp"

#include "board_fixture.hpp"

#include <gtest/gtest.h>

#include <map>
#include <optional>

namespace onceq::core::test {

struct Row
{
	KeyHash key;
	int priority;
	bool published;
	bool finished;
	bool dead; // and blocks its key
	Wall due;
	long published_at;
};

struct Turns
{
	std::uint64_t seed;
	int limit;
	int keys;
	std::uint32_t frames;
	bool starved;
	std::span<std::uint8_t const> bytes = {};
};

inline void
PrintTo(Turns const &turns, std::ostream *out)
{
	*out << "seed " << turns.seed << ", limit " << turns.limit << ", " << turns.keys << " keys";
}

// A claim on its way, or a lease.
struct Holder
{
	LeaseSlot *lease;
	std::vector<JobId> ids;
	std::size_t next; // job whose key is learnt next
	std::optional<KeyWalk> walk;
	std::vector<KeyedJob> lower; // still to be checked
	long began_at;
	JobSet granted;
};

struct Look
{
	KeyLook look;
	std::vector<KeyedJob> jobs;
	int index;
};

class KeyHistory
{
  public:
	explicit KeyHistory(Turns const &turns) : turns_(turns), dice_(turns.seed, turns.bytes), stand_(turns.frames, 8) {}

	bool
	has_bytes() const
	{
		return dice_.has_bytes();
	}

	void
	step()
	{
		now_++;
		if (turns_.starved && dice_.chance(10))
		{
			stand_.release_frames();
			if (dice_.chance(50))
				stand_.use_up_frames(static_cast<std::uint32_t>(dice_.below(4)));
		}
		switch (dice_.below(14))
		{
			case 0:
			case 1:
				return enqueue();
			case 2:
			case 3:
				return publish_one();
			case 4:
				return claim();
			case 5:
			case 6:
			case 7:
				return continue_claim();
			case 8:
			case 9:
				return end_some();
			case 10:
			case 11:
				return continue_look();
			case 12:
				return promote_due(stand_.board.watermark + dice_.below(20));
			default:
				return dice_.chance(30) ? cancel() : clear_doubts();
		}
	}

	void
	wind_up()
	{
		stand_.release_frames();
		while (!reserved_.empty())
			publish_one();
		for (int round = 0; round < 20'000 && !testing::Test::HasFatalFailure(); round++)
		{
			now_++;
			promote_due(wall_never);
			clear_doubts();
			for (int i = 0; i < 20; i++)
				continue_look(100);
			claim();
			for (int i = 0; i < 20; i++)
				continue_claim();
			end_some(true);
			if (looks_.empty() && holders_.empty() && stand_.board.keys.waiting() == 0 &&
				ready_count(stand_.board) == 0)
				break;
		}
		ASSERT_TRUE(looks_.empty() && holders_.empty());
		for (auto const &[id, row] : rows_)
		{
			bool behind = row.dead;
			for (auto const &[other, before] : rows_)
				behind |= before.key == row.key && before.dead && other < id;
			ASSERT_TRUE(row.finished || behind) << id << " is left " << stand_.state(id);
		}
		ASSERT_EQ(stand_.table().in_use(), 0U);
		free_board(stand_.board, stand_.pool());
		ASSERT_EQ(stand_.pool().in_use(), 0U);
	}

  private:
	void
	enqueue()
	{
		Reservation const got = reserve(stand_.board, stand_.pool(), static_cast<int>(dice_.between(1, 4)));
		for (int i = 0; i < got.count; i++)
		{
			KeyHash const key = static_cast<KeyHash>(dice_.between(1, turns_.keys)) << 33 | 1;
			int const priority = static_cast<int>(dice_.below(2));
			rows_[got.first + i] = Row{key, priority, false, false, false, wall_always, 0};
			reserved_.push_back(got.first + i);
		}
	}

	void
	publish_one()
	{
		if (reserved_.empty())
			return;
		auto const index = dice_.below(static_cast<std::int64_t>(reserved_.size()));
		JobId const id = reserved_[static_cast<std::size_t>(index)];
		reserved_.erase(reserved_.begin() + index);
		Row &row = rows_[id];
		if (dice_.chance(15))
		{
			abandon(stand_.board, stand_.pool(), id, id);
			rows_.erase(id);
			return;
		}
		row.due = dice_.chance(85) ? wall_always : stand_.board.watermark + dice_.below(40);
		row.published = true;
		row.published_at = now_;
		publish_keyed(stand_.board, stand_.pool(), id, row.priority, row.due, row.key);
	}

	// What a look into the tables shows: also of producers whose callback is still to come.
	std::vector<KeyedJob>
	rows_of(KeyHash key, JobId from, JobId to)
	{
		std::vector<KeyedJob> jobs;
		for (auto i = rows_.lower_bound(from); i != rows_.end() && i->first <= to; ++i)
			if (i->second.key == key && (i->second.published || dice_.chance(50)))
				jobs.push_back({i->first, i->second.priority});
		return jobs;
	}

	// ---- claims

	void
	claim()
	{
		Claimed const claimed = stand_.take_ready(static_cast<int>(dice_.between(1, 5)));
		if (claimed.lease != nullptr && !claimed.ids.empty())
			holders_.push_back({claimed.lease, claimed.ids, 0, {}, {}, 0, {}});
	}

	void
	continue_claim()
	{
		if (holders_.empty())
			return;
		Holder &holder = any(holders_);
		if (dice_.chance(3) && holder.lease->state.load() == LeaseState::provisional)
		{
			give_back_all(holder);
			return;
		}
		if (holder.walk.has_value())
			return check(holder);
		if (holder.next < holder.ids.size())
			return begin(holder);
		if (holder.lease->state.load() == LeaseState::provisional && !holder.lease->held.empty())
			hold(stand_.board, *holder.lease, Monotonic{0});
		if (holder.lease->held.empty())
		{
			close_lease(stand_.board, stand_.pool(), stand_.table(), *holder.lease);
			forget(holder);
		}
	}

	void
	begin(Holder &holder)
	{
		int const job = static_cast<int>(holder.next++);
		JobId const id = holder.ids[static_cast<std::size_t>(job)];
		Row &row = rows_[id];
		if (row.due > stand_.board.watermark)
		{
			Findings findings{{}, {}, {}, row.due};
			findings.early.add(job);
			return settle(stand_.board, stand_.pool(), *holder.lease, findings);
		}
		KeyWalk walk{};
		Turn const turn = begin_turn(stand_.board, stand_.pool(), *holder.lease, job, id, row.key, turns_.limit, walk);
		ASSERT_TRUE(turn != Turn::refused || turns_.starved);
		if (turn == Turn::refused)
		{
			Findings findings{{}, {}, {}, wall_never};
			findings.unseen.add(job);
			return settle(stand_.board, stand_.pool(), *holder.lease, findings);
		}
		ASSERT_EQ(turn == Turn::busy, running(row.key) >= turns_.limit);
		ASSERT_EQ(stand_.state(id), turn == Turn::busy ? JobState::blocked : JobState::leased);
		if (turn == Turn::busy)
			return;
		holder.granted.add(job);
		holder.began_at = now_;
		if (turns_.limit > 1)
			return;
		holder.walk = walk;
		holder.lower = rows_of(row.key, walk.from, id - 1);
	}

	void
	check(Holder &holder)
	{
		int const job = static_cast<int>(holder.next) - 1;
		JobId const id = holder.ids[holder.next - 1];
		auto const count = std::min(holder.lower.size(), static_cast<std::size_t>(dice_.between(1, 3)));
		Turn const turn = check_turn(stand_.board, stand_.pool(), *holder.lease, job, id, *holder.walk,
									 holder.lower.data(), static_cast<int>(count));
		holder.lower.erase(holder.lower.begin(), holder.lower.begin() + static_cast<long>(count));
		if (turn == Turn::busy)
		{
			ASSERT_EQ(stand_.state(id), JobState::blocked);
			holder.granted.remove(job);
			holder.walk.reset();
		}
		else if (holder.lower.empty())
		{
			finish_walk(stand_.board, stand_.pool(), *holder.walk);
			holder.walk.reset();
			for (auto const &[other, row] : rows_)
				ASSERT_FALSE(other < id && row.key == rows_[id].key && row.published &&
							 row.published_at < holder.began_at && !row.finished)
					<< id << " started before " << other << " " << stand_.state(other);
		}
	}

	int
	running(KeyHash key)
	{
		int count = 0;
		for (Holder const &holder : holders_)
			for (std::size_t job = 0; job < holder.ids.size(); job++)
				count += holder.granted.contains(static_cast<int>(job)) && rows_[holder.ids[job]].key == key;
		return count;
	}

	void
	give_back_all(Holder &holder)
	{
		give_back(stand_.board, stand_.pool(), stand_.table(), *holder.lease, holder.lease->held);
		forget(holder);
	}

	void
	end_some(bool all = false)
	{
		if (holders_.empty())
			return;
		Holder &holder = any(holders_);
		if (holder.lease->state.load() != LeaseState::held)
			return;
		if (dice_.chance(10))
			return give_back_all(holder);
		JobSet jobs{};
		for (int job = 0; job < static_cast<int>(holder.ids.size()); job++)
			if (holder.lease->held.contains(job) && (all || dice_.chance(50)))
				jobs.add(job);
		if (jobs.empty())
			return;
		auto const ending = static_cast<Ending>(dice_.chance(70) ? 0 : dice_.below(dice_.chance(10) ? 4 : 3));
		Wall const due = dice_.chance(50) ? wall_always : stand_.board.watermark + dice_.below(40);
		bool const last = jobs == holder.lease->held;
		end(stand_.board, stand_.pool(), stand_.table(), *holder.lease, jobs, ending, due);
		for (int job = 0; job < static_cast<int>(holder.ids.size()); job++)
			if (jobs.contains(job))
			{
				Row &row = rows_[holder.ids[static_cast<std::size_t>(job)]];
				row.finished = ending == Ending::succeeded || ending == Ending::dead;
				row.dead = ending == Ending::dead_and_blocks;
				row.due = ending == Ending::failed ? due : wall_always;
				holder.granted.remove(job);
			}
		if (last)
			forget(holder);
	}

	// ---- the worker

	void
	continue_look(int at_most = 3)
	{
		if (looks_.empty() || dice_.chance(30))
		{
			KeyLook look{};
			if (!begin_look(stand_.board, stand_.pool(), turns_.limit, look))
				return;
			looks_.push_back({look, rows_of(look.walk.key, look.walk.from, stand_.board.next_id), 0});
			return;
		}
		Look &one = any(looks_);
		int const count =
			std::min(static_cast<int>(one.jobs.size()), one.index + static_cast<int>(dice_.between(1, at_most)));
		LookStep step = look_at(stand_.board, stand_.pool(), one.look, one.jobs.data(), count, one.index);
		while (step == LookStep::ask)
		{
			KeyedJob const &job = one.jobs[static_cast<std::size_t>(one.index++)];
			step = answer_look(stand_.board, stand_.pool(), one.look, job, rows_[job.id].dead);
		}
		if (step == LookStep::more && one.index < static_cast<int>(one.jobs.size()))
			return;
		finish_walk(stand_.board, stand_.pool(), one.look.walk);
		looks_.erase(looks_.begin() + (&one - looks_.data()));
	}

	void
	promote_due(Wall now)
	{
		Wall const low = advance_watermark(stand_.board, now);
		bool done = true;
		for (auto const &[id, row] : rows_)
			if (row.due > low && row.due <= now)
				done &= promote(stand_.board, stand_.pool(), id, row.priority);
		if (done)
			finish_promotion(stand_.board, now);
	}

	// A job that nobody owns, dead or not, goes; or it is found alive after all.
	void
	cancel()
	{
		if (rows_.empty())
			return;
		auto i = rows_.lower_bound(dice_.below(stand_.board.next_id));
		Seized seized{};
		if (i == rows_.end() || i->second.finished || !seize_one(stand_.board, stand_.pool(), i->first, seized))
			return;
		if (dice_.chance(30))
			return restore_seized(stand_.board, stand_.pool(), seized);
		finish_seized(stand_.board, stand_.pool(), seized);
		i->second.finished = true;
		i->second.dead = false;
	}

	void
	clear_doubts()
	{
		if (!stand_.board.keys_are_in_doubt)
			return;
		stand_.board.keys_are_in_doubt = false;
		for (auto const &[id, row] : rows_)
			if (stand_.state(id) == JobState::blocked)
				doubt_key(stand_.board, stand_.pool(), row.key);
	}

	void
	forget(Holder &holder)
	{
		holders_.erase(holders_.begin() + (&holder - holders_.data()));
	}

	template <typename T>
	T &
	any(std::vector<T> &list)
	{
		return list[static_cast<std::size_t>(dice_.below(static_cast<std::int64_t>(list.size())))];
	}

	Turns turns_;
	Dice dice_;
	Stand stand_;
	long now_ = 1;
	std::map<JobId, Row> rows_;
	std::vector<JobId> reserved_;
	std::vector<Holder> holders_;
	std::vector<Look> looks_;
};

} // namespace onceq::core::test
