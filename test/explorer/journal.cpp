// SPDX-License-Identifier: PostgreSQL
#include "journal.hpp"

#include <algorithm>

namespace onceq::explorer {

namespace {

constexpr JobId first_id = ids_per_page - 1;
constexpr int attempts_max = 3;
constexpr int tokens_max = 5;
constexpr std::uint8_t system_token = 7;

enum class Writing : std::uint8_t
{
	no,
	copied,
	durable,
	clearing
};

struct Row
{
	std::uint8_t token;
	std::uint8_t attempt;
};

struct JournalState
{
	BoardView board;
	std::uint8_t failed;
	bool finished;
	std::array<Row, tokens_max> row; // the newest last; token 0: none
	Writing writing;
	Row copy;
	std::uint8_t granted; // leases so far; their tokens are 1, 2, …
	std::uint8_t holder;  // the token that a client believes in
	std::uint8_t restarts;
};

class JournalModel
{
  public:
	using State = JournalState;

	explicit JournalModel(JournalOptions const &options) : options_(options) {}

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
	keeps(JournalGuard guard) const
	{
		return (static_cast<std::uint32_t>(options_.removed) & static_cast<std::uint32_t>(guard)) == 0;
	}

	void claimer_steps(Stepper<State> &stepper) const;
	void holder_steps(Stepper<State> &stepper) const;
	void writer_steps(Stepper<State> &stepper) const;
	void cleaner_steps(Stepper<State> &stepper) const;
	void restart_steps(Stepper<State> &stepper) const;
	void let_go(World &world, bool waits) const;
	char const *restore(World &world, State &state) const;

	JournalOptions options_;
};

void
add_row(JournalState &state, Row const &row)
{
	for (Row &place : state.row)
		if (place.token == 0 || place.token == row.token)
		{
			place = row;
			return;
		}
}

void
remove_row(JournalState &state, std::uint8_t token)
{
	auto const end =
		std::remove_if(state.row.begin(), state.row.end(), [=](Row const &row) { return row.token == token; });
	std::fill(end, state.row.end(), Row{});
}

JournalState
JournalModel::initial() const
{
	World world = empty_world();
	place(world.board(), world.pool(), first_id, first_id, ready_at(0), false);
	finish_building(world.board(), first_id + 1, first_id + 1, 2, Wall{1});
	State state{};
	state.board = world.view();
	return state;
}

void
JournalModel::steps(Stepper<State> stepper) const
{
	claimer_steps(stepper);
	holder_steps(stepper);
	writer_steps(stepper);
	cleaner_steps(stepper);
	if (stepper.state().restarts < options_.restarts)
		restart_steps(stepper);
}

// All jobs of the lease back to ready; of a journalled one when the journal is clear.
void
JournalModel::let_go(World &world, bool waits) const
{
	LeaseSlot &lease = world.slot(0);
	if (is_journalled(lease) && waits)
		release_later(lease, lease.held);
	else
		give_back(world.board(), world.pool(), world.table(), lease, lease.held);
}

void
JournalModel::claimer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	LeaseView const &lease = state.board.lease[0];
	for (bool const suspicious : {false, true})
		if (is_ready(state.board.job[0]) && state.granted < options_.tokens)
			stepper.step({suspicious ? "a claim that waits for the journal" : "a claim: rows handed over"},
						 [=](World &world, State &next) {
							 LeaseSlot &slot = world.grant(++next.granted);
							 Refusal refusal = Refusal::none;
							 take(world.board(), world.pool(), slot, 1, refusal);
							 set_attempt(world.pool(), slot, 0, world.history(0) ? next.failed + 1 : 1);
							 settle(world.board(), world.pool(), slot, Findings{{}, {}, {}, wall_never});
							 if (suspicious)
								 slot.journal.store(LeaseJournal::wanted);
							 else
								 hold(world.board(), slot, Monotonic{1});
							 next.holder = suspicious ? 0 : next.granted;
							 return next.finished ? "REVIVED" : nullptr;
						 });
	if (lease.state != LeaseState::provisional || lease.released != 0)
		return;
	stepper.step({"the waiting claim aborts"}, [this](World &world, State &) {
		let_go(world, keeps(JournalGuard::aborted_claims_wait_too));
		if (LeaseSlot &slot = world.slot(0); slot.token.load() != no_token)
			lose(slot, slot.token.load());
		return nullptr;
	});
	if (lease.journal == LeaseJournal::written)
		stepper.step({"the waiting claim's rows are handed over"}, [](World &world, State &next) {
			hold(world.board(), world.slot(0), Monotonic{1});
			next.holder = next.board.lease[0].token;
			return nullptr;
		});
}

void
JournalModel::holder_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	LeaseSlot const &lease = stepper.world().slot(0);
	Token const token = stepper.world().token(0, state.holder);
	bool const held = lease.token.load() != no_token && owns(lease, token);
	bool const mine = held && state.holder != 0 && may_end(lease, token, lease.held);
	auto const fails = [](World &world, State &next) {
		LeaseSlot &slot = world.slot(0);
		next.failed++;
		next.finished = next.failed == attempts_max;
		end(world.board(), world.pool(), world.table(), slot, slot.held, next.finished ? Ending::dead : Ending::failed,
			wall_always);
	};
	if (mine)
	{
		stepper.step({"ack"}, [](World &world, State &next) {
			LeaseSlot &slot = world.slot(0);
			bool const twice = next.finished;
			next.finished = true;
			next.holder = 0;
			end(world.board(), world.pool(), world.table(), slot, slot.held, Ending::succeeded, wall_always);
			return twice ? "DOUBLE-EFFECT" : nullptr;
		});
		stepper.step({"nack"}, [=](World &world, State &next) {
			fails(world, next);
			next.holder = 0;
			return nullptr;
		});
		stepper.step({"release"}, [this](World &world, State &next) {
			let_go(world, keeps(JournalGuard::release_waits_for_the_journal));
			next.holder = 0;
			return nullptr;
		});
	}
	if (lease.token.load() != no_token && may_expire(lease, monotonic_never))
		stepper.step({"the lease expires"}, [=](World &world, State &next) {
			begin_expiry(world.slot(0), 0, system_token);
			fails(world, next);
			return nullptr;
		});
}

