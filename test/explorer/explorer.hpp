// SPDX-License-Identifier: PostgreSQL
// Walks every state that a model can reach, breadth first, so that the first violation found is one
// with the fewest steps; then checks that from each state every goal can still be reached.
#pragma once

#include "world.hpp"

#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace onceq::explorer {

// A step for the reader of a counter-example; {w} and {j} in the text are who takes it, and which job.
struct Label
{
	char const *text = "";
	int who = 0;
	int job = 0;

	std::string to_string() const;
	friend bool operator==(Label const &, Label const &) = default;
};

struct Result
{
	std::size_t states = 0;
	std::size_t edges = 0;
	double seconds = 0;
	std::string violation;          // empty: none
	std::vector<std::string> steps; // to the violation
};

// Where a model puts the steps possible in a state. live: it will happen by itself in the end; a goal
// must be reachable by such steps alone.
template <typename State>
class Sink
{
  public:
	virtual ~Sink() = default;
	virtual void add(Label const &label, State const &next, World const &after, char const *violation, bool live) = 0;
};

// Applies one step after the other to copies of the same world.
template <typename State>
class Stepper
{
  public:
	Stepper(State const &from, World const &before, World &scratch, Sink<State> &sink)
		: from_(from), before_(before), scratch_(scratch), sink_(sink)
	{
	}

	// change(world, state) returns what it violates, or nullptr.
	template <typename Change>
	void
	step(Label const &label, Change change, bool live = true)
	{
		scratch_.assign(before_);
		State next = from_;
		char const *const violation = change(scratch_, next);
		next.board = scratch_.view();
		sink_.add(label, next, scratch_, violation, live);
	}

	State const &
	state() const
	{
		return from_;
	}
	World const &
	world() const
	{
		return before_;
	}

  private:
	State const &from_;
	World const &before_;
	World &scratch_;
	Sink<State> &sink_;
};

template <typename State>
struct Goal
{
	char const *violation; // when it cannot be reached any more
	bool (*reached)(State const &);
};

// Model: State; empty_world(); initial(); build(state, world); steps(stepper); canonicalise(state), which
// may make equivalent states equal; broken(state); goals().
template <typename Model>
class Explorer
{
	using State = typename Model::State;
	using Index = std::uint32_t;
	static_assert(std::has_unique_object_representations_v<State>); // compared and hashed as bytes

  public:
	explicit Explorer(Model const &model)
		: model_(model), table_(1 << 12, none), world_(model.empty_world()), scratch_(model.empty_world())
	{
	}

	Result
	run()
	{
		auto const start = std::chrono::steady_clock::now();
		intern(model_.initial(), none, {});
		for (from_ = 0; from_ < states_.size() && result_.violation.empty(); from_++)
			expand();
		if (result_.violation.empty())
			check_goals();
		if (result_.violation.empty())
			walk();
		result_.states = states_.size();
		result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
		return result_;
	}

  private:
	static constexpr Index none = 0xFFFF'FFFF;
	static constexpr std::size_t states_max = 40'000'000;
	static constexpr int walks = 40;
	static constexpr int walk_length = 100;

	struct Origin
	{
		Index from;
		Label label;
	};

	// Puts what is found from one state into the explorer.
	class Collector : public Sink<State>
	{
	  public:
		explicit Collector(Explorer &explorer) : explorer_(explorer) {}

		void
		add(Label const &label, State const &next, World const &, char const *violation, bool live) override
		{
			explorer_.found(label, next, violation, live);
		}

	  private:
		Explorer &explorer_;
	};

	// Keeps all that is possible from one state.
	struct Choice
	{
		Label label;
		State next;
		std::string violation;
	};

	class Recorder : public Sink<State>
	{
	  public:
		void
		add(Label const &label, State const &next, World const &after, char const *violation, bool) override
		{
			choices.push_back({label, next, violation != nullptr ? violation : ""});
			if (static_cast<int>(choices.size()) - 1 == chosen)
				world->assign(after);
		}

		std::vector<Choice> choices;
		int chosen = -1; // whose world is wanted
		World *world = nullptr;
	};

	void
	expand()
	{
		State const state = states_[from_]; // the vector may move
		model_.build(state, world_);
		if (world_.view() != state.board)
			return violated("NOT-REBUILT", from_, nullptr);
		if (char const *const broken = model_.broken(state); broken != nullptr)
			return violated(broken, from_, nullptr);
		Collector collector(*this);
		model_.steps(Stepper<State>(state, world_, scratch_, collector));
	}

	void
	found(Label const &label, State const &next, char const *violation, bool live)
	{
		if (!result_.violation.empty())
			return;
		result_.edges++;
		if (violation != nullptr)
			return violated(violation, from_, &label);
		State canonical = next;
		model_.canonicalise(canonical);
		Index const to = intern(canonical, from_, label);
		if (live)
			live_.emplace_back(from_, to);
		if (states_.size() > states_max)
			violated("TOO-MANY-STATES", none, nullptr);
	}

	void
	violated(std::string const &what, Index at, Label const *last)
	{
		result_.violation = what;
		std::vector<std::string> steps;
		if (last != nullptr)
			steps.push_back(last->to_string());
		for (; at != none && origins_[at].from != none; at = origins_[at].from)
			steps.push_back(origins_[at].label.to_string());
		result_.steps.assign(steps.rbegin(), steps.rend());
	}

