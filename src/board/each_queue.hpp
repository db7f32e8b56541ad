// SPDX-License-Identifier: PostgreSQL
// A duty done for every queue of the database, so that what fails for one is done for the others.
#pragma once

#include "base/postgres.hpp"
#include "catalog/catalog.hpp"

namespace onceq::board {

// Calls duty for each queue, each in a subtransaction of its own: an error is logged and undone, and
// the next queue's turn comes. The least of what duty returns; idle when there is no queue.
using Duty = core::Microseconds (*)(catalog::Queue const &queue);
core::Microseconds for_each_queue(char const *name, Duty duty, core::Microseconds idle);

} // namespace onceq::board
