// SPDX-License-Identifier: PostgreSQL
// Until when a job of one of our queues may come again.
#pragma once

#include "core/time.hpp"

namespace onceq::ledger {

// No event that was marked for a job before this time can be met again: every job that may be delivered
// once more was enqueued later. wall_never: there is no such job. wall_always: it is not known now, because
// a table is locked. Requires: the queues of this database are not in use elsewhere.
core::Wall oldest_redelivery();

} // namespace onceq::ledger
