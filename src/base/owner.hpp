// SPDX-License-Identifier: PostgreSQL
// Crossing to another role, as PostgreSQL does to maintain an index: what runs as that role can neither get
// back to the role before, nor leave anything behind in the session. To onceq_owner, the role that owns all
// tables of onceq, for fixed statements only.
#pragma once

#include "base/postgres.hpp"

namespace onceq::base {

// The owner's oid. Raises 42704 when the role is missing.
Oid owner_role();

// Whether the current user is a superuser or a member of this role; false when there is no such role.
bool is_member(char const *role);

class AsRole
{
  public:
	// User, security context and search_path are those of the role until finish(); after an ERROR the
	// transaction's or subtransaction's abort restores them, so there is no destructor. Triggers that a
	// statement defers would run after finish(): PostgreSQL refuses them.
	explicit AsRole(Oid role) : AsRole(role, 0) {}
	void finish();

  protected:
	AsRole(Oid role, int context);

  private:
	Oid user_;
	int security_context_;
	int guc_level_;
};

class AsOwner : public AsRole
{
  public:
	AsOwner() : AsRole(owner_role(), SECURITY_NOFORCE_RLS) {}
};

// Until finish() of the last one begun.
void set_locally(char const *name, char const *value);

} // namespace onceq::base
