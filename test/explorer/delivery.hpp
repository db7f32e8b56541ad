// SPDX-License-Identifier: PostgreSQL
// The delivery of jobs: producers, claimers, the worker that expires leases, an administrator that
// purges, and a crash. The board is the real one; PostgreSQL's part (rows, outcomes, what is durable
// and what is visible, who has a transaction open) is the rest of the state.
#pragma once

#include "explorer.hpp"

namespace onceq::explorer {

// What can be removed from the protocol, to see that it is needed.
enum class Guard : std::uint32_t
{
	none = 0,
	fetch_after_the_flip = 1 << 0,
	ready_in_the_commit_callback = 1 << 1,
	abort_voids_reserved_ids = 1 << 2,
	absent_rows_are_not_delivered = 1 << 3,
	token_is_compared = 1 << 4,
	tokens_never_repeat = 1 << 5,
	pin_at_pre_commit = 1 << 6,
	check_again_at_pre_commit = 1 << 7,
	pinned_cannot_expire = 1 << 8,
	expiry_owns_before_it_writes = 1 << 9,
	expiry_has_a_token_of_its_own = 1 << 10,
	expiry_aborts_to_lost = 1 << 11,
	unpin_on_abort = 1 << 12,
	leave_the_lease_at_commit = 1 << 13,
	expired_leave_at_commit = 1 << 14,
	provisional_until_handed_over = 1 << 15,
	abort_gives_a_provisional_lease_back = 1 << 16,
	abort_loses_a_held_lease = 1 << 17,
	lose_only_ones_own = 1 << 18,
	release_only_ones_own = 1 << 19,
	outcomes_at_rebuild = 1 << 20,
	history_at_rebuild = 1 << 21,
	numbering_goes_on_at_the_ceiling = 1 << 22,
	purge_seizes = 1 << 23,
	purge_restores_on_abort = 1 << 24,
	cancel_checks_again_at_pre_commit = 1 << 25,
	cancel_pins = 1 << 26,
	cancel_unpins_on_abort = 1 << 27,
	whole_leases_are_not_acked_if_cancelled = 1 << 28,
	cancelled_is_known_from_pre_commit_on = 1 << 29,
};

constexpr Guard
operator|(Guard left, Guard right)
{
	return static_cast<Guard>(static_cast<std::uint32_t>(left) | static_cast<std::uint32_t>(right));
}

struct DeliveryOptions
{
	int producers = 1;
	int jobs = 1;
	int claimers = 2;
	int count = 1; // jobs of a claim
	bool nack = true;
	bool release = true;
	bool share = true; // a token is handed from one claimer to the other
	bool purge = true;
	bool cancel = false; // of running jobs
	int crashes = 1;
	bool symmetric = false; // states that differ only in who is who are one
	Guard removed = Guard::none;
};

// What the tables say of a job, and what was delivered.
enum class Row : std::uint8_t
{
	none,
	inserted,
	visible
};
enum class Fate : std::uint8_t
{
	live,
	acked,
	dead,
	cancelled
};

struct Job
{
	Row row;
	Fate fate;
	std::uint8_t failed;    // attempts, with a visible outcome
	std::uint8_t delivered; // the last attempt that was
	bool excused;           // the next delivery may have the same number
};

enum class Step : std::uint8_t
{
	idle,
	reserved, // producer
	looking,  // claimer, only without the guard: it looks before it takes
	taken,    // claimer
	looked,   // claimer
	have,     // claimer: rows in hand
	asked,    // outcome rows inserted
	pinned,   // after PRE_COMMIT
	durable,  // the commit record is
	visible,  // to new snapshots; the COMMIT callback comes next
	over
};

struct Producer
{
	Step step;
	std::uint8_t job;
};

enum class Way : std::uint8_t
{
	ack,
	nack
};

struct Claimer
{
	Step step;
	std::uint8_t token;
	std::uint8_t slot;
	Jobs jobs;
	Jobs seen;   // rows found
	Jobs ending; // asked to end
	bool whole;  // by an ack of the whole lease
	Way way;
	bool open; // the transaction of the claim
	std::array<std::uint8_t, jobs_max> attempt;
};

struct Worker
{
	Step step;
	std::uint8_t slot;
	std::uint8_t token;
	Jobs jobs;
	std::array<std::uint8_t, jobs_max> attempt;
};

struct Purger
{
	Step step;
	std::uint8_t job;
};

struct Canceller
{
	Step step;
	std::uint8_t job;
	std::uint8_t slot;
	std::uint8_t token;
	std::uint8_t attempt;
};

struct DeliveryState
{
	BoardView board;
	std::array<Job, jobs_max> job;
	std::array<Producer, 2> producer;
	std::array<Claimer, 2> claimer;
	Worker worker;
	Purger purger;
	Canceller canceller;
	std::uint8_t given; // ids ever given out
	std::uint8_t crashes;
};

class Delivery
{
  public:
	using State = DeliveryState;

	explicit Delivery(DeliveryOptions const &options) : options_(options) {}

	World empty_world() const;
	State initial() const;
	void
	build(State const &state, World &world) const
	{
		world.build(state.board);
	}
	void steps(Stepper<State> stepper) const;
	void canonicalise(State &state) const;
	char const *broken(State const &state) const;
	std::vector<Goal<State>> goals() const;

	static constexpr int attempts_max = 2;
	static constexpr std::uint8_t system_token = 7; // of the worker's own holds

  private:
	bool
	keeps(Guard guard) const
	{
		return (static_cast<std::uint32_t>(options_.removed) & static_cast<std::uint32_t>(guard)) == 0;
	}

	void producer_steps(Stepper<State> &stepper, int who) const;
	void producer_commit(Stepper<State> &stepper, int who) const;

	void claimer_steps(Stepper<State> &stepper, int who) const;
	void take_steps(Stepper<State> &stepper, int who) const;
	void fetch_steps(Stepper<State> &stepper, int who) const;
	void holder_steps(Stepper<State> &stepper, int who) const;
	void ask_steps(Stepper<State> &stepper, int who) const;
	void ask_whole(Stepper<State> &stepper, int who) const;
	void end_steps(Stepper<State> &stepper, int who) const;
	char const *take(World &world, State &state, int who) const;
	char const *hand_over(World &world, State &state, int who) const;
	char const *pre_commit(World &world, State &state, int who) const;
	char const *after_commit(World &world, State &state, int who) const;
	void abort_claim(World &world, State &state, int who) const;
	void abort_end(World &world, State &state, int who) const;
	bool may_end(World const &world, Claimer const &claimer, Jobs jobs) const;
	std::uint8_t fresh_token(State const &state) const;

	void worker_steps(Stepper<State> &stepper) const;
	void begin_expiry(Stepper<State> &stepper, int slot) const;
	void after_expiry(World &world, State &state) const;

	void purger_steps(Stepper<State> &stepper) const;
	void canceller_steps(Stepper<State> &stepper) const;
	void cancel_pre_commit(World &world, State &state) const;
	void abort_cancel(World &world, State &state) const;
	void after_cancel(World &world, State &state) const;
	void crash(Stepper<State> &stepper) const;
	void rebuild(World &world, State &state) const;

	DeliveryOptions options_;
};

Result explore(DeliveryOptions const &options);

// An outcome becomes visible; returns what that violates.
char const *fail(Job &job, int attempt);
char const *finish(Job &job, Fate fate, int attempt);

} // namespace onceq::explorer
