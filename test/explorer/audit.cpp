// SPDX-License-Identifier: PostgreSQL
#include "audit.hpp"

namespace onceq::explorer {

namespace {

constexpr JobId first_id = ids_per_page - 1;

enum class Phase : std::uint8_t
{
	idle,
	reserved,
	visible,
	taken,
	have,
	ended,
	over,
	seized,
	read
};

struct AuditState
{
	BoardView board;
	Phase producer;
	bool visible;
	bool finished;
	Phase claimer;
	Phase auditor;
	JobState origin;
	bool live;   // what the auditor read
	bool forgot; // the fault has happened
};

class AuditModel
{
  public:
	using State = AuditState;

	explicit AuditModel(AuditOptions const &options) : options_(options) {}

	World
	empty_world() const
	{
		return World(first_id);
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
	keeps(AuditGuard guard) const
	{
		return (static_cast<std::uint32_t>(options_.removed) & static_cast<std::uint32_t>(guard)) == 0;
	}

	void producer_steps(Stepper<State> &stepper) const;
	void claimer_steps(Stepper<State> &stepper) const;
	void auditor_steps(Stepper<State> &stepper) const;
	bool seize(World &world, State &state) const;
	char const *repair(World &world, State &state) const;

	AuditOptions options_;
};

AuditState
AuditModel::initial() const
{
	World world = empty_world();
	finish_building(world.board(), first_id, first_id + 1, 2, Wall{1});
	State state{};
	state.board = world.view();
	return state;
}

void
AuditModel::steps(Stepper<State> stepper) const
{
	producer_steps(stepper);
	claimer_steps(stepper);
	auditor_steps(stepper);
	if (stepper.state().board.job[0] == ready_at(0) && !stepper.state().forgot)
		stepper.step(
			{"a fault makes the board forget the ready job"},
			[](World &world, State &next) {
				world.board().map.move(world.pool(), first_id, first_id, ready_at(0), JobState::none);
				next.forgot = true;
				return nullptr;
			},
			false);
}

void
AuditModel::producer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.producer == Phase::idle)
		stepper.step({"producer reserves, inserts its row"}, [](World &world, State &next) {
			reserve(world.board(), world.pool(), 1);
			next.producer = Phase::reserved;
			return nullptr;
		});
	if (state.producer == Phase::reserved)
	{
		stepper.step({"producer aborts"}, [](World &world, State &next) {
			abandon(world.board(), world.pool(), first_id, first_id);
			next.producer = Phase::over;
			return nullptr;
		});
		stepper.step({"the row is visible"}, [](World &, State &next) {
			next.producer = Phase::visible;
			next.visible = true;
			return nullptr;
		});
	}
	if (state.producer == Phase::visible)
		stepper.step({"producer's COMMIT callback"}, [](World &world, State &next) {
			publish(world.board(), world.pool(), first_id, first_id, 0, wall_always);
			next.producer = Phase::over;
			return nullptr;
		});
}

void
AuditModel::claimer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.claimer == Phase::idle && is_ready(state.board.job[0]))
		stepper.step({"claimer takes the job"}, [](World &world, State &next) {
			LeaseSlot &lease = world.grant(1);
			Refusal refusal = Refusal::none;
			take(world.board(), world.pool(), lease, 1, refusal);
			next.claimer = Phase::taken;
			return next.finished ? "REVIVED" : nullptr;
		});
	if (state.claimer == Phase::taken)
		stepper.step({"claimer looks for the row, hands it over or voids the job"}, [](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			Findings findings{{}, {}, {}, wall_never};
			if (!next.visible)
				findings.absent = lease.held;
			settle(world.board(), world.pool(), lease, findings);
			next.claimer = next.visible ? Phase::have : Phase::idle;
			if (next.visible)
				hold(world.board(), lease, Monotonic{1});
			else
				world.close(lease);
			return nullptr;
		});
	if (state.claimer == Phase::have)
	{
		stepper.step({"claimer releases the job"}, [](World &world, State &next) {
			give_back(world.board(), world.pool(), world.table(), world.slot(0), world.slot(0).held);
			next.claimer = Phase::idle;
			return nullptr;
		});
		stepper.step({"claimer acks: visible"}, [](World &world, State &next) {
			pin(world.slot(0), world.token(0, 1), world.slot(0).held);
			next.claimer = Phase::ended;
			next.finished = true;
			return nullptr;
		});
	}
	if (state.claimer == Phase::ended)
		stepper.step({"claimer's COMMIT callback"}, [](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			end(world.board(), world.pool(), world.table(), lease, lease.held, Ending::succeeded, wall_always);
			next.claimer = Phase::idle;
			return nullptr;
		});
}

