// SPDX-License-Identifier: PostgreSQL
// The options of a queue, as parameters of a statement.
#pragma once

#include "catalog/catalog.hpp"
#include "catalog/statement.hpp"

namespace onceq::catalog {

// Fills option_count parameters.
void to_parameters(Options const &values, Parameter *parameters);

} // namespace onceq::catalog
