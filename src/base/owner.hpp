// SPDX-License-Identifier: PostgreSQL
// Crossing to onceq_owner, the role that owns all tables of onceq, for fixed statements only.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

// The owner's oid. Raises 42704 when the role is missing.
Oid owner_role();

// Whether the current user is a superuser or a member of this role; false when there is no such role.
bool is_member(char const *role);

class AsOwner
{
  public:
	// User, security context and search_path are those of the owner until finish(); after an ERROR the
	// transaction's or subtransaction's abort restores them, so there is no destructor.
	AsOwner();
	void finish();

  private:
	Oid user_;
	int security_context_;
	int guc_level_;
};

} // namespace onceq::base
