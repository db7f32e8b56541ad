// SPDX-License-Identifier: PostgreSQL
// One job that is due later, and again after a failed attempt; two sessions that promote, a purge of
// waiting jobs, a clock that may be set back, and a crash.
#pragma once

#include "explorer.hpp"

namespace onceq::explorer {

enum class DueGuard : std::uint32_t
{
	none = 0,
	watermark_rises_before_the_read = 1 << 0,
	callback_compares_with_the_watermark = 1 << 1,
	compares_in_the_same_hold = 1 << 2,
	promotes_only_from_waiting = 1 << 3,
	claim_checks_the_due_time = 1 << 4,
	settle_compares_again = 1 << 5,
	commit_notes_the_due_time = 1 << 6,
	earliest_is_reset_before_the_read = 1 << 7,
	restored_are_looked_for_again = 1 << 8,
	only_the_last_look_ends_it = 1 << 9,
	failed_looks_are_repeated = 1 << 10,
};

struct DueOptions
{
	bool clock_back = true;
	bool purge = true;
	int sessions = 2; // that promote
	int crashes = 1;
	DueGuard removed = DueGuard::none;
};

Result explore(DueOptions const &options);

inline constexpr JobId due_job = ids_per_page - 1;
inline constexpr Time start_of_time = 2;
inline constexpr Time run_at = 3;
inline constexpr Time retry_at = 4;
inline constexpr Time end_of_time = 4;

enum class DuePhase : std::uint8_t
{
	idle,
	inserted,
	visible,
	over,
	taken,
	looked,
	have,
	ended,
	compared
};
enum class Look : std::uint8_t
{
	idle,
	early_read,
	advanced,
	read,
	flipped
};

struct Promoter
{
	Look look;
	Time from;
	Time to;
	bool found;
	Time next;
};

struct DueState
{
	BoardView board;
	DuePhase producer;
	Time compared; // the watermark that the producer read too early; only without the guard
	bool visible;  // the row
	bool finished;
	bool failed; // once: due again at retry_at
	DuePhase claimer;
	Time watermark; // when the claimer took the job
	bool early;
	bool acks; // or fails the attempt
	DuePhase purger;
	std::array<Promoter, 2> promoter;
	Time clock;
	Time latest; // it ever was
	bool set_back;
	std::uint8_t crashes;

	Time
	due() const
	{
		return failed ? retry_at : run_at;
	}
};

class DueModel
{
  public:
	using State = DueState;

	explicit DueModel(DueOptions const &options) : options_(options) {}

	World
	empty_world() const
	{
		return World(due_job);
	}
	void
	build(State const &state, World &world) const
	{
		world.build(state.board);
	}
	void
	canonicalise(State &) const
	{
	}
	State initial() const;
	void steps(Stepper<State> stepper) const;
	char const *broken(State const &state) const;
	std::vector<Goal<State>> goals() const;

  private:
	bool
	keeps(DueGuard guard) const
	{
		return (static_cast<std::uint32_t>(options_.removed) & static_cast<std::uint32_t>(guard)) == 0;
	}

	void clock_steps(Stepper<State> &stepper) const;
	void producer_steps(Stepper<State> &stepper) const;
	void claimer_steps(Stepper<State> &stepper) const;
	char const *settle_claim(World &world, State &state) const;
	void holder_steps(Stepper<State> &stepper) const;
	void purger_steps(Stepper<State> &stepper) const;
	void promoter_steps(Stepper<State> &stepper, int who) const;
	void begin_look(Stepper<State> &stepper, int who) const;
	void end_look(World &world, Promoter &me) const;
	void crash(Stepper<State> &stepper) const;
	void publish_at(World &world, Time due) const;

	DueOptions options_;
};

} // namespace onceq::explorer
