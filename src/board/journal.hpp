// SPDX-License-Identifier: PostgreSQL
// The lease journal: leases that outlive a restart of the server.
//
// The worker writes a lease to onceq.lease_journal when it has been held for onceq.lease_journal_after,
// at a clean shutdown, and before the return of a claim that asks for it. A row names the token, a run
// of ids and their attempt. When the board is built, a journalled lease is restored under its old token
// if its jobs are unfinished and have no outcome of that attempt.
#pragma once

#include "board/board.hpp"

namespace onceq::board {

// To the board being built: the journalled leases, HELD for their whole span again, or LOST if they
// cannot be (session gone).
void restore_leases(core::Board &board, std::uint32_t index, catalog::Queue const &queue);

// Opens the board that a lease of this token will be on, which somebody else may have built since the lease was looked
// for; false: the journal does not know the token. Errors as open().
bool open_board_of(core::Token token);

// Writes the leases that should be in the journal, deletes those that ended; returns when to look again.
core::Microseconds keep_journal();

// Writes all held leases, as far as it gets: the server stops.
core::Microseconds journal_at_shutdown();

// Waits until the worker has written the lease, which is provisional. Raises 55000 if it takes too long.
void wait_until_journalled(Handle const &board, core::Token token);

} // namespace onceq::board
