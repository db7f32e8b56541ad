// SPDX-License-Identifier: PostgreSQL
// The options of a queue, as columns of onceq.queue and parameters of a statement.
#pragma once

#include "catalog/catalog.hpp"
#include "catalog/statement.hpp"

extern "C" {
#include <nodes/primnodes.h>
}

namespace onceq::catalog {

char const *option_name(int option);

// What is stored: null for an option that is taken away, by 0 or ''.
Parameter option_parameter(Options const &values, int option);

// A table of this database, which need not exist, as "table" or "schema.table". Raises 42601 or 42602 if it is no
// name, 3F000 if there is no such schema, 0A000 if it names a database.
RangeVar *parse_archive_name(text *name);
// If archive_to is among them, notes that the current user has set it. Raises the same, and 22023 if it names no schema.
void record_archive(int32 queue, Options const &options);
// The dead_letter_queue that is to be set; nullptr: none, or it stays as it is.
text const *dead_letter_option(Options const &values);

} // namespace onceq::catalog
