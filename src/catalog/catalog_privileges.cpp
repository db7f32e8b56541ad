// SPDX-License-Identifier: PostgreSQL
#include "catalog/catalog.hpp"

#include "base/owner.hpp"

extern "C" {
#include <utils/acl.h>
}

namespace onceq::catalog {

namespace {

char const *
name_of(AclMode privilege)
{
	switch (privilege)
	{
		case may_enqueue:
			return "INSERT";
		case may_look:
			return "SELECT";
		case may_enqueue | may_look:
			return "INSERT or SELECT";
		case may_claim:
			return "UPDATE";
		case may_ack:
			return "DELETE";
		case may_purge:
			return "TRUNCATE";
		default:
			return "more than one privilege";
	}
}

} // namespace

void
require_privilege(Queue const &queue, AclMode privilege)
{
	bool is_missing = false;
	AclResult const result = OidIsValid(queue.anchor)
								 ? pg_class_aclcheck_ext(queue.anchor, GetUserId(), privilege, &is_missing)
								 : ACLCHECK_NO_PRIV;
	if (is_missing || !OidIsValid(queue.anchor))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table \"onceq_data.q%d\" does not exist", queue.id),
						errdetail("It carries the privileges of queue \"%s\".", queue.name)));
	if (result != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for queue \"%s\"", queue.name),
				 errdetail("This needs %s on table onceq_data.q%d.", name_of(privilege), queue.id),
				 errhint("See onceq.grant_producer() and onceq.grant_consumer().")));
}

void
require_administrator(char const *what)
{
	if (!base::is_member("onceq_admin"))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to %s", what),
						errhint("Superusers and members of onceq_admin may do this.")));
}

void
require_operator(char const *what)
{
	if (!base::is_member("onceq_admin") && !base::is_member("onceq_operator"))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to %s", what),
						errhint("Superusers and members of onceq_admin or onceq_operator may do this.")));
}

} // namespace onceq::catalog
