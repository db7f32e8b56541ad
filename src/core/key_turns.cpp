// SPDX-License-Identifier: PostgreSQL
#include "core/key_turns.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include "core/board_moves.hpp"

namespace onceq::core {

namespace {

bool
has_blocked(Board const &board) noexcept
{
	return board.map.count(JobState::blocked) > 0;
}

bool
is_finished(JobState state) noexcept
{
	// A reserved one counts from its publication on, though its row may be seen already.
	return state == JobState::none || state == JobState::reserved;
}

// leased → blocked, out of the lease.
void
block(Board &board, FramePool &pool, LeaseSlot &lease, int job, JobId id, Key &key) noexcept
{
	board.map.move(pool, id, id, JobState::leased, JobState::blocked);
	lease.held.remove(job);
	board.bucket.give_back(1);
	key.has_blocked = true;
	key.version++;
	key.low = std::min(key.low, id);
}

void
end_turn(Board &board, FramePool &pool, KeyPlace place) noexcept
{
	Key &key = board.keys.at(pool, place);
	ONCEQ_ASSERT(key.running > 0);
	key.running--;
	if (key.has_blocked)
		board.keys.push(pool, place);
}

// There may be blocked jobs of the key behind one that is unfinished.
void
note_blocked(Board &board, FramePool &pool, KeyHash key) noexcept
{
	if (KeyPlace const place = board.keys.find(pool, key); place != no_key_place)
		board.keys.at(pool, place).has_blocked = true;
}

// blocked → ready; false: no memory, and the key is to be looked at again.
bool
unblock(Board &board, FramePool &pool, KeyLook &look, KeyedJob const &job) noexcept
{
	if (board.map.store(pool, job.id, job.id) < job.id)
	{
		look.walk.passed = 0;
		doubt_key(board, pool, look.walk.key);
		return false;
	}
	board.map.move(pool, job.id, job.id, JobState::blocked, ready_at(job.priority));
	note_ready(board, job.id, job.priority);
	look.room--;
	return true;
}

// Makes the key's entry, and room in the lease for its place; nullptr: no memory.
LeaseKeys *
enter_key(Board &board, FramePool &pool, LeaseSlot &lease, KeyHash key, KeyPlace &place) noexcept
{
	if (lease.keys == no_frame)
		lease.keys = board.keys.take_frame(pool);
	if (lease.keys == no_frame)
		return nullptr;
	place = board.keys.enter(pool, key, has_blocked(board));
	return place == no_key_place ? nullptr : &pool.at<LeaseKeys>(lease.keys);
}

} // namespace

void
publish_keyed(Board &board, FramePool &pool, JobId id, int priority, Wall due, KeyHash key) noexcept
{
	KeyPlace const place = board.keys.find(pool, key);
	if (place != no_key_place)
	{
		Key &entry = board.keys.at(pool, place);
		entry.version++;
		entry.low = std::min(entry.low, id);
		if (entry.running >= board.key_limit && due <= board.watermark)
		{
			entry.has_blocked = true;
			board.map.move(pool, id, id, JobState::reserved, JobState::blocked);
			board.counters.enqueued++;
			return;
		}
	}
	publish(board, pool, id, id, priority, due);
}

void
set_key_limit(Board &board, int limit) noexcept
{
	// What low says depends on it.
	if ((limit == 1) != (board.key_limit == 1))
		board.keys.forget_lows();
	// Jobs that waited for the end of another of their key may begin now.
	board.keys_are_in_doubt |= limit > board.key_limit && board.map.count(JobState::blocked) > 0;
	board.key_limit = limit;
}

Turn
begin_turn(Board &board, FramePool &pool, LeaseSlot &lease, int job, JobId id, KeyHash key, int limit,
		   KeyWalk &walk) noexcept
{
	set_key_limit(board, limit);
	KeyPlace place;
	LeaseKeys *const keys = enter_key(board, pool, lease, key, place);
	if (keys == nullptr)
		return Turn::refused;
	Key &entry = board.keys.at(pool, place);
	if (entry.running >= limit)
	{
		block(board, pool, lease, job, id, entry);
		return Turn::busy;
	}
	entry.running++;
	keys->place_plus_one[job] = static_cast<std::uint16_t>(place + 1);
	JobId const from = std::max(entry.low, first_id_of(board.map.oldest()));
	walk = KeyWalk{key, from, from, entry.version};
	return Turn::granted;
}

Turn
check_turn(Board &board, FramePool &pool, LeaseSlot &lease, int job, JobId id, KeyWalk &walk, KeyedJob const *lower,
		   int count) noexcept
{
	for (int i = 0; i < count; i++)
	{
		if (is_finished(board.map.state(pool, lower[i].id)))
		{
			walk.passed = lower[i].id + 1;
			continue;
		}
		LeaseKeys &keys = pool.at<LeaseKeys>(lease.keys);
		KeyPlace const place = static_cast<KeyPlace>(keys.place_plus_one[job] - 1);
		keys.place_plus_one[job] = 0;
		block(board, pool, lease, job, id, board.keys.at(pool, place));
		end_turn(board, pool, place);
		return Turn::busy;
	}
	return Turn::granted;
}

void
finish_walk(Board &board, FramePool &pool, KeyWalk const &walk) noexcept
{
	KeyPlace const place = board.keys.find(pool, walk.key);
	if (place == no_key_place)
		return;
	Key &key = board.keys.at(pool, place);
	if (key.version == walk.version)
		key.low = std::max(key.low, walk.passed);
}

bool
restore_turn(Board &board, FramePool &pool, LeaseSlot &lease, int job, KeyHash key) noexcept
{
	KeyPlace place;
	LeaseKeys *const keys = enter_key(board, pool, lease, key, place);
	if (keys == nullptr)
		return false;
	board.keys.at(pool, place).running++;
	keys->place_plus_one[job] = static_cast<std::uint16_t>(place + 1);
	return true;
}

void
end_turns(Board &board, FramePool &pool, LeaseSlot &lease, JobSet const &jobs) noexcept
{
	LeaseKeys &keys = pool.at<LeaseKeys>(lease.keys);
	for (int job = jobs.next(0, lease.job_count, true); job < lease.job_count;
		 job = jobs.next(job + 1, lease.job_count, true))
	{
		if (keys.place_plus_one[job] == 0)
			continue;
		end_turn(board, pool, static_cast<KeyPlace>(keys.place_plus_one[job] - 1));
		keys.place_plus_one[job] = 0;
	}
}

bool
begin_look(Board &board, FramePool &pool, int limit, KeyLook &look) noexcept
{
	KeyPlace place = board.keys.pop(pool);
	// The end of one that runs brings it back.
	while (place != no_key_place && board.keys.at(pool, place).running >= limit)
		place = board.keys.pop(pool);
	if (place == no_key_place)
		return false;
	Key &key = board.keys.at(pool, place);
	// Before the rows are read: whoever blocks a job from here on says so again.
	key.has_blocked = false;
	JobId const from = std::max(key.low, first_id_of(board.map.oldest()));
	look = KeyLook{{board.keys.hash_at(pool, place), from, from, key.version}, limit - key.running, limit == 1, false};
	return true;
}

LookStep
look_at(Board &board, FramePool &pool, KeyLook &look, KeyedJob const *jobs, int count, int &index) noexcept
{
	for (; index < count && look.room > 0; index++)
	{
		KeyedJob const &job = jobs[index];
		JobState const state = board.map.state(pool, job.id);
		if (is_finished(state))
		{
			look.walk.passed = look.gap ? look.walk.passed : job.id + 1;
			continue;
		}
		// Without an order only blocked ones matter, and none is left blocked here.
		look.gap |= look.in_order;
		look.walk.passed = look.gap ? look.walk.passed : job.id + 1;
		note_blocked(board, pool, look.walk.key);
		if (state == JobState::blocked && board.map.history(pool, job.id))
			return LookStep::ask;
		if (state == JobState::blocked && !unblock(board, pool, look, job))
			return LookStep::over;
		look.room -= is_ready(state);
		look.room = look.in_order ? 0 : look.room;
	}
	return look.room > 0 ? LookStep::more : LookStep::over;
}

LookStep
answer_look(Board &board, FramePool &pool, KeyLook &look, KeyedJob const &job, bool dead) noexcept
{
	bool const failed = !dead && board.map.state(pool, job.id) == JobState::blocked && !unblock(board, pool, look, job);
	return failed || look.in_order || look.room <= 0 ? LookStep::over : LookStep::more;
}

void
doubt_key(Board &board, FramePool &pool, KeyHash key) noexcept
{
	KeyPlace const place = board.keys.enter(pool, key, true);
	if (place == no_key_place)
	{
		board.keys_are_in_doubt = true;
		return;
	}
	// Also for the end of one that runs, because of which a look would pass the key over.
	board.keys.at(pool, place).has_blocked = true;
	board.keys.push(pool, place);
}

} // namespace onceq::core
