// SPDX-License-Identifier: PostgreSQL
// Two jobs of one ordering key: producers that commit in any order, two claimers that are interrupted between any two
// holds of the board's lock, whoever looks who is next, and a crash.
#pragma once

#include "explorer.hpp"

#include "core/key_turns.hpp"

namespace onceq::explorer {

enum class KeyGuard : std::uint32_t
{
	none = 0,
	lower_jobs_are_checked = 1 << 0,
	rows_are_read_when_the_key_is_owned = 1 << 1,
	the_end_puts_the_key_on_the_list = 1 << 2,
	a_walk_that_was_overtaken_raises_nothing = 1 << 3,
	a_look_that_fails_is_repeated = 1 << 4,
};

struct KeyOptions
{
	KeyGuard removed = KeyGuard::none;
	int crashes = 0;
};

Result explore(KeyOptions const &options);

// ---- the model

namespace keys {

inline constexpr JobId keys_first_id = ids_per_page - 1;
inline constexpr KeyHash key_hash = 1;
inline constexpr int jobs = 2;
inline constexpr int claimers = 2;

enum class Phase : std::uint8_t
{
	none,
	reserved,
	visible, // committed; the callback is to come
	published,
	aborted
};

enum class Step : std::uint8_t
{
	idle,
	early, // rows read too early, without a guard
	taken,
	begun,
	read,
	have,
	asked,
	committed
};

struct KeyedJobState
{
	Phase phase;
	bool acked;
	bool failed;
};

struct KeyView
{
	bool present;
	std::uint8_t low; // 0, or 1 + how many jobs are below it
	std::uint8_t running;
	bool to_look_at;
	bool has_blocked;
	bool in_doubt;
};

// A walk over rows: those read, and whether its version is still that of the key.
struct WalkView
{
	Jobs rows;
	std::uint8_t from;
	std::uint8_t passed;
	bool current;
	bool fresh; // begun in the step under way
};

struct KeyClaimer
{
	Step step;
	std::uint8_t token;
	std::uint8_t slot;
	std::uint8_t job; // whose turn is looked at next, or that is ended
	Jobs before;      // published, and unfinished, when the turn began
	bool nacks;
	WalkView walk;
};

struct KeyLooker
{
	bool looks;
	bool has_read;
	WalkView walk;
};

struct KeysState
{
	BoardView board;
	KeyView key;
	std::array<Jobs, slots> keyed; // jobs of each lease that run under the key
	std::array<KeyedJobState, jobs> job;
	std::array<KeyClaimer, claimers> claimer;
	KeyLooker looker;
	std::uint8_t crashes;
};

class Keys
{
  public:
	using State = KeysState;

	explicit Keys(KeyOptions const &options) : options_(options) {}

	World
	empty_world() const
	{
		return World(keys_first_id, 11);
	}
	State initial() const;
	void build(State const &state, World &world) const;
	void steps(Stepper<State> stepper) const;
	void
	canonicalise(State &state) const
	{
		if (std::memcmp(&state.claimer[1], &state.claimer[0], sizeof(KeyClaimer)) < 0)
			std::swap(state.claimer[0], state.claimer[1]);
	}
	char const *
	broken(State const &state) const
	{
		return state.key.running > 1 ? "TWO-RUN" : nullptr;
	}
	std::vector<Goal<State>> goals() const;

  private:
	bool
	keeps(KeyGuard guard) const
	{
		return (static_cast<std::uint32_t>(options_.removed) & static_cast<std::uint32_t>(guard)) == 0;
	}

	template <typename Change>
	void step(Stepper<State> &stepper, Label const &label, Change change, bool live = true) const;

	void producer_steps(Stepper<State> &stepper, int job) const;
	void claimer_steps(Stepper<State> &stepper, int who) const;
	void turn_steps(Stepper<State> &stepper, int who) const;
	void holder_steps(Stepper<State> &stepper, int who) const;
	void looker_steps(Stepper<State> &stepper) const;
	void crash(World &world, State &state) const;

	char const *begin(World &world, State &state, KeyClaimer &claimer) const;
	char const *check(World &world, State &state, KeyClaimer &claimer) const;
	void next_job(World &world, KeyClaimer &claimer) const;
	void look(World &world, State &state) const;

	KeyOptions options_;
};

inline std::uint8_t
view_of(JobId id)
{
	return id < keys_first_id ? std::uint8_t{0} : static_cast<std::uint8_t>(id - keys_first_id + 1);
}

inline JobId
id_of(std::uint8_t view)
{
	return view == 0 ? 0 : keys_first_id + view - 1;
}

inline bool
is_live(KeyedJobState const &job)
{
	return job.phase == Phase::published && !job.acked;
}

// What a reader sees of the key: committed rows.
inline Jobs
rows_of(KeysState const &state)
{
	Jobs rows = 0;
	for (int job = 0; job < jobs; job++)
		if (Phase const phase = state.job[static_cast<std::size_t>(job)].phase;
			phase == Phase::visible || phase == Phase::published)
			rows = static_cast<Jobs>(rows | bit(job));
	return rows;
}

inline Key *
key_in(World &world)
{
	KeyPlace const place = world.board().keys.find(world.pool(), key_hash);
	return place == no_key_place ? nullptr : &world.board().keys.at(world.pool(), place);
}

inline KeyWalk
walk_in(World &world, WalkView const &view)
{
	Key const *const key = key_in(world);
	std::uint32_t const version = key != nullptr ? key->version : 0;
	return {key_hash, id_of(view.from), id_of(view.passed), view.current ? version : version - 1};
}

inline WalkView
view_of(KeyWalk const &walk, Jobs rows)
{
	return {rows, view_of(walk.from), view_of(walk.passed), true, true};
}

// Rows first … last as they are handed to core.
inline int
list_rows(World const &world, WalkView const &walk, int below, KeyedJob *list)
{
	int count = 0;
	for (int job = 0; job < below; job++)
		if (has(walk.rows, job) && world.id(job) >= id_of(walk.from))
			list[count++] = {world.id(job), 0};
	return count;
}

// Applies the change, and takes the view of what the board's own does not show.
template <typename Change>
void
Keys::step(Stepper<State> &stepper, Label const &label, Change change, bool live) const
{
	stepper.step(
		label,
		[&](World &world, State &state) {
			Key const *const before = key_in(world);
			std::uint32_t const version = before != nullptr ? before->version : 0;
			char const *const violation = change(world, state);
			Key const *const key = key_in(world);
			bool const newer = key == nullptr || before == nullptr || key->version != version;
			for (WalkView *walk : {&state.claimer[0].walk, &state.claimer[1].walk, &state.looker.walk})
			{
				walk->current = walk->fresh || (walk->current && !newer);
				walk->fresh = false;
			}
			state.key = KeyView{};
			state.key.in_doubt = world.board().keys_are_in_doubt;
			if (key != nullptr)
				state.key = {true,
							 view_of(key->low),
							 static_cast<std::uint8_t>(key->running),
							 key->to_look_at,
							 key->has_blocked,
							 world.board().keys_are_in_doubt};
			for (int index = 0; index < slots; index++)
			{
				LeaseSlot const &lease = world.slot(index);
				bool const taken = lease.token.load() != no_token;
				state.keyed[static_cast<std::size_t>(index)] =
					taken ? world.jobs_of(lease, keyed_jobs(world.pool(), lease)) : Jobs{0};
			}
			return violation;
		},
		live);
}

} // namespace keys
} // namespace onceq::explorer