	// ---- the states

	static std::size_t
	hash(State const &state)
	{
		unsigned char bytes[(sizeof(State) + 7) / 8 * 8] = {};
		std::memcpy(bytes, &state, sizeof(State));
		std::uint64_t sum = 0x9E37'79B9'7F4A'7C15;
		for (std::size_t at = 0; at < sizeof(bytes); at += 8)
		{
			std::uint64_t word;
			std::memcpy(&word, bytes + at, 8);
			sum = (sum ^ word) * 0xFF51'AFD7'ED55'8CCD;
			sum ^= sum >> 32;
		}
		return sum;
	}

	// The place of a state in the table: where it is, or where it should be.
	std::size_t
	place_of(State const &state) const
	{
		std::size_t const mask = table_.size() - 1;
		std::size_t place = hash(state) & mask;
		while (table_[place] != none && std::memcmp(&states_[table_[place]], &state, sizeof(State)) != 0)
			place = (place + 1) & mask;
		return place;
	}

	Index
	intern(State const &state, Index from, Label const &label)
	{
		std::size_t place = place_of(state);
		if (table_[place] != none)
			return table_[place];
		if (states_.size() * 2 > table_.size())
		{
			table_.assign(table_.size() * 2, none);
			for (Index i = 0; i < states_.size(); i++)
				table_[place_of(states_[i])] = i;
			place = place_of(state);
		}
		auto const index = static_cast<Index>(states_.size());
		table_[place] = index;
		states_.push_back(state);
		origins_.push_back({from, label});
		return index;
	}

	// ---- the goals

	void
	check_goals()
	{
		// Live edges by where they lead to.
		std::vector<Index> begin(states_.size() + 1, 0);
		for (auto const &[from, to] : live_)
			begin[to + 1]++;
		for (std::size_t i = 1; i < begin.size(); i++)
			begin[i] += begin[i - 1];
		std::vector<Index> sources(live_.size());
		std::vector<Index> next(begin.begin(), begin.end() - 1);
		for (auto const &[from, to] : live_)
			sources[next[to]++] = from;
		for (Goal<State> const &goal : model_.goals())
			if (result_.violation.empty())
				check_goal(goal, begin, sources);
	}

	void
	check_goal(Goal<State> const &goal, std::vector<Index> const &begin, std::vector<Index> const &sources)
	{
		std::vector<bool> good(states_.size());
		std::vector<Index> open;
		for (Index i = 0; i < states_.size(); i++)
			if (goal.reached(states_[i]))
			{
				good[i] = true;
				open.push_back(i);
			}
		while (!open.empty())
		{
			Index const to = open.back();
			open.pop_back();
			for (Index edge = begin[to]; edge < begin[to + 1]; edge++)
				if (Index const from = sources[edge]; !good[from])
				{
					good[from] = true;
					open.push_back(from);
				}
		}
		for (Index i = 0; i < states_.size(); i++)
			if (!good[i])
				return violated(goal.violation, i, nullptr);
	}

	// ---- the projection

	// Random walks over structures that are never rebuilt, beside the rebuilt ones: whatever the view
	// leaves out must not change what can happen next.
	void
	walk()
	{
		std::mt19937_64 dice(4711);
		World real = model_.empty_world();
		World next = model_.empty_world();
		for (int i = 0; i < walks && result_.violation.empty(); i++)
		{
			State state = model_.initial();
			model_.build(state, real);
			for (int step = 0; step < walk_length && result_.violation.empty(); step++)
			{
				Recorder of_rebuilt;
				model_.build(state, world_);
				model_.steps(Stepper<State>(state, world_, scratch_, of_rebuilt));
				if (of_rebuilt.choices.empty())
					break;
				Recorder of_real;
				of_real.chosen = static_cast<int>(dice() % of_rebuilt.choices.size());
				of_real.world = &next;
				model_.steps(Stepper<State>(state, real, scratch_, of_real));
				compare(of_rebuilt.choices, of_real.choices);
				if (!result_.violation.empty())
					return;
				state = of_rebuilt.choices[static_cast<std::size_t>(of_real.chosen)].next;
				real.assign(next);
			}
		}
	}

	void
	compare(std::vector<Choice> const &rebuilt, std::vector<Choice> const &real)
	{
		bool same = rebuilt.size() == real.size();
		for (std::size_t i = 0; same && i < rebuilt.size(); i++)
			same = rebuilt[i].label == real[i].label && rebuilt[i].violation == real[i].violation &&
				   std::memcmp(&rebuilt[i].next, &real[i].next, sizeof(State)) == 0;
		if (!same)
			violated("VIEW-LEAVES-OUT-TOO-MUCH", none, nullptr);
	}

	Model const &model_;
	std::vector<Index> table_; // of indexes into states_, open addressing
	std::vector<State> states_;
	std::vector<Origin> origins_;
	std::vector<std::pair<Index, Index>> live_;
	Index from_ = 0;
	World world_;
	World scratch_;
	Result result_;
};

} // namespace onceq::explorer
