// SPDX-License-Identifier: PostgreSQL
#include "base/owner.hpp"

extern "C" {
#include <utils/acl.h>
#include <utils/guc.h>
}

namespace onceq::base {

Oid
owner_role()
{
	return get_role_oid("onceq_owner", false);
}

bool
is_member(char const *role)
{
	if (superuser())
		return true;
	Oid const oid = get_role_oid(role, true);
	return OidIsValid(oid) && has_privs_of_role(GetUserId(), oid);
}

AsRole::AsRole(Oid role, int context)
{
	GetUserIdAndSecContext(&user_, &security_context_);
	SetUserIdAndSecContext(role,
						   security_context_ | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION | context);
	guc_level_ = NewGUCNestLevel();
	set_locally("search_path", "pg_catalog, pg_temp");
}

void
AsRole::finish()
{
	AtEOXact_GUC(false, guc_level_);
	SetUserIdAndSecContext(user_, security_context_);
}

void
set_locally(char const *name, char const *value)
{
	set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

} // namespace onceq::base
