// SPDX-License-Identifier: PostgreSQL
#include "segment.hpp"

namespace onceq::explorer {

namespace {

// Job 0 is the last of segment 0, job 1 the first of segment 1.
constexpr JobId first_id = ids_per_segment - 1;

enum class Phase : std::uint8_t
{
	idle,
	reserved,
	inserted,
	visible,
	have,
	ended,
	over,
	marked,
	dropped
};

struct SegmentState
{
	BoardView board;
	Phase producer;
	std::uint8_t job; // of the producer
	bool visible;     // the row of job 0
	bool finished;    // or dead
	bool dead;
	Phase claimer;
	std::uint8_t claimed;
	Phase purger;
	Phase redriver; // idle, have: the lock; reserved: the job, inserted, visible
	Phase worker;
};

class SegmentModel
{
  public:
	using State = SegmentState;

	explicit SegmentModel(SegmentOptions const &options) : options_(options) {}

	World
	empty_world() const
	{
		return World(first_id, 6);
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
	keeps(SegmentGuard guard) const
	{
		return (static_cast<std::uint32_t>(options_.removed) & static_cast<std::uint32_t>(guard)) == 0;
	}

	bool is_drained(World const &world) const;
	void producer_steps(Stepper<State> &stepper) const;
	void claimer_steps(Stepper<State> &stepper) const;
	void purger_steps(Stepper<State> &stepper) const;
	void worker_steps(Stepper<State> &stepper) const;
	void redriver_steps(Stepper<State> &stepper) const;

	SegmentOptions options_;
};

SegmentState
SegmentModel::initial() const
{
	World world = empty_world();
	finish_building(world.board(), first_id, first_id + jobs_max, 2, Wall{1});
	State state{};
	state.board = world.view();
	return state;
}

void
SegmentModel::steps(Stepper<State> stepper) const
{
	producer_steps(stepper);
	claimer_steps(stepper);
	purger_steps(stepper);
	worker_steps(stepper);
	redriver_steps(stepper);
}

char const *
insert(SegmentState const &state, int job)
{
	return job == 0 && state.worker == Phase::dropped ? "NO-TABLE" : nullptr;
}

void
SegmentModel::producer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.producer == Phase::idle)
		stepper.step({"producer reserves an id"}, [](World &world, State &next) {
			Reservation const got = reserve(world.board(), world.pool(), 1);
			next.producer = Phase::reserved;
			next.job = static_cast<std::uint8_t>(world.job_of(got.first));
			return nullptr;
		});
	if (state.producer == Phase::reserved)
		stepper.step({"producer inserts the row of job {j}", 0, state.job}, [](World &, State &next) {
			next.producer = Phase::inserted;
			return insert(next, next.job);
		});
	if (state.producer == Phase::reserved || state.producer == Phase::inserted)
		stepper.step({"producer aborts"}, [](World &world, State &next) {
			abandon(world.board(), world.pool(), world.id(next.job), world.id(next.job));
			next.producer = Phase::over;
			return nullptr;
		});
	if (state.producer == Phase::inserted)
		stepper.step({"job {j} is visible", 0, state.job}, [](World &, State &next) {
			next.producer = Phase::visible;
			next.visible = next.job == 0;
			return nullptr;
		});
	if (state.producer == Phase::visible)
		stepper.step({"producer's COMMIT callback"}, [](World &world, State &next) {
			publish(world.board(), world.pool(), world.id(next.job), world.id(next.job), 0, wall_always);
			next.producer = Phase::over;
			return nullptr;
		});
}

void
SegmentModel::claimer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (state.claimer == Phase::idle && (is_ready(state.board.job[0]) || is_ready(state.board.job[1])))
		stepper.step({"claimer takes a job, reads its row"}, [](World &world, State &next) {
			LeaseSlot &lease = world.grant(1);
			Refusal refusal = Refusal::none;
			take(world.board(), world.pool(), lease, 1, refusal);
			settle(world.board(), world.pool(), lease, Findings{{}, {}, {}, wall_never});
			hold(world.board(), lease, Monotonic{1});
			next.claimer = Phase::have;
			next.claimed = static_cast<std::uint8_t>(world.job_of(run_at(world.pool(), lease, 0).first));
			return insert(next, next.claimed);
		});
	if (state.claimer == Phase::have)
	{
		stepper.step({"claimer releases it"}, [](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			give_back(world.board(), world.pool(), world.table(), lease, lease.held);
			next.claimer = Phase::idle;
			next.claimed = 0;
			return nullptr;
		});
		stepper.step({"claimer inserts an outcome, which is visible"}, [](World &world, State &next) {
			pin(world.slot(0), world.token(0, 1), world.slot(0).held);
			next.claimer = Phase::ended;
			next.finished |= next.claimed == 0;
			return insert(next, next.claimed);
		});
		if (state.claimed == 0)
			stepper.step(
				{"claimer rejects the job, which is dead"},
				[](World &world, State &next) {
					pin(world.slot(0), world.token(0, 1), world.slot(0).held);
					next.claimer = Phase::ended;
					next.finished = next.dead = true;
					return insert(next, 0);
				},
				false);
	}
	if (state.claimer == Phase::ended)
		stepper.step({"claimer's COMMIT callback"}, [](World &world, State &next) {
			LeaseSlot &lease = world.slot(0);
			end(world.board(), world.pool(), world.table(), lease, lease.held, Ending::succeeded, wall_always);
			next.claimer = Phase::idle;
			next.claimed = 0;
			return nullptr;
		});
}

