// SPDX-License-Identifier: PostgreSQL
// Somebody else than its holder cancels a running job: asks, and ends it as the holder would.
#include "delivery.hpp"

namespace onceq::explorer {

void
Delivery::canceller_steps(Stepper<State> &stepper) const
{
	Canceller const &me = stepper.state().canceller;
	for (int index = 0; index < slots && me.step == Step::idle; index++)
		for (int job = 0; job < options_.jobs; job++)
		{
			LeaseView const &lease = stepper.state().board.lease[static_cast<std::size_t>(index)];
			bool const held = lease.state == LeaseState::held || lease.state == LeaseState::lost;
			if (lease.token == 0 || !held || !has(lease.held, job) || has(lease.pinned, job))
				continue;
			stepper.step(
				{"canceller asks for job {j}, inserts an outcome", 0, job},
				[&](World &, State &next) {
					next.canceller = {Step::asked, static_cast<std::uint8_t>(job), static_cast<std::uint8_t>(index),
									  lease.token, lease.attempt[static_cast<std::size_t>(job)]};
					return nullptr;
				},
				false);
		}
	auto const change = [&](char const *text, Step from, Step to) {
		if (me.step == from)
			stepper.step({text}, [to](World &, State &next) {
				next.canceller.step = to;
				return nullptr;
			});
	};
	if (me.step == Step::asked)
		stepper.step({"canceller is in PRE_COMMIT"}, [&](World &world, State &next) {
			cancel_pre_commit(world, next);
			return nullptr;
		});
	if (me.step == Step::asked || me.step == Step::pinned)
		stepper.step({"canceller aborts"}, [&](World &world, State &next) {
			abort_cancel(world, next);
			return nullptr;
		});
	change("canceller's commit is durable", Step::pinned, Step::durable);
	if (me.step == Step::durable)
		stepper.step({"canceller's outcome is visible"}, [&](World &, State &next) {
			next.canceller.step = Step::visible;
			return finish(next.job[me.job], Fate::cancelled, me.attempt);
		});
	if (me.step == Step::visible)
		stepper.step({"canceller's COMMIT callback"}, [&](World &world, State &next) {
			after_cancel(world, next);
			next.canceller = Canceller{};
			return nullptr;
		});
}

void
Delivery::cancel_pre_commit(World &world, State &state) const
{
	Canceller &me = state.canceller;
	LeaseSlot &lease = world.slot(me.slot);
	Token const token = world.token(me.slot, me.token);
	JobSet const job = world.numbers(lease, bit(me.job));
	bool const allowed = owns(lease, token) && !job.empty() && core::may_end(lease, token, job);
	if (!allowed && keeps(Guard::cancel_checks_again_at_pre_commit))
	{
		me = Canceller{};
		return;
	}
	if (allowed && keeps(Guard::cancel_pins))
	{
		if (keeps(Guard::cancelled_is_known_from_pre_commit_on))
			pin_cancelled(lease, token, job);
		else
			pin(lease, token, job);
	}
	me.step = Step::pinned;
}

void
Delivery::abort_cancel(World &world, State &state) const
{
	Canceller const &me = state.canceller;
	LeaseSlot &lease = world.slot(me.slot);
	if (me.step == Step::pinned && keeps(Guard::cancel_unpins_on_abort))
		unpin_cancelled(lease, world.token(me.slot, me.token), world.numbers(lease, bit(me.job)), Monotonic{0});
	state.canceller = Canceller{};
}

void
Delivery::after_cancel(World &world, State &state) const
{
	Canceller const &me = state.canceller;
	LeaseSlot &lease = world.slot(me.slot);
	JobSet const job = world.numbers(lease, bit(me.job));
	if (!owns(lease, world.token(me.slot, me.token)) || job.empty() || !lease.held.includes(job))
		return;
	if (!keeps(Guard::cancelled_is_known_from_pre_commit_on))
		lease.cancelled |= job;
	end(world.board(), world.pool(), world.table(), lease, job, Ending::cancelled, wall_always);
}

} // namespace onceq::explorer
