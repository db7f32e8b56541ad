// SPDX-License-Identifier: PostgreSQL
// The ordering keys of one queue of which jobs run, or of which it is worth to remember something.
//
// A key is 64 bits, a hash of its text: of two texts with the same hash one waits for the other, and that
// is all. There is an entry for each key of which a job runs, and for each that is to be looked at; the others
// are a memory of keys seen lately, and give their place to whoever needs it. So memory does not follow the
// backlog.
//
// Requires, for every function: the lock of the board that owns the table.
#pragma once

#include "core/frame_pool.hpp"
#include "core/job_state.hpp"

namespace onceq::core {

using KeyHash = std::uint64_t; // 0: no key
using KeyPlace = std::uint16_t;

inline constexpr KeyHash no_key = 0;
inline constexpr KeyPlace no_key_place = 0xFFFF;

struct Key
{
	JobId low;             // all jobs of the key below it have ended; or, with a limit above 1, are not blocked
	std::uint32_t version; // changes when a job of the key is published or blocked
	std::uint16_t running;
	KeyPlace next; // in the list of keys to be looked at
	bool to_look_at;
	bool has_blocked; // a job of the key may be blocked
};
static_assert(sizeof(Key) == 24);

class KeyTable
{
  public:
	void initialise() noexcept;

	// Gives all frames back.
	void clear(FramePool &pool) noexcept;

	// no_key_place: there is no entry.
	KeyPlace find(FramePool &pool, KeyHash hash) noexcept;

	// The entry, newly made if there is none; no_key_place: the pool is used up, or all places for this key
	// are those of keys of which jobs run. A new one may have_blocked jobs.
	KeyPlace enter(FramePool &pool, KeyHash hash, bool has_blocked) noexcept;

	// A zeroed frame, from the pool or from what is only remembered; no_frame: neither.
	FrameIndex take_frame(FramePool &pool) noexcept;

	Key &at(FramePool &pool, KeyPlace place) noexcept;
	KeyHash hash_at(FramePool &pool, KeyPlace place) noexcept;

	// A job that had ended is back: what is known of low is wrong.
	void
	forget_lows() noexcept
	{
		epoch_++;
	}

	// ---- the list of keys to be looked at, first in, first out

	void push(FramePool &pool, KeyPlace place) noexcept;
	KeyPlace pop(FramePool &pool) noexcept;

	std::int32_t
	waiting() const noexcept
	{
		return waiting_;
	}

  private:
	static constexpr int ways = 64;
	static constexpr int sets = 512;

	struct Set
	{
		std::uint32_t epoch; // lows are known since
		KeyHash hash[ways];  // 0: free
		Key key[ways];
	};
	struct Root
	{
		FrameIndex set_plus_one[sets]; // 0: none, as in a fresh frame
	};

	Set *set_of(FramePool &pool, KeyHash hash) noexcept;
	static bool is_in_use(Set const &set) noexcept;

	FrameIndex root_;
	std::uint32_t epoch_;
	KeyPlace first_;
	KeyPlace last_;
	std::int32_t waiting_;
};

} // namespace onceq::core
