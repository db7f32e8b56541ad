// SPDX-License-Identifier: PostgreSQL
#include "base/version.hpp"

namespace onceq::base {

constinit char const *const version = ONCEQ_VERSION;

} // namespace onceq::base
