// SPDX-License-Identifier: PostgreSQL
// How fast archiving may go.
#pragma once

#include "core/time.hpp"

namespace onceq::archive {

// Rests after a batch, as onceq.archive_batches_per_second wants it. May be interrupted.
void keep_to_speed(core::Monotonic batch_began);

} // namespace onceq::archive