// Of job 0 only, by id.
void
SegmentModel::purger_steps(Stepper<State> &stepper) const
{
	constexpr Seized seized{first_id, first_id, ready_at(0)};
	State const &state = stepper.state();
	if (state.purger == Phase::idle && state.board.job[0] == ready_at(0))
		stepper.step(
			{"purge takes job {j}"},
			[](World &world, State &next) {
				Refusal refusal = Refusal::none;
				seize_next(world.board(), world.pool(), ready_at(0), first_id, first_id, refusal);
				next.purger = Phase::reserved;
				return nullptr;
			},
			false);
	if (state.purger == Phase::reserved)
	{
		stepper.step({"purge inserts an outcome, which is visible"}, [](World &, State &next) {
			next.purger = Phase::visible;
			next.finished = true;
			return insert(next, 0);
		});
		stepper.step({"purge aborts"}, [=](World &world, State &next) {
			restore_seized(world.board(), world.pool(), seized);
			next.purger = Phase::idle;
			return nullptr;
		});
	}
	if (state.purger == Phase::visible)
		stepper.step({"purge's COMMIT callback"}, [=](World &world, State &next) {
			finish_seized(world.board(), world.pool(), seized);
			next.purger = Phase::idle;
			return nullptr;
		});
}

// Brings the dead job back; whatever becomes of it, the job is never lost.
void
SegmentModel::redriver_steps(Stepper<State> &stepper) const
{
	constexpr Seized seized{first_id, first_id, JobState::none};
	State const &state = stepper.state();
	bool const free = state.worker != Phase::marked || !keeps(SegmentGuard::drained_under_the_lock) ||
					  !keeps(SegmentGuard::redrive_takes_the_lock_first);
	if (state.redriver == Phase::idle && state.dead && free && state.worker != Phase::dropped)
		stepper.step(
			{"redriver gets the lock"},
			[](World &, State &next) {
				next.redriver = Phase::have;
				return nullptr;
			},
			false);
	if (state.redriver == Phase::have)
	{
		stepper.step({"redriver seizes the job, looks, and inserts an outcome"}, [](World &world, State &next) {
			Seized got{};
			bool const mine = seize_one(world.board(), world.pool(), first_id, got);
			if (mine && !next.dead)
				settle_seized(world.board(), world.pool(), first_id, false, false, 0, wall_always);
			next.redriver = mine && next.dead ? Phase::inserted : Phase::idle;
			return insert(next, 0);
		});
		stepper.step({"redriver aborts"}, [](World &, State &next) {
			next.redriver = Phase::idle;
			return nullptr;
		});
	}
	if (state.redriver == Phase::inserted)
	{
		stepper.step({"redriver's outcome is visible, the segment not flagged"}, [](World &, State &next) {
			next.redriver = Phase::visible;
			next.finished = next.dead = false;
			if (next.worker == Phase::over)
				next.worker = Phase::idle;
			return nullptr;
		});
		stepper.step({"redriver aborts, and restores the job"}, [=](World &world, State &next) {
			restore_seized(world.board(), world.pool(), seized);
			next.redriver = Phase::idle;
			return nullptr;
		});
	}
	if (state.redriver == Phase::visible)
		stepper.step({"redriver's COMMIT callback"}, [](World &world, State &next) {
			settle_seized(world.board(), world.pool(), first_id, true, true, 0, wall_always);
			next.redriver = Phase::idle;
			return nullptr;
		});
}

