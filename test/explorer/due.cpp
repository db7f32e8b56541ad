// SPDX-License-Identifier: PostgreSQL
// The clock, the producer and the claimer of a job that is due later.
#include "due.hpp"

#include <algorithm>

namespace onceq::explorer {

DueState
DueModel::initial() const
{
	World world = empty_world();
	finish_building(world.board(), due_job, due_job + 1, 2, wall_of(start_of_time));
	State state{};
	state.board = world.view();
	state.clock = state.latest = start_of_time;
	return state;
}

void
DueModel::steps(Stepper<State> stepper) const
{
	clock_steps(stepper);
	producer_steps(stepper);
	claimer_steps(stepper);
	if (options_.purge)
		purger_steps(stepper);
	for (int who = 0; who < options_.sessions; who++)
		promoter_steps(stepper, who);
	if (stepper.state().crashes < options_.crashes)
		crash(stepper);
}

void
DueModel::clock_steps(Stepper<State> &stepper) const
{
	if (stepper.state().clock < end_of_time)
		stepper.step({"the clock ticks"}, [](World &, State &next) {
			next.clock++;
			next.latest = std::max(next.latest, next.clock);
			return nullptr;
		});
	if (options_.clock_back && !stepper.state().set_back && stepper.state().clock > start_of_time)
		stepper.step(
			{"the clock is set back"},
			[](World &, State &next) {
				next.clock--;
				next.set_back = true;
				return nullptr;
			},
			false);
}

// ---- the producer

// The COMMIT callback, and what it is without one of the guards.
void
DueModel::publish_at(World &world, Time due) const
{
	Board &board = world.board();
	bool const compares = keeps(DueGuard::callback_compares_with_the_watermark);
	bool const notes = keeps(DueGuard::commit_notes_the_due_time);
	if (compares && notes)
		return publish(board, world.pool(), due_job, due_job, 0, wall_of(due));
	if (compares && wall_of(due) <= board.watermark)
		return publish(board, world.pool(), due_job, due_job, 0, wall_always);
	board.map.move(world.pool(), due_job, due_job, JobState::reserved, JobState::waiting);
	if (notes)
		note_due(board, wall_of(due));
}

void
DueModel::producer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.producer == DuePhase::idle)
		stepper.step({"producer reserves, inserts a row due at 3"}, [](World &world, State &next) {
			reserve(world.board(), world.pool(), 1);
			next.producer = DuePhase::inserted;
			return nullptr;
		});
	if (state.producer == DuePhase::inserted)
		stepper.step({"the row is visible"}, [](World &, State &next) {
			next.producer = DuePhase::visible;
			next.visible = true;
			return nullptr;
		});
	bool const at_once = keeps(DueGuard::compares_in_the_same_hold);
	if (state.producer == DuePhase::visible && at_once)
		stepper.step({"producer's COMMIT callback"}, [&](World &world, State &next) {
			publish_at(world, run_at);
			next.producer = DuePhase::over;
			return nullptr;
		});
	if (state.producer == DuePhase::visible && !at_once)
		stepper.step({"producer's COMMIT callback reads the watermark"}, [](World &, State &next) {
			next.producer = DuePhase::compared;
			next.compared = next.board.watermark;
			return nullptr;
		});
	if (state.producer == DuePhase::compared)
		stepper.step({"producer's COMMIT callback goes by it"}, [](World &world, State &next) {
			bool const ready = run_at <= next.compared;
			world.board().map.move(world.pool(), due_job, due_job, JobState::reserved,
								   ready ? ready_at(0) : JobState::waiting);
			if (!ready)
				note_due(world.board(), wall_of(run_at));
			next.producer = DuePhase::over;
			next.compared = 0;
			return nullptr;
		});
}

// ---- the claimer

