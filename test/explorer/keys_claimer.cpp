// SPDX-License-Identifier: PostgreSQL
#include "keys.hpp"

namespace onceq::explorer::keys {

LeaseSlot &
lease_of(World &world, KeyClaimer const &claimer)
{
	return world.slot(claimer.slot);
}

// The first job of the lease from this one on that it still holds; jobs: none.
int
held_from(World &world, KeyClaimer const &claimer, int job)
{
	LeaseSlot const &lease = lease_of(world, claimer);
	Jobs const held = world.jobs_of(lease, lease.held);
	while (job < jobs && !has(held, job))
		job++;
	return job;
}

// On to the next job of the claim; after the last one the rows are handed over.
void
Keys::next_job(World &world, KeyClaimer &claimer) const
{
	claimer.walk = WalkView{};
	claimer.before = 0;
	claimer.step = Step::taken;
	claimer.job = static_cast<std::uint8_t>(held_from(world, claimer, claimer.job + 1));
	if (claimer.job < jobs)
		return;
	LeaseSlot &lease = lease_of(world, claimer);
	if (lease.held.empty())
	{
		world.close(lease);
		claimer = KeyClaimer{};
		return;
	}
	hold(world.board(), lease, monotonic_never);
	claimer.step = Step::have;
	claimer.job = 0;
}

char const *
Keys::begin(World &world, State &state, KeyClaimer &claimer) const
{
	LeaseSlot &lease = lease_of(world, claimer);
	Jobs const early = claimer.walk.rows;
	KeyWalk walk{};
	Turn const turn =
		begin_turn(world.board(), world.pool(), lease, core::job_of(world.pool(), lease, world.id(claimer.job)),
				   world.id(claimer.job), key_hash, 1, walk);
	if (turn != Turn::granted)
	{
		next_job(world, claimer);
		return turn == Turn::refused ? "REFUSED" : nullptr;
	}
	for (int job = 0; job < claimer.job; job++)
		if (is_live(state.job[static_cast<std::size_t>(job)]))
			claimer.before = static_cast<Jobs>(claimer.before | bit(job));
	claimer.walk = view_of(walk, early);
	claimer.step = keeps(KeyGuard::rows_are_read_when_the_key_is_owned) ? Step::begun : Step::read;
	return nullptr;
}

char const *
Keys::check(World &world, State &state, KeyClaimer &claimer) const
{
	LeaseSlot &lease = lease_of(world, claimer);
	KeyedJob lower[jobs];
	int const count = list_rows(world, claimer.walk, claimer.job, lower);
	KeyWalk walk = walk_in(world, claimer.walk);
	Turn const turn =
		!keeps(KeyGuard::lower_jobs_are_checked)
			? Turn::granted
			: check_turn(world.board(), world.pool(), lease, core::job_of(world.pool(), lease, world.id(claimer.job)),
						 world.id(claimer.job), walk, lower, count);
	char const *violation = nullptr;
	if (turn == Turn::granted)
	{
		if (!keeps(KeyGuard::a_walk_that_was_overtaken_raises_nothing))
			walk.version = key_in(world)->version;
		finish_walk(world.board(), world.pool(), walk);
		for (int job = 0; job < claimer.job; job++)
			if (has(claimer.before, job) && is_live(state.job[static_cast<std::size_t>(job)]))
				violation = "TOO-EARLY";
	}
	next_job(world, claimer);
	return violation;
}

void
Keys::turn_steps(Stepper<State> &stepper, int who) const
{
	auto const index = static_cast<std::size_t>(who);
	KeyClaimer const &me = stepper.state().claimer[index];
	bool const early = !keeps(KeyGuard::rows_are_read_when_the_key_is_owned);
	auto const read = [&](Step then) {
		step(stepper, {"claimer {w} reads the rows of the key", who}, [&, then](World &, State &next) {
			next.claimer[index].walk.rows = rows_of(next);
			next.claimer[index].step = then;
			return nullptr;
		});
	};
	if (me.step == Step::taken && early)
		read(Step::early);
	if (me.step == Step::begun)
		read(Step::read);
	if (me.step == Step::early || (me.step == Step::taken && !early))
		step(stepper, {"claimer {w} begins the turn of job {j}", who, me.job},
			 [&](World &world, State &next) { return begin(world, next, next.claimer[index]); });
	if (me.step == Step::read)
		step(stepper, {"claimer {w} checks the jobs before {j}", who, me.job},
			 [&](World &world, State &next) { return check(world, next, next.claimer[index]); });
	step(stepper, {"claimer {w} is cancelled", who}, [&](World &world, State &next) {
		LeaseSlot &lease = lease_of(world, next.claimer[index]);
		give_back(world.board(), world.pool(), world.table(), lease, lease.held);
		next.claimer[index] = KeyClaimer{};
		return nullptr;
	});
}

void
Keys::holder_steps(Stepper<State> &stepper, int who) const
{
	auto const index = static_cast<std::size_t>(who);
	KeyClaimer const &me = stepper.state().claimer[index];
	LeaseView const &lease = stepper.state().board.lease[me.slot];
	for (std::uint8_t job = 0; job < jobs && me.step == Step::have; job++)
		for (bool const nacks : {false, true})
			if (has(lease.held, job) && !(nacks && stepper.state().job[job].failed))
				step(stepper, {nacks ? "claimer {w} nacks job {j}" : "claimer {w} acks job {j}", who, job},
					 [&, job, nacks](World &, State &next) {
						 next.claimer[index].step = Step::asked;
						 next.claimer[index].job = job;
						 next.claimer[index].nacks = nacks;
						 return nullptr;
					 });
	if (me.step == Step::asked)
		step(stepper, {"claimer {w}'s outcome is visible", who}, [&](World &, State &next) {
			KeyClaimer &claimer = next.claimer[index];
			(claimer.nacks ? next.job[claimer.job].failed : next.job[claimer.job].acked) = true;
			claimer.step = Step::committed;
			return nullptr;
		});
	if (me.step == Step::committed)
		step(stepper, {"claimer {w}'s COMMIT callback", who}, [&](World &world, State &next) {
			KeyClaimer &claimer = next.claimer[index];
			LeaseSlot &slot = lease_of(world, claimer);
			bool const last = slot.held.size() == 1;
			end(world.board(), world.pool(), world.table(), slot, world.numbers(slot, bit(claimer.job)),
				claimer.nacks ? Ending::failed : Ending::succeeded, wall_always);
			if (!keeps(KeyGuard::the_end_puts_the_key_on_the_list))
				world.board().keys.pop(world.pool());
			claimer.step = Step::have;
			claimer.job = 0;
			claimer.nacks = false;
			if (last)
				claimer = KeyClaimer{};
			return nullptr;
		});
	if (me.step == Step::have)
		step(stepper, {"claimer {w} releases", who}, [&](World &world, State &next) {
			LeaseSlot &slot = lease_of(world, next.claimer[index]);
			give_back(world.board(), world.pool(), world.table(), slot, slot.held);
			next.claimer[index] = KeyClaimer{};
			return nullptr;
		});
}

void
Keys::claimer_steps(Stepper<State> &stepper, int who) const
{
	auto const index = static_cast<std::size_t>(who);
	KeyClaimer const &me = stepper.state().claimer[index];
	if (me.step >= Step::have)
		return holder_steps(stepper, who);
	if (me.step != Step::idle)
		return turn_steps(stepper, who);
	for (int count = 1; count <= jobs; count++)
	{
		int ready = 0;
		for (JobState const job : stepper.state().board.job)
			ready += is_ready(job);
		if (ready < count)
			break;
		step(stepper, {"claimer {w} takes {j} jobs", who, count}, [&, count](World &world, State &next) {
			KeyClaimer &claimer = next.claimer[index];
			for (claimer.token = 1;; claimer.token++)
			{
				bool used = false;
				for (LeaseView const &lease : next.board.lease)
					used |= lease.token == claimer.token;
				if (!used)
					break;
			}
			LeaseSlot &lease = world.grant(claimer.token);
			claimer.slot = static_cast<std::uint8_t>(world.table().index_of(lease));
			Refusal refusal = Refusal::none;
			take(world.board(), world.pool(), lease, count, refusal);
			claimer.step = Step::taken;
			claimer.job = static_cast<std::uint8_t>(held_from(world, claimer, 0));
			return nullptr;
		});
	}
}

} // namespace onceq::explorer::keys
