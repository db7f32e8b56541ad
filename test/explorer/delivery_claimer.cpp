// SPDX-License-Identifier: PostgreSQL
// What a claimer does, from the claim to the end of the delivery, and each abort on the way.
#include "delivery.hpp"

namespace onceq::explorer {

namespace {

constexpr Monotonic whenever{1};

LeaseSlot &
slot_of(World const &world, Claimer const &claimer)
{
	return world.slot(claimer.slot);
}

bool
owns_slot(World const &world, Claimer const &claimer)
{
	return owns(slot_of(world, claimer), world.token(claimer.slot, claimer.token));
}

template <typename Visit>
void
each(Jobs jobs, Visit visit)
{
	for (int job = 0; job < jobs_max; job++)
		if (has(jobs, job))
			visit(job);
}

// Forgets what does not matter any more, so that it does not make two states of one.
void
tidy(Claimer &claimer)
{
	for (int job = 0; job < jobs_max; job++)
		if (!has(claimer.jobs, job))
			claimer.attempt[static_cast<std::size_t>(job)] = 0;
	if (claimer.jobs == 0 && !claimer.open)
		claimer = Claimer{};
}

} // namespace

// Nobody knows it: random, and so never met again. Without the guard it is counted from 1 after a crash.
std::uint8_t
Delivery::fresh_token(State const &state) const
{
	bool const repeats = !keeps(Guard::tokens_never_repeat) && state.crashes > 0;
	for (std::uint8_t token = 1;; token++)
	{
		bool used = state.canceller.token == token;
		for (LeaseView const &lease : state.board.lease)
			used |= lease.token == token;
		for (Claimer const &claimer : state.claimer)
			used |= claimer.token == token && !repeats;
		if (!used)
			return token;
	}
}

void
Delivery::claimer_steps(Stepper<State> &stepper, int who) const
{
	switch (stepper.state().claimer[static_cast<std::size_t>(who)].step)
	{
		case Step::idle:
		case Step::looking:
			return take_steps(stepper, who);
		case Step::taken:
		case Step::looked:
			return fetch_steps(stepper, who);
		case Step::have:
			return holder_steps(stepper, who);
		default:
			return end_steps(stepper, who);
	}
}

// ---- the claim

char const *
Delivery::take(World &world, State &state, int who) const
{
	Claimer &claimer = state.claimer[static_cast<std::size_t>(who)];
	bool const looked = claimer.step == Step::looking;
	claimer.token = fresh_token(state);
	LeaseSlot &lease = world.grant(claimer.token);
	claimer.slot = static_cast<std::uint8_t>(world.table().index_of(lease));
	Refusal refusal = Refusal::none;
	core::take(world.board(), world.pool(), lease, options_.count, refusal);
	claimer.jobs = world.jobs_of(lease, lease.held);
	claimer.step = looked ? Step::looked : Step::taken;
	if (!keeps(Guard::provisional_until_handed_over))
		lease.state.store(LeaseState::held);
	char const *violation = nullptr;
	each(claimer.jobs, [&](int job) {
		if (state.job[static_cast<std::size_t>(job)].fate != Fate::live)
			violation = "REVIVED";
	});
	if (claimer.jobs == 0)
	{
		world.close(lease);
		claimer = Claimer{};
	}
	return violation;
}

void
Delivery::take_steps(Stepper<State> &stepper, int who) const
{
	State const &state = stepper.state();
	Claimer const &me = state.claimer[static_cast<std::size_t>(who)];
	auto const look = [](Claimer &claimer, State const &at) {
		for (std::size_t job = 0; job < jobs_max; job++)
		{
			claimer.seen = static_cast<Jobs>(claimer.seen | (at.job[job].row == Row::visible ? 1U << job : 0U));
			claimer.attempt[job] = static_cast<std::uint8_t>(at.job[job].failed + 1);
		}
	};
	bool const early = !keeps(Guard::fetch_after_the_flip);
	if (early && me.step == Step::idle)
		stepper.step({"claimer {w} looks, before it takes anything", who}, [&](World &, State &next) {
			Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
			look(claimer, next);
			claimer.step = Step::looking;
			return nullptr;
		});
	bool any_ready = false;
	for (JobState const job : state.board.job)
		any_ready |= is_ready(job);
	if (any_ready && (me.step == Step::looking || !early))
		stepper.step({"claimer {w} takes what is ready, by a new token", who},
					 [&](World &world, State &next) { return take(world, next, who); });
	if (me.step == Step::looking && !any_ready)
		stepper.step({"claimer {w} finds nothing ready", who}, [&](World &, State &next) {
			next.claimer[static_cast<std::size_t>(who)] = Claimer{};
			return nullptr;
		});
	for (int other = 0; options_.share && other < options_.claimers; other++)
		if (Claimer const &from = state.claimer[static_cast<std::size_t>(other)];
			me.step == Step::idle && from.step == Step::have && !from.open)
			stepper.step({"claimer {w} is handed the token of the other", who}, [&](World &, State &next) {
				next.claimer[static_cast<std::size_t>(who)] = from;
				return nullptr;
			});
}

// The rows are handed over: PROVISIONAL → HELD.
char const *
Delivery::hand_over(World &world, State &state, int who) const
{
	Claimer &claimer = state.claimer[static_cast<std::size_t>(who)];
	LeaseSlot &lease = slot_of(world, claimer);
	if (!keeps(Guard::provisional_until_handed_over) && owns_slot(world, claimer))
		lease.state.store(LeaseState::provisional);
	if (!owns_slot(world, claimer) || lease.state.load() != LeaseState::provisional)
	{
		claimer = Claimer{};
		return options_.removed == Guard::none ? "LOST-BEFORE-HANDED-OVER" : nullptr;
	}
	Findings findings{{}, {}, {}, wall_never};
	if (keeps(Guard::absent_rows_are_not_delivered))
		findings.absent = world.numbers(lease, static_cast<Jobs>(claimer.jobs & ~claimer.seen));
	for (int index = 0; index < lease.run_count; index++)
	{
		auto const job = static_cast<std::size_t>(world.job_of(run_at(world.pool(), lease, index).first));
		set_attempt(world.pool(), lease, index, claimer.attempt[job]);
	}
	settle(world.board(), world.pool(), lease, findings);
	claimer.jobs = world.jobs_of(lease, lease.held);
	if (claimer.jobs == 0)
	{
		world.close(lease);
		claimer = Claimer{};
		return nullptr;
	}
	hold(world.board(), lease, whenever);
	char const *violation = nullptr;
	each(claimer.jobs, [&](int number) {
		Job &job = state.job[static_cast<std::size_t>(number)];
		int const attempt = claimer.attempt[static_cast<std::size_t>(number)];
		if (job.row != Row::visible)
			violation = "GHOST";
		else if (attempt < job.delivered)
			violation = "ATTEMPT-DECREASED";
		else if (attempt == job.delivered && !job.excused)
			violation = "ATTEMPT-NOT-COUNTED";
		job.delivered = static_cast<std::uint8_t>(attempt);
		job.excused = false;
	});
	claimer.step = Step::have;
	claimer.open = true;
	claimer.seen = 0;
	tidy(claimer);
	return violation;
}

void
Delivery::fetch_steps(Stepper<State> &stepper, int who) const
{
	if (stepper.state().claimer[static_cast<std::size_t>(who)].step == Step::taken)
		stepper.step({"claimer {w} looks for the rows", who}, [&](World &world, State &next) {
			Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
			each(claimer.jobs, [&](int number) {
				Job const &job = next.job[static_cast<std::size_t>(number)];
				// A history says that there are outcomes to be looked up.
				claimer.attempt[static_cast<std::size_t>(number)] =
					static_cast<std::uint8_t>(world.history(number) ? job.failed + 1 : 1);
				if (job.row == Row::visible)
					claimer.seen = static_cast<Jobs>(claimer.seen | bit(number));
			});
			claimer.step = Step::looked;
			return nullptr;
		});
	else
		stepper.step({"claimer {w} hands the rows over", who},
					 [&](World &world, State &next) { return hand_over(world, next, who); });
	stepper.step({"claimer {w} is cancelled before its rows are returned", who}, [&](World &world, State &next) {
		abort_claim(world, next, who);
		return nullptr;
	});
}

void
Delivery::abort_claim(World &world, State &state, int who) const
{
	Claimer &claimer = state.claimer[static_cast<std::size_t>(who)];
	LeaseSlot &lease = slot_of(world, claimer);
	bool const mine = owns_slot(world, claimer);
	bool const handed_over = claimer.step != Step::taken && claimer.step != Step::looked;
	auto const back = [&] {
		each(world.jobs_of(lease, lease.held),
			 [&](int job) { state.job[static_cast<std::size_t>(job)].excused |= !handed_over; });
		give_back(world.board(), world.pool(), world.table(), lease, lease.held);
	};
	if (mine && lease.state.load() == LeaseState::provisional)
	{
		if (keeps(Guard::abort_gives_a_provisional_lease_back))
			back();
	}
	else if (mine && !keeps(Guard::abort_loses_a_held_lease))
		back();
	else if (mine || (!keeps(Guard::lose_only_ones_own) && lease.token.load() != no_token))
		lose(lease, lease.token.load());
	claimer = Claimer{};
}

// ---- with the rows in hand

bool
Delivery::may_end(World const &world, Claimer const &claimer, Jobs jobs) const
{
	LeaseSlot const &lease = slot_of(world, claimer);
	if (keeps(Guard::token_is_compared))
		return core::may_end(lease, world.token(claimer.slot, claimer.token), world.numbers(lease, jobs)) &&
			   world.numbers(lease, jobs).size() == __builtin_popcount(jobs);
	Jobs const there = world.jobs_of(lease, lease.held - lease.pinned);
	return lease.token.load() != no_token && (there & jobs) == jobs;
}

void
Delivery::holder_steps(Stepper<State> &stepper, int who) const
{
	Claimer const &me = stepper.state().claimer[static_cast<std::size_t>(who)];
	if (me.open)
	{
		stepper.step({"claimer {w} commits its claim", who}, [&](World &, State &next) {
			next.claimer[static_cast<std::size_t>(who)].open = false;
			tidy(next.claimer[static_cast<std::size_t>(who)]);
			return nullptr;
		});
		stepper.step({"claimer {w} aborts its claim", who}, [&](World &world, State &next) {
			abort_claim(world, next, who);
			return nullptr;
		});
	}
	each(me.jobs, [&](int job) {
		if (!may_end(stepper.world(), me, bit(job)))
			stepper.step({"claimer {w} is refused job {j} (OQ001)", who, job}, [&](World &, State &next) {
				Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
				claimer.jobs = static_cast<Jobs>(claimer.jobs & ~bit(job));
				tidy(claimer);
				return nullptr;
			});
	});
	ask_steps(stepper, who);
}

// The holder says that all it was given is done, and ends what of it is there.
void
Delivery::ask_whole(Stepper<State> &stepper, int who) const
{
	Claimer const &me = stepper.state().claimer[static_cast<std::size_t>(who)];
	LeaseSlot const &lease = slot_of(stepper.world(), me);
	bool const told = keeps(Guard::whole_leases_are_not_acked_if_cancelled) && !lease.cancelled.empty();
	Jobs const there =
		owns_slot(stepper.world(), me) ? stepper.world().jobs_of(lease, lease.held - lease.pinned) : Jobs{0};
	if (!told && there != 0)
		stepper.step({"claimer {w} acks the whole lease", who}, [&](World &, State &next) {
			Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
			claimer.step = Step::asked;
			claimer.way = Way::ack;
			claimer.ending = there;
			claimer.whole = true;
			return nullptr;
		});
}

void
Delivery::ask_steps(Stepper<State> &stepper, int who) const
{
	Claimer const &me = stepper.state().claimer[static_cast<std::size_t>(who)];
	auto const ask = [&](char const *text, Way way, Jobs jobs) {
		if (may_end(stepper.world(), me, jobs))
			stepper.step({text, who, jobs - 1}, [&](World &, State &next) {
				Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
				claimer.step = Step::asked;
				claimer.way = way;
				claimer.ending = jobs;
				return nullptr;
			});
	};
	if (options_.cancel)
		ask_whole(stepper, who);
	for (Jobs jobs = 1; jobs <= me.jobs; jobs++)
	{
		if ((jobs & me.jobs) != jobs)
			continue;
		ask("claimer {w} acks jobs {j}", Way::ack, jobs);
		bool const one = __builtin_popcount(jobs) == 1;
		if (options_.nack && one)
			ask("claimer {w} nacks jobs {j}", Way::nack, jobs);
		LeaseSlot const &lease = slot_of(stepper.world(), me);
		Jobs const there = lease.token.load() != no_token ? stepper.world().jobs_of(lease, lease.held) : Jobs{0};
		bool const anyway = !keeps(Guard::release_only_ones_own) && (there & jobs) == jobs;
		if (options_.release && (may_end(stepper.world(), me, jobs) || anyway))
			stepper.step({"claimer {w} releases jobs {j}", who, jobs - 1}, [&](World &world, State &next) {
				Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
				LeaseSlot &mine = slot_of(world, claimer);
				give_back(world.board(), world.pool(), world.table(), mine, world.numbers(mine, jobs));
				each(jobs, [&](int job) { next.job[static_cast<std::size_t>(job)].excused = true; });
				claimer.jobs = static_cast<Jobs>(claimer.jobs & ~jobs);
				tidy(claimer);
				return nullptr;
			});
	}
}

// ---- the transaction that ends the delivery

char const *
Delivery::pre_commit(World &world, State &state, int who) const
{
	Claimer &claimer = state.claimer[static_cast<std::size_t>(who)];
	LeaseSlot &lease = slot_of(world, claimer);
	JobSet const jobs = world.numbers(lease, claimer.ending);
	bool const allowed = may_end(world, claimer, claimer.ending);
	if (!allowed && keeps(Guard::check_again_at_pre_commit))
	{
		abort_end(world, state, who);
		state.claimer[static_cast<std::size_t>(who)] = Claimer{};
		return nullptr;
	}
	if (allowed && keeps(Guard::pin_at_pre_commit))
	{
		if (keeps(Guard::token_is_compared))
			pin(lease, world.token(claimer.slot, claimer.token), jobs);
		else
			lease.pinned |= jobs;
	}
	if (!keeps(Guard::leave_the_lease_at_commit))
		after_commit(world, state, who);
	claimer.step = Step::pinned;
	return nullptr;
}

// ABORT of the transaction, with or without a pin; the claim goes too if it was made in it.
void
Delivery::abort_end(World &world, State &state, int who) const
{
	Claimer &claimer = state.claimer[static_cast<std::size_t>(who)];
	LeaseSlot &lease = slot_of(world, claimer);
	if (claimer.step == Step::pinned && keeps(Guard::unpin_on_abort))
		unpin(lease, world.token(claimer.slot, claimer.token), world.numbers(lease, claimer.ending), whenever);
	if (claimer.open)
		return abort_claim(world, state, who);
	claimer.step = Step::have;
	claimer.ending = 0;
	claimer.whole = false;
	claimer.way = Way::ack;
}

char const *
Delivery::after_commit(World &world, State &state, int who) const
{
	Claimer const &claimer = state.claimer[static_cast<std::size_t>(who)];
	LeaseSlot &lease = slot_of(world, claimer);
	JobSet const jobs = world.numbers(lease, claimer.ending);
	bool const mine = owns_slot(world, claimer) || !keeps(Guard::token_is_compared);
	if (!mine || jobs.empty() || !lease.held.includes(jobs))
		return options_.removed == Guard::none ? "NOT-OURS-AT-COMMIT" : nullptr;
	Ending ending = Ending::succeeded;
	each(claimer.ending, [&](int job) {
		if (claimer.way == Way::nack)
			ending = claimer.attempt[static_cast<std::size_t>(job)] >= attempts_max ? Ending::dead : Ending::failed;
	});
	end(world.board(), world.pool(), world.table(), lease, jobs, ending, wall_always);
	return nullptr;
}

void
Delivery::end_steps(Stepper<State> &stepper, int who) const
{
	Claimer const &me = stepper.state().claimer[static_cast<std::size_t>(who)];
	auto const change = [&](char const *text, Step to) {
		stepper.step({text, who}, [&](World &, State &next) {
			next.claimer[static_cast<std::size_t>(who)].step = to;
			return nullptr;
		});
	};
	if (me.step == Step::asked)
		stepper.step({"claimer {w} is in PRE_COMMIT", who},
					 [&](World &world, State &next) { return pre_commit(world, next, who); });
	if (me.step == Step::asked || me.step == Step::pinned)
		stepper.step({me.step == Step::asked ? "claimer {w} aborts" : "claimer {w} fails after PRE_COMMIT", who},
					 [&](World &world, State &next) {
						 abort_end(world, next, who);
						 return nullptr;
					 });
	if (me.step == Step::pinned)
		change("claimer {w}'s commit is durable", Step::durable);
	if (me.step == Step::durable)
		stepper.step({"claimer {w}'s outcome is visible", who}, [&](World &, State &next) {
			Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
			claimer.step = Step::visible;
			char const *violation = nullptr;
			each(claimer.ending, [&](int number) {
				auto const job = static_cast<std::size_t>(number);
				char const *const found = claimer.way == Way::ack
											  ? finish(next.job[job], Fate::acked, claimer.attempt[job])
											  : fail(next.job[job], claimer.attempt[job]);
				violation = found != nullptr ? found : violation;
			});
			each(claimer.whole ? claimer.jobs : Jobs{0}, [&](int number) {
				if (next.job[static_cast<std::size_t>(number)].fate == Fate::cancelled)
					violation = "CANCELLED-BUT-DONE";
			});
			return violation;
		});
	if (me.step == Step::visible)
		stepper.step({"claimer {w}'s COMMIT callback", who}, [&](World &world, State &next) {
			char const *const violation =
				keeps(Guard::leave_the_lease_at_commit) ? after_commit(world, next, who) : nullptr;
			Claimer &claimer = next.claimer[static_cast<std::size_t>(who)];
			claimer.jobs = static_cast<Jobs>(claimer.jobs & ~claimer.ending);
			claimer.ending = 0;
			claimer.whole = false;
			claimer.way = Way::ack;
			claimer.open = false;
			claimer.step = Step::have;
			tidy(claimer);
			return violation;
		});
}

} // namespace onceq::explorer
