// SPDX-License-Identifier: PostgreSQL
// Producers, the worker's expiry, the purge and the crash; and what must hold in every state.
#include "delivery.hpp"

namespace onceq::explorer {

namespace {

// The last job of one page and the first of the next: the one's page comes and goes without the other's.
constexpr JobId first_id = ids_per_page - 1;

Job &
job_at(DeliveryState &state, int job)
{
	return state.job[static_cast<std::size_t>(job)];
}

} // namespace

char const *
fail(Job &job, int attempt)
{
	bool const twice = job.fate != Fate::live || job.failed >= attempt;
	job.failed++;
	if (attempt >= Delivery::attempts_max && job.fate == Fate::live)
		job.fate = Fate::dead;
	return twice ? "DOUBLE-EFFECT" : nullptr;
}

char const *
finish(Job &job, Fate fate, int attempt)
{
	bool const twice = job.fate != Fate::live || (attempt > 0 && job.failed >= attempt);
	job.fate = fate;
	return twice ? "DOUBLE-EFFECT" : nullptr;
}

World
Delivery::empty_world() const
{
	return World(first_id);
}

DeliveryState
Delivery::initial() const
{
	World world = empty_world();
	finish_building(world.board(), first_id, first_id + options_.jobs, 2, Wall{1});
	State state{};
	state.board = world.view();
	return state;
}

void
Delivery::steps(Stepper<State> stepper) const
{
	for (int who = 0; who < options_.producers; who++)
		producer_steps(stepper, who);
	for (int who = 0; who < options_.claimers; who++)
		claimer_steps(stepper, who);
	worker_steps(stepper);
	if (options_.purge)
		purger_steps(stepper);
	if (options_.cancel)
		canceller_steps(stepper);
	if (stepper.state().crashes < options_.crashes)
		crash(stepper);
}

void
Delivery::canonicalise(State &state) const
{
	auto const less = [](auto const &left, auto const &right) { return std::memcmp(&left, &right, sizeof(left)) < 0; };
	if (options_.symmetric && less(state.claimer[1], state.claimer[0]))
		std::swap(state.claimer[0], state.claimer[1]);
	if (options_.symmetric && less(state.producer[1], state.producer[0]))
		std::swap(state.producer[0], state.producer[1]);
}

// ---- producers

void
Delivery::producer_steps(Stepper<State> &stepper, int who) const
{
	auto const index = static_cast<std::size_t>(who);
	Producer const &me = stepper.state().producer[index];
	if (me.step == Step::idle && stepper.state().board.next < options_.jobs)
		stepper.step({"producer {w} reserves job {j}", who, stepper.state().board.next},
					 [&](World &world, State &next) {
						 Reservation const got = reserve(world.board(), world.pool(), 1);
						 int const job = world.job_of(got.first);
						 bool const twice = has(next.given, job);
						 next.given = static_cast<Jobs>(next.given | bit(job));
						 next.producer[index] = {Step::reserved, static_cast<std::uint8_t>(job)};
						 return twice ? "ID-GIVEN-TWICE" : nullptr;
					 });
	if (me.step == Step::reserved)
		stepper.step({"producer {w} inserts the row of job {j}", who, me.job}, [&](World &world, State &next) {
			next.producer[index].step = Step::asked;
			job_at(next, me.job).row = Row::inserted;
			if (!keeps(Guard::ready_in_the_commit_callback))
				publish(world.board(), world.pool(), world.id(me.job), world.id(me.job), 0, wall_always);
			return nullptr;
		});
	if (me.step == Step::reserved || me.step == Step::asked)
		stepper.step({"producer {w} aborts job {j}", who, me.job}, [&](World &world, State &next) {
			next.producer[index].step = Step::over;
			job_at(next, me.job).row = Row::none;
			if (keeps(Guard::abort_voids_reserved_ids))
				abandon(world.board(), world.pool(), world.id(me.job), world.id(me.job));
			return nullptr;
		});
	producer_commit(stepper, who);
}

void
Delivery::producer_commit(Stepper<State> &stepper, int who) const
{
	auto const index = static_cast<std::size_t>(who);
	Producer const &me = stepper.state().producer[index];
	if (me.step == Step::asked)
		stepper.step({"producer {w}'s commit is durable", who}, [&](World &, State &next) {
			next.producer[index].step = Step::durable;
			return nullptr;
		});
	if (me.step == Step::durable)
		stepper.step({"job {j} is visible", who, me.job}, [&](World &, State &next) {
			next.producer[index].step = Step::visible;
			job_at(next, me.job).row = Row::visible;
			return nullptr;
		});
	if (me.step == Step::visible)
		stepper.step({"producer {w}'s COMMIT callback: job {j}", who, me.job}, [&](World &world, State &next) {
			next.producer[index].step = Step::over;
			publish(world.board(), world.pool(), world.id(me.job), world.id(me.job), 0, wall_always);
			return nullptr;
		});
}

// ---- the worker

void
Delivery::begin_expiry(Stepper<State> &stepper, int index) const
{
	stepper.step({"worker takes the lease of slot {w} away, inserts outcomes", index}, [&](World &world, State &next) {
		LeaseSlot &lease = world.slot(index);
		next.worker.step = Step::asked;
		next.worker.slot = static_cast<std::uint8_t>(index);
		next.worker.jobs = world.jobs_of(lease, lease.held);
		next.worker.attempt = next.board.lease[static_cast<std::size_t>(index)].attempt;
		// A new one each time: a canceller may remember the last.
		std::uint8_t const fresh = static_cast<std::uint8_t>(system_token + (next.canceller.token == system_token));
		Token const system = world.token(index, fresh);
		if (!keeps(Guard::expiry_owns_before_it_writes))
			next.worker.token = next.board.lease[static_cast<std::size_t>(index)].token;
		else if (keeps(Guard::expiry_has_a_token_of_its_own) && lease.pinned.empty())
			core::begin_expiry(lease, static_cast<std::uint32_t>(index), fresh);
		else
		{
			if (keeps(Guard::expiry_has_a_token_of_its_own))
				lease.token.store(system);
			lease.state.store(LeaseState::expiring);
		}
		if (keeps(Guard::expiry_owns_before_it_writes))
			next.worker.token = static_cast<std::uint8_t>(lease.token.load() >> token_slot_bits);
		if (!keeps(Guard::expired_leave_at_commit))
			after_expiry(world, next);
		return nullptr;
	});
}

void
Delivery::after_expiry(World &world, State &state) const
{
	LeaseSlot &lease = world.slot(state.worker.slot);
	if (!owns(lease, world.token(state.worker.slot, state.worker.token)))
		return;
	for (int job = 0; job < jobs_max; job++)
	{
		JobSet const one = world.numbers(lease, static_cast<Jobs>(state.worker.jobs & bit(job)));
		if (one.empty() || !lease.held.includes(one))
			continue;
		bool const last = state.worker.attempt[static_cast<std::size_t>(job)] >= attempts_max;
		end(world.board(), world.pool(), world.table(), lease, one, last ? Ending::dead : Ending::failed, wall_always);
	}
}

void
Delivery::worker_steps(Stepper<State> &stepper) const
{
	Worker const &me = stepper.state().worker;
	if (me.step == Step::idle)
		for (int index = 0; index < slots; index++)
		{
			LeaseSlot const &lease = stepper.world().slot(index);
			bool const over = lease.state.load() == LeaseState::held || lease.state.load() == LeaseState::lost;
			if (may_expire(lease, monotonic_never) || (over && !keeps(Guard::pinned_cannot_expire)))
				begin_expiry(stepper, index);
		}
	if (me.step == Step::asked)
	{
		stepper.step({"worker's commit is durable"}, [&](World &, State &next) {
			next.worker.step = Step::durable;
			return nullptr;
		});
		stepper.step({"worker aborts"}, [&](World &world, State &next) {
			LeaseSlot &lease = world.slot(me.slot);
			bool const mine = owns(lease, world.token(me.slot, me.token));
			if (mine && keeps(Guard::expiry_aborts_to_lost) && keeps(Guard::expiry_owns_before_it_writes))
				cancel_expiry(lease);
			next.worker = Worker{};
			return nullptr;
		});
	}
	if (me.step == Step::durable)
		stepper.step({"worker's outcomes are visible"}, [&](World &, State &next) {
			next.worker.step = Step::visible;
			char const *violation = nullptr;
			for (int job = 0; job < jobs_max; job++)
				if (int const attempt = me.attempt[static_cast<std::size_t>(job)]; has(me.jobs, job))
				{
					if (attempt > job_at(next, job).delivered)
						violation = "COUNTED-BUT-NOT-DELIVERED";
					char const *const found = fail(job_at(next, job), attempt);
					violation = found != nullptr ? found : violation;
				}
			return violation;
		});
	if (me.step == Step::visible)
		stepper.step({"worker's COMMIT callback"}, [&](World &world, State &next) {
			if (keeps(Guard::expired_leave_at_commit))
				after_expiry(world, next);
			next.worker = Worker{};
			return nullptr;
		});
}

// ---- the purge of ready jobs

void
Delivery::purger_steps(Stepper<State> &stepper) const
{
	Purger const &me = stepper.state().purger;
	auto const seized = [&](World const &world) { return Seized{world.id(me.job), world.id(me.job), ready_at(0)}; };
	for (int job = 0; job < options_.jobs && me.step == Step::idle; job++)
		if (stepper.world().state(job) == ready_at(0))
			stepper.step(
				{"purge takes job {j}, inserts an outcome", 0, job},
				[&](World &world, State &next) {
					Refusal refusal = Refusal::none;
					if (keeps(Guard::purge_seizes))
						seize_next(world.board(), world.pool(), ready_at(0), world.id(job), world.id(job), refusal);
					next.purger = {Step::asked, static_cast<std::uint8_t>(job)};
					return nullptr;
				},
				false);
	if (me.step == Step::asked)
	{
		stepper.step({"purge's commit is durable"}, [&](World &, State &next) {
			next.purger.step = Step::durable;
			return nullptr;
		});
		stepper.step({"purge aborts"}, [&](World &world, State &next) {
			if (keeps(Guard::purge_seizes) && keeps(Guard::purge_restores_on_abort))
				restore_seized(world.board(), world.pool(), seized(world));
			next.purger = Purger{};
			return nullptr;
		});
	}
	if (me.step == Step::durable)
		stepper.step({"purge's outcome is visible"}, [&](World &, State &next) {
			next.purger.step = Step::visible;
			return finish(job_at(next, me.job), Fate::cancelled, 0);
		});
	if (me.step == Step::visible)
		stepper.step({"purge's COMMIT callback"}, [&](World &world, State &next) {
			if (keeps(Guard::purge_seizes))
				finish_seized(world.board(), world.pool(), seized(world));
			else
				world.board().map.move(world.pool(), world.id(me.job), world.id(me.job), ready_at(0), JobState::none);
			next.purger = Purger{};
			return nullptr;
		});
}

// ---- the crash

// Memory is gone; what was durable is there, what was not never was.
void
Delivery::crash(Stepper<State> &stepper) const
{
	stepper.step(
		{"CRASH, and the board is built from the tables"},
		[&](World &world, State &next) {
			char const *violation = nullptr;
			auto const note = [&](char const *found) { violation = found != nullptr ? found : violation; };
			for (Producer &producer : next.producer)
			{
				bool const durable = producer.step == Step::durable || producer.step == Step::visible;
				if (producer.step != Step::idle && producer.step != Step::over)
					job_at(next, producer.job).row = durable ? Row::visible : Row::none;
				if (producer.step != Step::idle)
					producer.step = Step::over;
			}
			for (Claimer &claimer : next.claimer)
			{
				for (int job = 0; job < jobs_max && claimer.step == Step::durable; job++)
					if (int const attempt = claimer.attempt[static_cast<std::size_t>(job)]; has(claimer.ending, job))
						note(claimer.way == Way::ack ? finish(job_at(next, job), Fate::acked, attempt)
													 : fail(job_at(next, job), attempt));
				bool const remembers =
					claimer.step == Step::have || claimer.step == Step::asked || claimer.step == Step::pinned;
				Claimer const before = claimer;
				claimer = Claimer{};
				if (remembers && before.jobs != 0)
					claimer = {Step::have, before.token, before.slot, before.jobs, 0,
							   0,          false,        Way::ack,    false,       before.attempt};
			}
			for (int job = 0; job < jobs_max && next.worker.step == Step::durable; job++)
				if (has(next.worker.jobs, job))
					note(fail(job_at(next, job), next.worker.attempt[static_cast<std::size_t>(job)]));
			if (next.purger.step == Step::durable)
				note(finish(job_at(next, next.purger.job), Fate::cancelled, 0));
			if (Canceller const &cancel = next.canceller; cancel.step == Step::durable)
				note(finish(job_at(next, cancel.job), Fate::cancelled, cancel.attempt));
			next.worker = Worker{};
			next.purger = Purger{};
			next.canceller = Canceller{};
			next.crashes++;
			rebuild(world, next);
			return violation;
		},
		false);
}

void
Delivery::rebuild(World &world, State &state) const
{
	Board &board = world.board();
	FramePool &pool = world.pool();
	JobId const ceiling = board.next_id;
	JobId past = first_id;
	world.begin_building();
	for (int number = 0; number < options_.jobs; number++)
	{
		Job &job = job_at(state, number);
		JobId const id = world.id(number);
		job.excused = true;
		if (job.row != Row::visible)
			continue;
		past = id + 1;
		place(board, pool, id, id, ready_at(0), false);
		if (job.fate != Fate::live && keeps(Guard::outcomes_at_rebuild))
			remove(board, pool, id, id);
		else if (job.failed > 0 && keeps(Guard::history_at_rebuild))
		{
			remove(board, pool, id, id);
			place(board, pool, id, id, ready_at(0), true);
		}
	}
	finish_building(board, keeps(Guard::numbering_goes_on_at_the_ceiling) ? ceiling : past, first_id + options_.jobs, 2,
					Wall{1});
}

// ---- what must hold

char const *
Delivery::broken(State const &state) const
{
	for (int job = 0; job < jobs_max; job++)
	{
		int holders = 0;
		for (LeaseView const &lease : state.board.lease)
		{
			holders += has(lease.held, job);
			if (has(lease.pinned, job) && !has(lease.held, job))
				return "PINNED-BUT-NOT-HELD";
		}
		bool const leased = state.board.job[static_cast<std::size_t>(job)] == JobState::leased;
		if (holders > 1)
			return "TWO-HOLDERS";
		if (leased != (holders == 1))
			return leased ? "LEASED-BY-NOBODY" : "HELD-BUT-NOT-LEASED";
	}
	return nullptr;
}

template <int number>
static constexpr Goal<DeliveryState> delivered{"LOST", [](DeliveryState const &state) {
												   Job const &job = state.job[number];
												   return job.row != Row::visible || job.fate != Fate::live ||
														  is_ready(state.board.job[number]);
											   }};

template <int number>
static constexpr Goal<DeliveryState> drained{"STUCK", [](DeliveryState const &state) {
												 Job const &job = state.job[number];
												 bool const unfinished =
													 job.row == Row::visible && job.fate == Fate::live;
												 return unfinished || state.board.job[number] == JobState::none;
											 }};

std::vector<Goal<DeliveryState>>
Delivery::goals() const
{
	Goal<DeliveryState> const freed{"STUCK-LEASE", [](DeliveryState const &state) {
										bool free = true;
										for (LeaseView const &lease : state.board.lease)
											free &= lease.token == 0;
										return free;
									}};
	return {delivered<0>, delivered<1>, drained<0>, drained<1>, freed};
}

Result
explore(DeliveryOptions const &options)
{
	Delivery const model(options);
	return Explorer<Delivery>(model).run();
}

} // namespace onceq::explorer
