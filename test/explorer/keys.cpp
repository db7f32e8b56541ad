// SPDX-License-Identifier: PostgreSQL
#include "keys.hpp"

namespace onceq::explorer {

namespace keys {

KeysState
Keys::initial() const
{
	World world = empty_world();
	finish_building(world.board(), keys_first_id, keys_first_id + jobs, 2, Wall{1});
	State state{};
	state.board = world.view();
	return state;
}

void
Keys::build(State const &state, World &world) const
{
	world.build(state.board);
	Board &board = world.board();
	board.keys_are_in_doubt = state.key.in_doubt;
	if (!state.key.present)
		return;
	KeyPlace const place = board.keys.enter(world.pool(), key_hash, state.key.has_blocked);
	Key &key = board.keys.at(world.pool(), place);
	key.low = id_of(state.key.low);
	key.version = 100;
	key.running = state.key.running;
	if (state.key.to_look_at)
		board.keys.push(world.pool(), place);
	for (int index = 0; index < slots; index++)
		for (int job = 0; job < jobs; job++)
			if (LeaseSlot &lease = world.slot(index); has(state.keyed[static_cast<std::size_t>(index)], job))
			{
				if (lease.keys == no_frame)
					lease.keys = world.pool().take();
				world.pool().at<LeaseKeys>(lease.keys).place_plus_one[job_of(world.pool(), lease, world.id(job))] =
					static_cast<std::uint16_t>(place + 1);
			}
}

// ---- producers

void
Keys::producer_steps(Stepper<State> &stepper, int job) const
{
	auto const index = static_cast<std::size_t>(job);
	Phase const phase = stepper.state().job[index].phase;
	if (phase == Phase::none && stepper.state().board.next == job)
		step(stepper, {"producer {w} reserves its job", job}, [&](World &world, State &next) {
			reserve(world.board(), world.pool(), 1);
			next.job[index].phase = Phase::reserved;
			return nullptr;
		});
	if (phase == Phase::reserved)
	{
		step(stepper, {"producer {w} aborts", job}, [&](World &world, State &next) {
			abandon(world.board(), world.pool(), world.id(job), world.id(job));
			next.job[index].phase = Phase::aborted;
			return nullptr;
		});
		step(stepper, {"producer {w}'s job is visible", job}, [&](World &, State &next) {
			next.job[index].phase = Phase::visible;
			return nullptr;
		});
	}
	if (phase == Phase::visible)
		step(stepper, {"producer {w}'s COMMIT callback", job}, [&](World &world, State &next) {
			publish_keyed(world.board(), world.pool(), world.id(job), 0, wall_always, key_hash);
			next.job[index].phase = Phase::published;
			return nullptr;
		});
}

// ---- who is next

void
Keys::look(World &world, State &state) const
{
	KeyedJob rows[jobs];
	int const count = list_rows(world, state.looker.walk, jobs, rows);
	KeyLook look{walk_in(world, state.looker.walk), 1, true, false};
	int index = 0;
	LookStep step = look_at(world.board(), world.pool(), look, rows, count, index);
	while (step == LookStep::ask)
	{
		KeyedJob const &job = rows[index++];
		step = answer_look(world.board(), world.pool(), look, job, false);
	}
	finish_walk(world.board(), world.pool(), look.walk);
	state.looker = KeyLooker{};
}

void
Keys::looker_steps(Stepper<State> &stepper) const
{
	KeyLooker const &me = stepper.state().looker;
	if (!me.looks && stepper.state().key.to_look_at)
		step(stepper, {"somebody begins to look who is next"}, [&](World &world, State &next) {
			KeyLook look{};
			if (begin_look(world.board(), world.pool(), 1, look))
				next.looker = {true, false, view_of(look.walk, 0)};
			return nullptr;
		});
	if (me.looks && !me.has_read)
		step(stepper, {"the looker reads the rows of the key"}, [&](World &, State &next) {
			next.looker.walk.rows = rows_of(next);
			next.looker.has_read = true;
			return nullptr;
		});
	if (me.has_read)
		step(stepper, {"the looker looks"}, [&](World &world, State &next) {
			look(world, next);
			return nullptr;
		});
	if (me.looks)
		step(
			stepper, {"the looker fails"},
			[&](World &world, State &next) {
				if (keeps(KeyGuard::a_look_that_fails_is_repeated))
					doubt_key(world.board(), world.pool(), key_hash);
				next.looker = KeyLooker{};
				return nullptr;
			},
			false);
}

// ---- the crash

void
Keys::crash(World &world, State &state) const
{
	for (KeyClaimer &claimer : state.claimer)
		claimer = KeyClaimer{};
	state.looker = KeyLooker{};
	state.crashes++;
	world.begin_building();
	for (int number = 0; number < jobs; number++)
	{
		KeyedJobState &job = state.job[static_cast<std::size_t>(number)];
		bool const durable = job.phase == Phase::visible || job.phase == Phase::published;
		job.phase = durable ? Phase::published : Phase::aborted;
		if (durable && !job.acked)
			place(world.board(), world.pool(), world.id(number), world.id(number), ready_at(0), job.failed);
	}
	finish_building(world.board(), keys_first_id + jobs, keys_first_id + jobs, 2, Wall{1});
}

void
Keys::steps(Stepper<State> stepper) const
{
	for (int job = 0; job < jobs; job++)
		producer_steps(stepper, job);
	for (int who = 0; who < claimers; who++)
		claimer_steps(stepper, who);
	looker_steps(stepper);
	if (stepper.state().crashes < options_.crashes)
		step(
			stepper, {"CRASH, and the board is built from the tables"},
			[&](World &world, State &next) {
				crash(world, next);
				return nullptr;
			},
			false);
}

template <int number>
constexpr Goal<KeysState> finished{"STUCK", [](KeysState const &state) { return !is_live(state.job[number]); }};

std::vector<Goal<KeysState>>
Keys::goals() const
{
	return {finished<0>, finished<1>};
}

} // namespace keys

Result
explore(KeyOptions const &options)
{
	keys::Keys const model(options);
	return Explorer<keys::Keys>(model).run();
}

} // namespace onceq::explorer
