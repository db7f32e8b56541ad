// SPDX-License-Identifier: PostgreSQL
// The duties of a database's worker, as a table. A new chore is one line in chores.cpp.
#pragma once

#include <span>

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::worker {

enum class Duty
{
	recover,  // what falls due: leases, delayed jobs; also by CALL onceq.recover()
	maintain, // room for new jobs, removal of old ones; also by CALL onceq.maintain()
	farewell, // once, when the server shuts down
};

struct Chore
{
	char const *name; // a verb and its object, for people: "expire leases"
	Duty duty;
	// Called in a transaction of its own with an active snapshot, in a short-lived memory context, as
	// onceq_worker or as the caller of the procedure; may raise. Returns how long it may be left alone.
	core::Microseconds (*run)();
	// Sessions wait for it: a passive worker does it when it is woken.
	bool is_awaited = false;
};

inline constexpr int chores_max = 16;

// At most chores_max; in the order in which they are to run.
std::span<Chore const> all_chores();

} // namespace onceq::worker