// ---- the worker

void
JournalModel::writer_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	LeaseView const &lease = state.board.lease[0];
	bool const wants = (lease.journal == LeaseJournal::none && lease.state == LeaseState::held) ||
					   (lease.journal == LeaseJournal::wanted &&
						(lease.state == LeaseState::held || lease.state == LeaseState::provisional));
	if (state.writing == Writing::no && lease.token != 0 && lease.released == 0 && wants)
		stepper.step({"worker copies the lease, marks it"}, [this](World &world, State &next) {
			next.writing = Writing::copied;
			next.copy = {next.board.lease[0].token, next.board.lease[0].attempt[0]};
			if (keeps(JournalGuard::marked_before_it_is_written))
				world.slot(0).journal.store(LeaseJournal::writing);
			return nullptr;
		});
	if (state.writing == Writing::copied)
	{
		stepper.step({"worker's row is durable"}, [](World &, State &next) {
			add_row(next, next.copy);
			next.writing = Writing::durable;
			return nullptr;
		});
		stepper.step(
			{"worker aborts"},
			[](World &world, State &next) {
				LeaseSlot &slot = world.slot(0);
				if (slot.token.load() != no_token && owns(slot, world.token(0, next.copy.token)))
					slot.journal.store(LeaseJournal::wanted);
				next.writing = Writing::no;
				next.copy = Row{};
				return nullptr;
			},
			false);
	}
	if (state.writing == Writing::durable)
		stepper.step({"worker's COMMIT callback: it is journalled"}, [](World &world, State &next) {
			LeaseSlot &slot = world.slot(0);
			if (slot.token.load() != no_token && owns(slot, world.token(0, next.copy.token)))
				slot.journal.store(LeaseJournal::written);
			next.writing = Writing::no;
			next.copy = Row{};
			return nullptr;
		});
}

