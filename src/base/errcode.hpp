// SPDX-License-Identifier: PostgreSQL
// SQLSTATEs of our own, for what a client must branch on. All others are PostgreSQL's.
#pragma once

#include "base/postgres.hpp"

// The token does not own the job: the lease ended, expired, or never was.
#define ERRCODE_ONCEQ_LEASE_LOST MAKE_SQLSTATE('O', 'Q', '0', '0', '1')
// Not errors: notices that ask the holder of a lease to stop what it does.
#define ERRCODE_ONCEQ_SOFT_TIME_LIMIT MAKE_SQLSTATE('0', '1', 'O', 'Q', '1')
#define ERRCODE_ONCEQ_CANCELLED MAKE_SQLSTATE('0', '1', 'O', 'Q', '2')
// The queue's board is still being built after a start of the server; try again.
#define ERRCODE_ONCEQ_BOARD_BUILDING MAKE_SQLSTATE('O', 'Q', '0', '0', '3')