void
DueModel::claimer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.claimer == DuePhase::idle && is_ready(state.board.job[0]))
		stepper.step({"claimer takes the job"}, [](World &world, State &next) {
			LeaseSlot &lease = world.grant(1);
			Refusal refusal = Refusal::none;
			take(world.board(), world.pool(), lease, 1, refusal);
			next.claimer = DuePhase::taken;
			next.watermark = time_of(world.board().watermark);
			return next.finished ? "REVIVED" : nullptr;
		});
	if (state.claimer == DuePhase::taken)
		stepper.step({"claimer looks for the row"}, [&](World &, State &next) {
			next.claimer = DuePhase::looked;
			next.early = next.due() > next.watermark && keeps(DueGuard::claim_checks_the_due_time);
			next.watermark = 0;
			return nullptr;
		});
	if (state.claimer == DuePhase::looked)
		stepper.step({"claimer settles: hands the row over, or sends the job back to wait"},
					 [&](World &world, State &next) { return settle_claim(world, next); });
	if (state.claimer == DuePhase::taken || state.claimer == DuePhase::looked)
		stepper.step({"claimer is cancelled before its rows are returned"}, [](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			give_back(world.board(), world.pool(), world.table(), lease, lease.held);
			next.claimer = DuePhase::idle;
			next.watermark = 0;
			next.early = false;
			return nullptr;
		});
	holder_steps(stepper);
}

char const *
DueModel::settle_claim(World &world, State &state) const
{
	Board &board = world.board();
	LeaseSlot &lease = world.slot(0);
	bool const early = state.early;
	bool const compares = keeps(DueGuard::settle_compares_again);
	Findings findings{{}, {}, {}, wall_of(state.due())};
	if (early)
		findings.early = lease.held;
	Wall const watermark = board.watermark;
	if (!compares)
		board.watermark = wall_always; // so that it cannot see that the watermark rose
	settle(board, world.pool(), lease, findings);
	board.watermark = watermark;
	state.claimer = early ? DuePhase::idle : DuePhase::have;
	state.early = false;
	if (early)
	{
		world.close(lease);
		return nullptr;
	}
	hold(board, lease, Monotonic{1});
	return state.due() > state.latest ? "EARLY" : nullptr;
}

void
DueModel::holder_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	for (bool const acks : {true, false})
		if (state.claimer == DuePhase::have && (acks || !state.failed))
			stepper.step({acks ? "claimer acks: visible" : "claimer nacks, due again at 4: visible"},
						 [&](World &world, State &next) {
							 pin(world.slot(0), world.token(0, 1), world.slot(0).held);
							 next.claimer = DuePhase::ended;
							 next.acks = acks;
							 next.finished = acks;
							 next.failed |= !acks;
							 return nullptr;
						 });
	if (state.claimer == DuePhase::ended)
		stepper.step({"claimer's COMMIT callback"}, [&](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			Board &board = world.board();
			Wall const earliest = board.earliest_due;
			Wall const watermark = board.watermark;
			if (!keeps(DueGuard::callback_compares_with_the_watermark))
				board.watermark = wall_always;
			end(board, world.pool(), world.table(), lease, lease.held, next.acks ? Ending::succeeded : Ending::failed,
				wall_of(next.due()));
			board.watermark = watermark;
			if (!keeps(DueGuard::commit_notes_the_due_time))
				board.earliest_due = earliest;
			next.claimer = DuePhase::idle;
			next.acks = false;
			return nullptr;
		});
}

// ---- what must hold

char const *
DueModel::broken(State const &state) const
{
	bool const held = state.board.lease[0].held != 0;
	bool const leased = state.board.job[0] == JobState::leased;
	return held == leased ? nullptr : "TWO-HOLDERS";
}

std::vector<Goal<DueState>>
DueModel::goals() const
{
	Goal<State> const delivered{"WAITS-FOR-EVER", [](State const &state) {
									return !state.visible || state.finished || is_ready(state.board.job[0]);
								}};
	Goal<State> const drained{
		"STUCK", [](State const &state) { return !state.finished || state.board.job[0] == JobState::none; }};
	return {delivered, drained};
}

Result
explore(DueOptions const &options)
{
	DueModel const model(options);
	return Explorer<DueModel>(model).run();
}

} // namespace onceq::explorer