void
JournalModel::cleaner_steps(Stepper<State> &stepper) const
{
	State const &state = stepper.state();
	LeaseView const &lease = state.board.lease[0];
	for (Row const &row : state.row)
		if (row.token != 0 && row.token != lease.token && state.writing == Writing::no)
			stepper.step({"worker deletes the row of a lease that ended"}, [=](World &, State &next) {
				remove_row(next, row.token);
				return nullptr;
			});
	if (state.writing == Writing::no && lease.token != 0 && lease.released != 0)
		stepper.step({"worker finds released jobs, deletes the rows durably"}, [](World &, State &next) {
			remove_row(next, next.board.lease[0].token);
			next.writing = Writing::clearing;
			next.copy = {next.board.lease[0].token, 0};
			return nullptr;
		});
	if (state.writing == Writing::clearing)
		stepper.step({"worker's COMMIT callback: released jobs are ready"}, [](World &world, State &next) {
			LeaseSlot &slot = world.slot(0);
			if (slot.token.load() != no_token && owns(slot, world.token(0, next.copy.token)))
			{
				slot.journal.store(LeaseJournal::none);
				if (JobSet const released = slot.released; !released.empty())
					give_back(world.board(), world.pool(), world.table(), slot, released);
			}
			next.writing = Writing::no;
			next.copy = Row{};
			return nullptr;
		});
}

// ---- the restart

char const *
JournalModel::restore(World &world, State &state) const
{
	Board &board = world.board();
	FramePool &pool = world.pool();
	world.begin_building();
	if (!state.finished || !keeps(JournalGuard::finished_jobs_are_dropped))
		place(board, pool, first_id, first_id, ready_at(0), state.failed > 0);
	std::uint8_t restored = 0;
	for (auto row = state.row.rbegin(); row != state.row.rend(); ++row)
	{
		bool const unfinished = world.state(0) != JobState::none && world.state(0) != JobState::leased;
		bool const current = state.failed < row->attempt || !keeps(JournalGuard::attempts_are_compared);
		if (row->token == 0 || !unfinished || !current)
			continue;
		LeaseSlot &lease = world.restore(0, row->token);
		restore_run(board, pool, lease, first_id, first_id, 0, row->attempt);
		hold(board, lease, Monotonic{1});
		lease.journal.store(LeaseJournal::written);
		restored = row->token;
	}
	finish_building(board, first_id + 1, first_id + 1, 2, Wall{1});
	state.writing = Writing::no;
	state.copy = Row{};
	state.restarts++;
	if (restored == 0)
		return nullptr;
	return state.finished ? "REVIVED" : restored != state.granted ? "OLDER-LEASE-RESTORED" : nullptr;
}

void
JournalModel::restart_steps(Stepper<State> &stepper) const
{
	stepper.step(
		{"CRASH, and what is journalled is restored"},
		[this](World &world, State &next) { return restore(world, next); }, false);
	LeaseView const &lease = stepper.state().board.lease[0];
	if (lease.state == LeaseState::held && lease.released == 0)
		stepper.step(
			{"clean restart: the lease is journalled, restored"},
			[this](World &world, State &next) {
				LeaseView const &last = next.board.lease[0];
				for (std::size_t i = 0; i < next.row.size(); i++)
					if (Row const row = next.row[i]; row.token != 0 && row.token != last.token)
						remove_row(next, row.token);
				add_row(next, {last.token, last.attempt[0]});
				return restore(world, next);
			},
			false);
}

// ---- what must hold

char const *
JournalModel::broken(State const &state) const
{
	bool const held = state.board.lease[0].held != 0;
	bool const leased = state.board.job[0] == JobState::leased;
	return held == leased ? nullptr : "TWO-HOLDERS";
}

std::vector<Goal<JournalState>>
JournalModel::goals() const
{
	return {{"LOST", [](State const &state) { return state.finished || is_ready(state.board.job[0]); }},
			{"NEVER-DELETED", [](State const &state) {
				 return std::ranges::all_of(state.row, [](Row const &row) { return row.token == 0; });
			 }}};
}

} // namespace

Result
explore(JournalOptions const &options)
{
	JournalModel const model(options);
	return Explorer<JournalModel>(model).run();
}

} // namespace onceq::explorer
