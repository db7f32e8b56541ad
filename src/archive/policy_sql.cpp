// SPDX-License-Identifier: PostgreSQL
// Setting and dropping archive policies: arguments, their ranges, and who may.
#include "archive/batch.hpp"
#include "archive/policy.hpp"
#include "archive/tables.hpp"
#include "base/owner.hpp"
#include "base/require.hpp"
#include "base/wall.hpp"
#include "catalog/identity.hpp"
#include "catalog/options.hpp"
#include "catalog/statement.hpp"

extern "C" {
#include <catalog/pg_class.h>
#include <catalog/pg_type.h>
#include <utils/acl.h>
#include <utils/date.h>
#include <utils/lsyscache.h>
}

namespace onceq::archive {

namespace {

enum Argument
{
	source_argument,
	age_column_argument,
	older_than_argument,
	archive_to_argument,
	batch_argument,
	not_before_argument,
	not_after_argument,
	vacuum_after_argument,
};

constexpr char const *argument_names[] = {"source", "age_column", "older_than", "archive_to",
										  "batch",  "not_before", "not_after",  "vacuum_after"};

constexpr int64 older_than_max = int64{100} * 366 * 24 * 3600 * 1000000;
constexpr int batch_max = 100000;

void
require_argument(FunctionCallInfo fcinfo, Argument argument)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", argument_names[argument])));
}

void
require_owner(Oid table)
{
	char const *const name = get_rel_name(table);
	if (name == nullptr)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("there is no table with oid %u", table)));
#if PG_VERSION_NUM >= 160000
	bool const owns = object_ownercheck(RelationRelationId, table, GetUserId());
#else
	bool const owns = pg_class_ownercheck(table, GetUserId());
#endif
	if (!owns)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of table %s", name)));
}

// Unqualified, the archive is beside its source.
void
name_archive(Policy &policy, text *name)
{
	if (VARSIZE_ANY_EXHDR(name) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("archive_to must not be empty"),
						errhint("NULL lets old rows be deleted.")));
	RangeVar const *const archive = catalog::parse_archive_name(name);
	namestrcpy(&policy.archive_schema, archive->schemaname != nullptr
										   ? archive->schemaname
										   : get_namespace_name(get_rel_namespace(policy.source)));
	namestrcpy(&policy.archive_table, archive->relname);
}

core::Microseconds
time_argument(FunctionCallInfo fcinfo, Argument argument, core::Microseconds otherwise)
{
	return PG_ARGISNULL(argument) ? otherwise : PG_GETARG_TIMEADT(argument);
}

Policy
policy_of_arguments(FunctionCallInfo fcinfo)
{
	for (Argument const argument :
		 {source_argument, age_column_argument, older_than_argument, batch_argument, vacuum_after_argument})
		require_argument(fcinfo, argument);
	Policy policy{};
	policy.source = PG_GETARG_OID(source_argument);
	require_owner(policy.source);
	policy.age_column = *PG_GETARG_NAME(age_column_argument);
	policy.older_than = *PG_GETARG_INTERVAL_P(older_than_argument);
	base::microseconds_of(&policy.older_than, argument_names[older_than_argument], 0, older_than_max);
	policy.batch = PG_GETARG_INT32(batch_argument);
	if (policy.batch < 1 || policy.batch > batch_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("batch is out of range"),
						errdetail("It must be between %d and %d.", 1, batch_max)));
	policy.window = {time_argument(fcinfo, not_before_argument, policy.window.opens),
					 time_argument(fcinfo, not_after_argument, policy.window.closes)};
	if (policy.window.opens == policy.window.closes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("not_before and not_after must not be the same time"),
				 errhint("Leave out both to allow every time of the day.")));
	policy.vacuum_after = PG_GETARG_BOOL(vacuum_after_argument);
	if (!PG_ARGISNULL(archive_to_argument))
		name_archive(policy, PG_GETARG_TEXT_PP(archive_to_argument));
	return policy;
}

// What cannot be carried out is refused now, and the archive is there when the policy is.
void
try_policy(Policy &policy)
{
	Source const source = inspect_source(policy.source, NameStr(policy.age_column));
	namestrcpy(&policy.owner, GetUserNameFromId(source.owner, false));
	base::AsRole as(source.owner);
	Oid const archive = archive_of(policy, source);
	if (OidIsValid(archive))
		copied_columns(source.oid, archive, "");
	as.finish();
}

void
store_policy(FunctionCallInfo fcinfo, Policy &policy)
{
	bool const deletes = !policy.keeps_rows();
	catalog::Parameter const parameters[] = {
		{REGCLASSOID, ObjectIdGetDatum(policy.source), false},
		{NAMEOID, NameGetDatum(&policy.owner), false},
		{NAMEOID, NameGetDatum(&policy.age_column), false},
		{INTERVALOID, IntervalPGetDatum(&policy.older_than), false},
		{NAMEOID, NameGetDatum(&policy.archive_schema), deletes},
		{NAMEOID, NameGetDatum(&policy.archive_table), deletes},
		catalog::parameter(int32{policy.batch}),
		{TIMEOID, PG_GETARG_DATUM(not_before_argument), PG_ARGISNULL(not_before_argument)},
		{TIMEOID, PG_GETARG_DATUM(not_after_argument), PG_ARGISNULL(not_after_argument)},
		catalog::parameter(policy.vacuum_after)};
	catalog::execute("INSERT INTO onceq.archive_policy (source, owner, age_column, older_than, archive_schema,"
					 " archive_table, batch, not_before, not_after, vacuum_after)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
					 " ON CONFLICT (source) DO UPDATE SET (owner, age_column, older_than, archive_schema,"
					 " archive_table, batch, not_before, not_after, vacuum_after, next_run, failures, last_error)"
					 " = (excluded.owner, excluded.age_column, excluded.older_than, excluded.archive_schema,"
					 " excluded.archive_table, excluded.batch, excluded.not_before, excluded.not_after,"
					 " excluded.vacuum_after, NULL, 0, NULL)",
					 parameters, lengthof(parameters));
}

} // namespace

} // namespace onceq::archive

namespace archive = onceq::archive;
namespace base = onceq::base;

ONCEQ_FUNCTION(onceq_set_archive_policy)
{
	base::require_writable("onceq.set_archive_policy()");
	archive::Policy policy = archive::policy_of_arguments(fcinfo);
	// A restored copy is not to delete what somebody has restored it for: it has to be adopted first.
	onceq::catalog::record_identity();
	archive::try_policy(policy);
	archive::store_policy(fcinfo, policy);
	PG_RETURN_VOID();
}

ONCEQ_FUNCTION(onceq_drop_archive_policy)
{
	base::require_writable("onceq.drop_archive_policy()");
	archive::require_argument(fcinfo, archive::source_argument);
	Oid const source = PG_GETARG_OID(0);
	archive::require_owner(source);
	if (!archive::delete_policy(source))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("table %s has no archive policy", archive::qualified_name(source))));
	PG_RETURN_VOID();
}