bool
SegmentModel::is_drained(World const &world) const
{
	bool const sealed = is_sealed(world.board(), 0) || !keeps(SegmentGuard::only_sealed_segments_are_drained);
	JobState const job = world.state(0);
	bool const passed_over = (job == JobState::reserved && !keeps(SegmentGuard::reserved_ids_are_live)) ||
							 (job == JobState::leased && !keeps(SegmentGuard::leased_ids_are_live)) ||
							 (job == JobState::seized && !keeps(SegmentGuard::seized_ids_are_live));
	return sealed && (passed_over || world.board().map.is_empty(world.pool(), 0));
}

void
SegmentModel::worker_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	if (!is_sealed(stepper.world().board(), 0))
		stepper.step({"worker seals segment 0"}, [](World &world, State &) {
			seal(world.board(), 0);
			return nullptr;
		});
	// The lock on the tables is free when no transaction that wrote to them is open.
	bool const locked = (state.producer == Phase::inserted && state.job == 0) ||
						(state.producer == Phase::visible && state.job == 0) ||
						(state.claimer == Phase::ended && state.claimed == 0) || state.purger == Phase::visible ||
						(state.redriver != Phase::idle && keeps(SegmentGuard::redrive_takes_the_lock_first)) ||
						state.redriver == Phase::inserted || state.redriver == Phase::visible;
	bool const may_flag = !locked || !keeps(SegmentGuard::drained_under_the_lock);
	if (state.worker == Phase::idle && may_flag && is_drained(stepper.world()))
		stepper.step({"worker gets the lock, finds segment 0 drained, flags it"}, [](World &, State &next) {
			next.worker = Phase::marked;
			return nullptr;
		});
	if (state.worker == Phase::marked)
		stepper.step({"worker's COMMIT callback: the board forgets segment 0"}, [](World &world, State &next) {
			next.worker = Phase::over;
			if (!world.board().map.is_empty(world.pool(), 0))
				return "FORGOTTEN-ALIVE";
			world.board().map.forget(world.pool(), 0);
			return static_cast<char const *>(nullptr);
		});
	// Retention has passed.
	if (state.worker == Phase::over && !locked && is_drained(stepper.world()))
		stepper.step({"worker gets the lock, tests again, drops segment 0"}, [](World &, State &next) {
			next.worker = Phase::dropped;
			next.dead = false;
			return next.visible && !next.finished ? "LOST" : nullptr;
		});
}

char const *
SegmentModel::broken(State const &) const
{
	return nullptr;
}

std::vector<Goal<SegmentState>>
SegmentModel::goals() const
{
	Goal<State> const dropped{"NEVER-DROPPED", [](State const &state) { return state.worker == Phase::dropped; }};
	Goal<State> const delivered{
		"LOST", [](State const &state) { return !state.visible || state.finished || is_ready(state.board.job[0]); }};
	return {dropped, delivered};
}

} // namespace

Result
explore(SegmentOptions const &options)
{
	SegmentModel const model(options);
	return Explorer<SegmentModel>(model).run();
}

} // namespace onceq::explorer
