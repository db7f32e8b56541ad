// SPDX-License-Identifier: PostgreSQL
// A history of a key table beside that of a map from hash to key. A key of which a job runs, or that is to be
// looked at, is the same in both; one that is only remembered is what it was, or as if it had never been there.
#pragma once

#include "core/key_table.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <vector>

namespace onceq::core::test {

struct KeyTableCourse
{
	std::uint64_t seed;
	std::uint32_t frames;
	std::span<std::uint8_t const> bytes = {};
};

inline void
PrintTo(KeyTableCourse const &course, std::ostream *out)
{
	*out << "seed " << course.seed << ", " << course.frames << " frames";
}

class KeyTableHistory
{
  public:
	explicit KeyTableHistory(KeyTableCourse const &course) : dice_(course.seed, course.bytes), pool_(course.frames)
	{
		table_.initialise();
	}

	bool
	has_bytes() const
	{
		return dice_.has_bytes();
	}

	void
	step()
	{
		KeyHash const hash = random_hash();
		switch (dice_.below(8))
		{
			case 0:
			case 1:
			case 2:
				enter(hash);
				break;
			case 3:
				stop_all(hash);
				break;
			case 4:
				push(hash);
				break;
			case 5:
				pop();
				break;
			case 6:
				take_or_give_back();
				break;
			default:
				if (dice_.chance(20))
					forget_lows();
		}
		compare(hash);
	}

	void
	compare_everything()
	{
		for (auto next = keys_.begin(); next != keys_.end();)
			compare((next++)->first); // which may forget it
	}

	void
	wind_up()
	{
		compare_everything();
		while (!waiting_.empty())
			pop();
		ASSERT_EQ(table_.pop(*pool_), no_key_place);
		for (FrameIndex const frame : taken_)
			pool_->give_back(frame);
		table_.clear(*pool_);
		ASSERT_EQ(pool_->in_use(), 0U);
	}

  private:
	struct NaiveKey
	{
		JobId low;
		int running;
		bool to_look_at;
		KeyPlace place;
	};

	// Of few sets, so that their places are wanted by many keys. Set 0 has most of them.
	KeyHash
	random_hash()
	{
		KeyHash const set = dice_.chance(60) ? 0 : static_cast<KeyHash>(dice_.below(40));
		return set << 32 | static_cast<KeyHash>(dice_.below(100)) << 8 | 1;
	}

	bool
	is_in_use(KeyHash hash) const
	{
		auto const key = keys_.find(hash);
		return key != keys_.end() && (key->second.running > 0 || key->second.to_look_at);
	}

	int
	in_use_in_set_of(KeyHash hash) const
	{
		int count = 0;
		for (auto const &[other, key] : keys_)
			count += other >> 32 == hash >> 32 && is_in_use(other);
		return count;
	}

	// What a job of the key does that begins: it runs, and may learn a low.
	void
	enter(KeyHash hash)
	{
		bool const known = table_.find(*pool_, hash) != no_key_place;
		KeyPlace const place = table_.enter(*pool_, hash, true);
		if (place == no_key_place)
		{
			bool const no_frame_left = pool_->in_use() == pool_->capacity();
			ASSERT_TRUE(!known && (no_frame_left || in_use_in_set_of(hash) == 64));
			return;
		}
		if (!known)
		{
			ASSERT_TRUE(table_.at(*pool_, place).has_blocked);
			keys_[hash] = {0, 0, false, place};
		}
		Key &key = table_.at(*pool_, place);
		if (dice_.chance(50))
			keys_[hash].running = ++key.running;
		if (dice_.chance(50))
			keys_[hash].low = key.low = dice_.below(1000);
	}

	void
	stop_all(KeyHash hash)
	{
		if (keys_.contains(hash) && keys_[hash].running > 0)
			keys_[hash].running = table_.at(*pool_, keys_[hash].place).running = 0;
	}

	void
	push(KeyHash hash)
	{
		KeyPlace const place = table_.find(*pool_, hash);
		if (place == no_key_place)
			return;
		table_.push(*pool_, place);
		if (!keys_[hash].to_look_at)
			waiting_.push_back(hash);
		keys_[hash].to_look_at = true;
	}

	void
	pop()
	{
		KeyPlace const place = table_.pop(*pool_);
		ASSERT_EQ(place == no_key_place, waiting_.empty());
		if (waiting_.empty())
			return;
		ASSERT_EQ(table_.hash_at(*pool_, place), waiting_.front());
		keys_[waiting_.front()].to_look_at = false;
		waiting_.pop_front();
	}

	void
	take_or_give_back()
	{
		if (!taken_.empty() && dice_.chance(50))
		{
			pool_->give_back(taken_.back());
			taken_.pop_back();
		}
		else if (FrameIndex const frame = table_.take_frame(*pool_); frame != no_frame)
		{
			for (std::byte const byte : pool_->at<std::byte[frame_size]>(frame))
				ASSERT_EQ(byte, std::byte{0});
			taken_.push_back(frame);
		}
	}

	void
	forget_lows()
	{
		table_.forget_lows();
		for (auto &[hash, key] : keys_)
			key.low = 0;
	}

	void
	compare(KeyHash hash)
	{
		ASSERT_EQ(table_.waiting(), static_cast<std::int32_t>(waiting_.size()));
		KeyPlace const place = table_.find(*pool_, hash);
		ASSERT_TRUE(place != no_key_place || !is_in_use(hash)) << "a key in use is forgotten";
		if (place == no_key_place)
		{
			keys_.erase(hash);
			return;
		}
		NaiveKey const &expected = keys_.at(hash);
		Key const &key = table_.at(*pool_, place);
		ASSERT_EQ(table_.hash_at(*pool_, place), hash);
		ASSERT_EQ(place, expected.place);
		ASSERT_EQ(key.running, expected.running);
		ASSERT_EQ(key.to_look_at, expected.to_look_at);
		ASSERT_EQ(key.low, expected.low);
	}

	Dice dice_;
	PoolMemory pool_;
	KeyTable table_;
	std::map<KeyHash, NaiveKey> keys_; // those that the table may know
	std::deque<KeyHash> waiting_;
	std::vector<FrameIndex> taken_;
};

} // namespace onceq::core::test
