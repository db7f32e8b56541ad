// SPDX-License-Identifier: PostgreSQL
#include "due.hpp"

#include <algorithm>

namespace onceq::explorer {

namespace {

constexpr JobId first_id = ids_per_page - 1;
constexpr Time start = 2;
constexpr Time run_at = 3;
constexpr Time retry_at = 4;
constexpr Time end_of_time = 4;
constexpr Time never = 255;
constexpr Seized seized{first_id, first_id, JobState::waiting};

enum class Phase : std::uint8_t { idle, inserted, visible, over, taken, looked, have, ended, compared };
enum class Look : std::uint8_t { idle, early_read, advanced, read, flipped };

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
	Phase producer;
	Time compared;     // the watermark that the producer read too early; only without the guard
	bool visible;      // the row
	bool finished;
	bool failed;       // once: due again at retry_at
	Phase claimer;
	Time watermark;    // when the claimer took the job
	bool early;
	bool acks;         // or fails the attempt
	Phase purger;
	std::array<Promoter, 2> promoter;
	Time clock;
	Time latest;       // it ever was
	bool set_back;
	std::uint8_t crashes;

	Time due() const { return failed ? retry_at : run_at; }
};

class DueModel
{
  public:
	using State = DueState;

	explicit DueModel(DueOptions const &options) : options_(options) {}

	World empty_world() const { return World(first_id); }
	void build(State const &state, World &world) const { world.build(state.board); }
	void canonicalise(State &) const {}
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

DueState
DueModel::initial() const
{
	World world = empty_world();
	finish_building(world.board(), first_id, first_id + 1, 2, wall_of(start));
	State state{};
	state.board = world.view();
	state.clock = state.latest = start;
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
	if (options_.clock_back && !stepper.state().set_back && stepper.state().clock > start)
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
		return publish(board, world.pool(), first_id, first_id, 0, wall_of(due));
	if (compares && wall_of(due) <= board.watermark)
		return publish(board, world.pool(), first_id, first_id, 0, wall_always);
	board.map.move(world.pool(), first_id, first_id, JobState::reserved, JobState::waiting);
	if (notes)
		note_due(board, wall_of(due));
}

void
DueModel::producer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.producer == Phase::idle)
		stepper.step({"producer reserves, inserts a row due at 3"}, [](World &world, State &next) {
			reserve(world.board(), world.pool(), 1);
			next.producer = Phase::inserted;
			return nullptr;
		});
	if (state.producer == Phase::inserted)
		stepper.step({"the row is visible"}, [](World &, State &next) {
			next.producer = Phase::visible;
			next.visible = true;
			return nullptr;
		});
	bool const at_once = keeps(DueGuard::compares_in_the_same_hold);
	if (state.producer == Phase::visible && at_once)
		stepper.step({"producer's COMMIT callback"}, [&](World &world, State &next) {
			publish_at(world, run_at);
			next.producer = Phase::over;
			return nullptr;
		});
	if (state.producer == Phase::visible && !at_once)
		stepper.step({"producer's COMMIT callback reads the watermark"}, [](World &, State &next) {
			next.producer = Phase::compared;
			next.compared = next.board.watermark;
			return nullptr;
		});
	if (state.producer == Phase::compared)
		stepper.step({"producer's COMMIT callback goes by it"}, [](World &world, State &next) {
			bool const ready = run_at <= next.compared;
			world.board().map.move(world.pool(), first_id, first_id, JobState::reserved,
								   ready ? ready_at(0) : JobState::waiting);
			if (!ready)
				note_due(world.board(), wall_of(run_at));
			next.producer = Phase::over;
			next.compared = 0;
			return nullptr;
		});
}

// ---- the claimer

