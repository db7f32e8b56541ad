// SPDX-License-Identifier: PostgreSQL
// Who wants the finished jobs of a queue archived: as that role they will be copied.
#include <cstring>

#include "catalog/options.hpp"

extern "C" {
#include <catalog/namespace.h>
#include <catalog/pg_type.h>
#include <utils/varlena.h>
}

namespace onceq::catalog {

namespace {

int
archive_option()
{
	int option = 0;
	while (strcmp(option_name(option), "archive_to") != 0)
		option++;
	return option;
}

} // namespace

RangeVar *
parse_archive_name(text *name)
{
	RangeVar *const archive = makeRangeVarFromNameList(textToQualifiedNameList(name));
	if (archive->catalogname != nullptr)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("archive_to names a database"),
						errhint("The archive is a table of this database: \"schema.table\".")));
	if (archive->schemaname != nullptr && !OidIsValid(get_namespace_oid(archive->schemaname, true)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA), errmsg("schema \"%s\" does not exist", archive->schemaname)));
	return archive;
}

void
record_archive(int32 queue, Options const &options)
{
	int const option = archive_option();
	if (options.is_null[option])
		return;
	Parameter const name = option_parameter(options, option);
	if (name.is_null)
	{
		execute("DELETE FROM onceq.job_archive WHERE queue_id = $1", {parameter(queue)});
		return;
	}
	if (parse_archive_name(DatumGetTextPP(name.value))->schemaname == nullptr)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("archive_to names no schema"),
						errhint("Name the table and its schema, such as \"public.old_jobs\".")));
	NameData owner;
	namestrcpy(&owner, GetUserNameFromId(GetUserId(), false));
	execute("INSERT INTO onceq.job_archive (queue_id, owner) VALUES ($1, $2) ON CONFLICT (queue_id)"
			" DO UPDATE SET owner = excluded.owner, next_run = NULL, failures = 0, last_error = NULL",
			{parameter(queue), {NAMEOID, NameGetDatum(&owner), false}});
}

} // namespace onceq::catalog
