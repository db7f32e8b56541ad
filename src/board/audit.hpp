// SPDX-License-Identifier: PostgreSQL
// Does the board say what the tables say? A standing board is never built again, only audited.
#pragma once

#include "board/board.hpp"

namespace onceq::board {

struct Difference
{
	core::JobId id;
	core::JobState board;  // what it was
	core::JobState stored; // what the tables say, and what it is now
};

// Compares every unfinished job that no transaction and no lease owns, repairs what differs, and calls
// visit for it.
using VisitDifference = void (*)(Difference const &difference, void *argument);
void audit_board(catalog::Queue const &queue, VisitDifference visit, void *argument);

// Chore: audits every queue of the database once in onceq.audit_interval, unless that would take long
// (more than a few undrained segments), and logs what it repaired.
core::Microseconds audit_boards();

} // namespace onceq::board
