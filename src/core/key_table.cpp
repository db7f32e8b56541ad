// SPDX-License-Identifier: PostgreSQL
#include "core/key_table.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include <cstring>

namespace onceq::core {

namespace {

constexpr int
set_number(KeyHash hash, int sets) noexcept
{
	// Not the lowest bits: one of them is always set.
	return static_cast<int>((hash >> 32) % static_cast<KeyHash>(sets));
}

} // namespace

void
KeyTable::initialise() noexcept
{
	static_assert(sets * ways <= no_key_place);
	root_ = no_frame;
	epoch_ = 0;
	first_ = no_key_place;
	last_ = no_key_place;
	waiting_ = 0;
}

void
KeyTable::clear(FramePool &pool) noexcept
{
	if (root_ != no_frame)
	{
		for (FrameIndex const set_plus_one : pool.at<Root>(root_).set_plus_one)
			if (set_plus_one != 0)
				pool.give_back(set_plus_one - 1);
		pool.give_back(root_);
	}
	initialise();
}

KeyPlace
KeyTable::find(FramePool &pool, KeyHash hash) noexcept
{
	Set const *const set = set_of(pool, hash);
	for (int way = 0; set != nullptr && way < ways; way++)
		if (set->hash[way] == hash)
			return static_cast<KeyPlace>(set_number(hash, sets) * ways + way);
	return no_key_place;
}

KeyPlace
KeyTable::enter(FramePool &pool, KeyHash hash, bool has_blocked) noexcept
{
	if (KeyPlace const found = find(pool, hash); found != no_key_place)
		return found;
	if (root_ == no_frame)
		root_ = pool.take();
	if (root_ == no_frame)
		return no_key_place;
	int const number = set_number(hash, sets);
	FrameIndex &set_plus_one = pool.at<Root>(root_).set_plus_one[number];
	if (set_plus_one == 0)
		set_plus_one = take_frame(pool) + 1; // no_frame + 1 is 0
	if (set_plus_one == 0)
		return no_key_place;
	Set &set = *set_of(pool, hash);
	// Any place that is not in use, and not always the same one.
	for (int i = 0; i < ways; i++)
	{
		int const way = static_cast<int>((hash >> 8) + static_cast<KeyHash>(i)) & (ways - 1);
		Key &key = set.key[way];
		if (key.running > 0 || key.to_look_at)
			continue;
		set.hash[way] = hash;
		key = Key{0, 0, 0, no_key_place, false, has_blocked};
		return static_cast<KeyPlace>(number * ways + way);
	}
	return no_key_place;
}

FrameIndex
KeyTable::take_frame(FramePool &pool) noexcept
{
	FrameIndex const taken = pool.take();
	for (int number = 0; taken == no_frame && root_ != no_frame && number < sets; number++)
	{
		FrameIndex &set_plus_one = pool.at<Root>(root_).set_plus_one[number];
		if (set_plus_one == 0 || is_in_use(pool.at<Set>(set_plus_one - 1)))
			continue;
		FrameIndex const frame = set_plus_one - 1;
		set_plus_one = 0;
		std::memset(&pool.at<std::byte[frame_size]>(frame), 0, frame_size);
		return frame;
	}
	return taken;
}

bool
KeyTable::is_in_use(Set const &set) noexcept
{
	for (Key const &key : set.key)
		if (key.running > 0 || key.to_look_at)
			return true;
	return false;
}

Key &
KeyTable::at(FramePool &pool, KeyPlace place) noexcept
{
	Root const &root = pool.at<Root>(root_);
	return pool.at<Set>(root.set_plus_one[place / ways] - 1).key[place % ways];
}

KeyHash
KeyTable::hash_at(FramePool &pool, KeyPlace place) noexcept
{
	Root const &root = pool.at<Root>(root_);
	return pool.at<Set>(root.set_plus_one[place / ways] - 1).hash[place % ways];
}

void
KeyTable::push(FramePool &pool, KeyPlace place) noexcept
{
	Key &key = at(pool, place);
	if (key.to_look_at)
		return;
	key.to_look_at = true;
	key.next = no_key_place;
	(last_ == no_key_place ? first_ : at(pool, last_).next) = place;
	last_ = place;
	waiting_++;
}

KeyPlace
KeyTable::pop(FramePool &pool) noexcept
{
	KeyPlace const place = first_;
	if (place == no_key_place)
		return place;
	Key &key = at(pool, place);
	key.to_look_at = false;
	first_ = key.next;
	last_ = first_ == no_key_place ? no_key_place : last_;
	waiting_--;
	return place;
}

KeyTable::Set *
KeyTable::set_of(FramePool &pool, KeyHash hash) noexcept
{
	FrameIndex const set_plus_one = root_ == no_frame ? 0 : pool.at<Root>(root_).set_plus_one[set_number(hash, sets)];
	if (set_plus_one == 0)
		return nullptr;
	Set &set = pool.at<Set>(set_plus_one - 1);
	if (set.epoch != epoch_)
	{
		set.epoch = epoch_;
		for (Key &key : set.key)
		{
			key.low = 0;
			key.version++;
		}
	}
	return &set;
}

} // namespace onceq::core
