// SPDX-License-Identifier: PostgreSQL
// Who promotes jobs that are due, who takes them away while they wait, and the crash.
#include "due.hpp"

#include <algorithm>

namespace onceq::explorer {

namespace {

constexpr Time never = 255;
constexpr Seized seized{due_job, due_job, JobState::waiting};

} // namespace

// ---- the purge of waiting jobs

void
DueModel::purger_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.purger == DuePhase::idle && state.board.job[0] == JobState::waiting)
		stepper.step(
			{"purge takes the waiting job, inserts an outcome"},
			[](World &world, State &next) {
				Refusal refusal = Refusal::none;
				seize_next(world.board(), world.pool(), JobState::waiting, due_job, due_job, refusal);
				next.purger = DuePhase::inserted;
				return nullptr;
			},
			false);
	if (state.purger == DuePhase::inserted)
	{
		stepper.step({"purge's outcome is visible"}, [](World &, State &next) {
			next.purger = DuePhase::visible;
			next.finished = true;
			return nullptr;
		});
		stepper.step({"purge aborts"}, [&](World &world, State &next) {
			Wall const promoted = world.board().promoted_to;
			Wall const promoting = world.board().promoting_to;
			restore_seized(world.board(), world.pool(), seized);
			if (!keeps(DueGuard::restored_are_looked_for_again))
				world.board().promoted_to = promoted;
			if (!keeps(DueGuard::restored_are_looked_for_again) || !keeps(DueGuard::only_the_last_look_ends_it))
				world.board().promoting_to = promoting;
			next.purger = DuePhase::idle;
			return nullptr;
		});
	}
	if (state.purger == DuePhase::visible)
		stepper.step({"purge's COMMIT callback"}, [](World &world, State &next) {
			finish_seized(world.board(), world.pool(), seized);
			next.purger = DuePhase::idle;
			return nullptr;
		});
}

// ---- who promotes: the worker, or any session that does its work

void
DueModel::begin_look(Stepper<State> &stepper, int who) const
{
	State const &state = stepper.state();
	auto const index = static_cast<std::size_t>(who);
	BoardView const &board = state.board;
	bool const set_back = board.watermark > state.clock;
	bool const failed = board.promoted_to < board.watermark && keeps(DueGuard::failed_looks_are_repeated);
	bool const wanted = board.earliest_due <= state.clock || set_back || failed;
	// Two looks under way never begin in the same microsecond; here the clock is coarser than that.
	if (Promoter const &other = state.promoter[1 - index]; other.look != Look::idle && other.to == state.clock)
		return;
	if (keeps(DueGuard::watermark_rises_before_the_read))
		stepper.step(
			{"session {w} raises the watermark to now", who},
			[&](World &world, State &next) {
				Wall const earliest = world.board().earliest_due;
				Wall const low = advance_watermark(world.board(), wall_of(next.clock));
				if (!keeps(DueGuard::earliest_is_reset_before_the_read))
					world.board().earliest_due = earliest;
				next.promoter[index] = {Look::advanced, time_of(low), next.clock, false, 0};
				return nullptr;
			},
			wanted);
	else
		stepper.step(
			{"session {w} reads, and has not raised the watermark yet", who},
			[&](World &, State &next) {
				Promoter &me = next.promoter[index];
				me = {Look::early_read, next.board.promoted_to, next.clock, false, never};
				for (Time const due : {run_at, retry_at})
					if (next.visible && (due == run_at || next.failed))
					{
						me.found |= me.from < due && due <= me.to;
						me.next = due > me.to ? std::min(me.next, due) : me.next;
					}
				return nullptr;
			},
			wanted);
}

void
DueModel::end_look(World &world, Promoter &me) const
{
	Board &board = world.board();
	if (keeps(DueGuard::earliest_is_reset_before_the_read))
		note_due(board, wall_of(me.next));
	else
		board.earliest_due = wall_of(me.next);
	if (keeps(DueGuard::only_the_last_look_ends_it))
		finish_promotion(board, wall_of(me.to));
	else
		board.promoted_to = std::min(wall_of(me.to), board.watermark);
	me = Promoter{};
}

void
DueModel::promoter_steps(Stepper<State> &stepper, int who) const
{
	auto const index = static_cast<std::size_t>(who);
	Promoter const &me = stepper.state().promoter[index];
	if (me.look == Look::idle)
		return begin_look(stepper, who);
	stepper.step(
		{"session {w} fails", who},
		[&](World &, State &next) {
			next.promoter[index] = Promoter{};
			return nullptr;
		},
		false);
	if (me.look == Look::early_read)
		stepper.step({"session {w} raises the watermark", who}, [&](World &world, State &next) {
			advance_watermark(world.board(), wall_of(next.promoter[index].to));
			next.promoter[index].look = Look::read;
			return nullptr;
		});
	if (me.look == Look::advanced)
		stepper.step({"session {w} reads what is due", who}, [&](World &, State &next) {
			Promoter &mine = next.promoter[index];
			mine.look = Look::read;
			mine.next = never;
			// Outdated due times are found, too.
			for (Time const due : {run_at, retry_at})
				if (next.visible && (due == run_at || next.failed))
				{
					mine.found |= mine.from < due && due <= mine.to;
					mine.next = due > mine.to ? std::min(mine.next, due) : mine.next;
				}
			return nullptr;
		});
	if (me.look == Look::read)
		stepper.step({"session {w} promotes what it read", who}, [&](World &world, State &next) {
			Promoter &mine = next.promoter[index];
			mine.look = Look::flipped;
			if (mine.found && keeps(DueGuard::promotes_only_from_waiting))
				promote(world.board(), world.pool(), due_job, 0);
			else if (mine.found)
				for (JobState const from : {JobState::waiting, JobState::leased, JobState::seized, JobState::none})
					world.board().map.move(world.pool(), due_job, due_job, from, ready_at(0));
			mine.found = false;
			return nullptr;
		});
	if (me.look == Look::flipped)
		stepper.step({"session {w} ends its look", who}, [&](World &world, State &next) {
			end_look(world, next.promoter[index]);
			return nullptr;
		});
}

// ---- the crash

void
DueModel::crash(Stepper<State> &stepper) const
{
	stepper.step(
		{"CRASH, and the board is built from the tables"},
		[](World &world, State &next) {
			JobId const ceiling = world.board().next_id;
			next.producer = next.producer == DuePhase::idle ? DuePhase::idle : DuePhase::over;
			next.compared = next.watermark = 0;
			next.early = next.acks = false;
			next.claimer = next.purger = DuePhase::idle;
			next.promoter = {};
			next.crashes++;
			world.begin_building();
			bool const due = next.due() <= next.clock;
			if (next.visible && !next.finished)
				place(world.board(), world.pool(), due_job, due_job, due ? ready_at(0) : JobState::waiting,
					  next.failed);
			if (next.visible && !next.finished && !due)
				note_due(world.board(), wall_of(next.due()));
			finish_building(world.board(), ceiling, due_job + 1, 2, wall_of(next.clock));
			return nullptr;
		},
		false);
}

} // namespace onceq::explorer