// Without the guard jobs that others own are seized, too.
bool
AuditModel::seize(World &world, State &state) const
{
	Seized seized{};
	JobState const is = world.state(0);
	bool owned = false;
	if (keeps(AuditGuard::owned_jobs_are_passed_over))
		owned = !seize_one(world.board(), world.pool(), first_id, seized);
	else
		world.board().map.move(world.pool(), first_id, first_id, is, JobState::seized);
	state.origin = is;
	return !owned;
}

char const *
AuditModel::repair(World &world, State &state) const
{
	bool const live = state.live;
	JobState const was = state.origin;
	state.auditor = Phase::idle;
	state.origin = JobState::none;
	state.live = false;
	if (keeps(AuditGuard::seizes_before_it_reads))
	{
		settle_seized(world.board(), world.pool(), first_id, live, false, 0, wall_always);
		return nullptr;
	}
	// It read first, and so goes by what was true then, if what it passed over is not owned now.
	if (!seize(world, state))
		return nullptr;
	settle_seized(world.board(), world.pool(), first_id, live, false, 0, wall_always);
	state.origin = JobState::none;
	return !live && is_ready(was) ? "LOST" : nullptr;
}

void
AuditModel::auditor_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	bool const seizes = keeps(AuditGuard::seizes_before_it_reads);
	JobState const job = state.board.job[0];
	bool const passes = keeps(AuditGuard::owned_jobs_are_passed_over) && keeps_page(job);
	// Only ids that were given out can look different from what the tables say.
	if (state.auditor == Phase::idle && seizes && !passes && job != JobState::seized && state.board.next > 0)
		stepper.step({"auditor seizes the job"}, [&](World &world, State &next) {
			if (seize(world, next))
				next.auditor = Phase::seized;
			return nullptr;
		});
	if ((state.auditor == Phase::seized && seizes) || (state.auditor == Phase::idle && !seizes && state.board.next > 0))
		stepper.step({"auditor reads the tables"}, [](World &, State &next) {
			next.auditor = Phase::read;
			next.live = next.visible && !next.finished;
			return nullptr;
		});
	if (state.auditor == Phase::read)
		stepper.step({"auditor sets what it read"}, [&](World &world, State &next) { return repair(world, next); });
	if (seizes && (state.auditor == Phase::seized || state.auditor == Phase::read))
		stepper.step({"auditor aborts"}, [&](World &world, State &next) {
			if (keeps(AuditGuard::restores_on_abort))
				restore_seized(world.board(), world.pool(), Seized{first_id, first_id, next.origin});
			next.auditor = Phase::idle;
			next.origin = JobState::none;
			next.live = false;
			return nullptr;
		});
}

char const *
AuditModel::broken(State const &state) const
{
	bool const held = state.board.lease[0].held != 0;
	bool const leased = state.board.job[0] == JobState::leased;
	return held == leased ? nullptr : "TWO-HOLDERS";
}

std::vector<Goal<AuditState>>
AuditModel::goals() const
{
	Goal<State> const delivered{
		"LOST", [](State const &state) { return !state.visible || state.finished || is_ready(state.board.job[0]); }};
	Goal<State> const drained{"STUCK", [](State const &state) {
								  bool const unfinished = state.visible && !state.finished;
								  return unfinished || state.board.job[0] == JobState::none;
							  }};
	return {delivered, drained};
}

} // namespace

Result
explore(AuditOptions const &options)
{
	AuditModel const model(options);
	return Explorer<AuditModel>(model).run();
}

} // namespace onceq::explorer
