// SPDX-License-Identifier: PostgreSQL
// The version of this library: default_version in onceq.control when it was built.
#pragma once

namespace onceq::base {

extern char const *const version;

} // namespace onceq::base
