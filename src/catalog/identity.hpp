// SPDX-License-Identifier: PostgreSQL
// Where the queues are in use: which server, which database, and which making of the extension in it.
//
// The row of onceq.installation is made with the first queue. A dump carries it along, and so does
// CREATE DATABASE … TEMPLATE: wherever it arrives it does not fit, and every queue refuses until adopted.
#pragma once

#include "base/postgres.hpp"

namespace onceq::catalog {

// Before the first queue is made. Raises 55000 not adopted.
void record_identity();

// false: none of them is in use elsewhere, and nothing was done.
bool adopt(bool keep_leases);

} // namespace onceq::catalog
