// SPDX-License-Identifier: PostgreSQL
// The options of a queue, as columns of onceq.queue and parameters of a statement.
#pragma once

#include "catalog/catalog.hpp"
#include "catalog/statement.hpp"

namespace onceq::catalog {

char const *option_name(int option);

// What is stored: null for an option that is taken away, by 0 or ''.
Parameter option_parameter(Options const &values, int option);

// If archive_to is among them, notes that the current user has set it. Raises 22023 if it names no schema.
void record_archive(int32 queue, Options const &options);
// The dead_letter_queue that is to be set; nullptr: none, or it stays as it is.
text const *dead_letter_option(Options const &values);

} // namespace onceq::catalog