void
DueModel::claimer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.claimer == Phase::idle && is_ready(state.board.job[0]))
		stepper.step({"claimer takes the job"}, [](World &world, State &next) {
			LeaseSlot &lease = world.grant(1);
			Refusal refusal = Refusal::none;
			take(world.board(), world.pool(), lease, 1, refusal);
			next.claimer = Phase::taken;
			next.watermark = time_of(world.board().watermark);
			return next.finished ? "REVIVED" : nullptr;
		});
	if (state.claimer == Phase::taken)
		stepper.step({"claimer looks for the row"}, [&](World &, State &next) {
			next.claimer = Phase::looked;
			next.early = next.due() > next.watermark && keeps(DueGuard::claim_checks_the_due_time);
			next.watermark = 0;
			return nullptr;
		});
	if (state.claimer == Phase::looked)
		stepper.step({"claimer settles: hands the row over, or sends the job back to wait"},
					 [&](World &world, State &next) { return settle_claim(world, next); });
	if (state.claimer == Phase::taken || state.claimer == Phase::looked)
		stepper.step({"claimer is cancelled before its rows are returned"}, [](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			give_back(world.board(), world.pool(), world.table(), lease, lease.held);
			next.claimer = Phase::idle;
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
	state.claimer = early ? Phase::idle : Phase::have;
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
		if (state.claimer == Phase::have && (acks || !state.failed))
			stepper.step({acks ? "claimer acks: visible" : "claimer nacks, due again at 4: visible"},
						 [&](World &world, State &next) {
							 pin(world.slot(0), world.token(0, 1), world.slot(0).held);
							 next.claimer = Phase::ended;
							 next.acks = acks;
							 next.finished = acks;
							 next.failed |= !acks;
							 return nullptr;
						 });
	if (state.claimer == Phase::ended)
		stepper.step({"claimer's COMMIT callback"}, [&](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			Board &board = world.board();
			Wall const earliest = board.earliest_due;
			Wall const watermark = board.watermark;
			if (!keeps(DueGuard::callback_compares_with_the_watermark))
				board.watermark = wall_always;
			end(board, world.pool(), world.table(), lease, lease.held,
				next.acks ? Ending::succeeded : Ending::failed, wall_of(next.due()));
			board.watermark = watermark;
			if (!keeps(DueGuard::commit_notes_the_due_time))
				board.earliest_due = earliest;
			next.claimer = Phase::idle;
			next.acks = false;
			return nullptr;
		});
}

// ---- the purge of waiting jobs

void
DueModel::purger_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.purger == Phase::idle && state.board.job[0] == JobState::waiting)
		stepper.step(
			{"purge takes the waiting job, inserts an outcome"},
			[](World &world, State &next) {
				Refusal refusal = Refusal::none;
				seize_next(world.board(), world.pool(), JobState::waiting, first_id, first_id, refusal);
				next.purger = Phase::inserted;
				return nullptr;
			},
			false);
	if (state.purger == Phase::inserted)
	{
		stepper.step({"purge's outcome is visible"}, [](World &, State &next) {
			next.purger = Phase::visible;
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
			next.purger = Phase::idle;
			return nullptr;
		});
	}
	if (state.purger == Phase::visible)
		stepper.step({"purge's COMMIT callback"}, [](World &world, State &next) {
			finish_seized(world.board(), world.pool(), seized);
			next.purger = Phase::idle;
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
				promote(world.board(), world.pool(), first_id, 0);
			else if (mine.found)
				for (JobState const from : {JobState::waiting, JobState::leased, JobState::seized, JobState::none})
					world.board().map.move(world.pool(), first_id, first_id, from, ready_at(0));
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
			next.producer = next.producer == Phase::idle ? Phase::idle : Phase::over;
			next.compared = next.watermark = 0;
			next.early = next.acks = false;
			next.claimer = next.purger = Phase::idle;
			next.promoter = {};
			next.crashes++;
			world.begin_building();
			bool const due = next.due() <= next.clock;
			if (next.visible && !next.finished)
				place(world.board(), world.pool(), first_id, first_id, due ? ready_at(0) : JobState::waiting,
					  next.failed);
			if (next.visible && !next.finished && !due)
				note_due(world.board(), wall_of(next.due()));
			finish_building(world.board(), ceiling, first_id + 1, 2, wall_of(next.clock));
			return nullptr;
		},
		false);
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
	Goal<State> const drained{"STUCK", [](State const &state) {
								  return !state.finished || state.board.job[0] == JobState::none;
							  }};
	return {delivered, drained};
}

} // namespace

Result
explore(DueOptions const &options)
{
	DueModel const model(options);
	return Explorer<DueModel>(model).run();
}

} // namespace onceq::explorer
