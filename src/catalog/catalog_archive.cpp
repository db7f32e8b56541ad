// SPDX-License-Identifier: PostgreSQL
// Who wants the finished jobs of a queue archived: as that role they will be copied.
#include <cstring>

#include "catalog/options.hpp"

extern "C" {
#include <catalog/namespace.h>
#include <catalog/pg_type.h>
#include <nodes/primnodes.h>
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

void
require_qualified(text *name)
{
	if (makeRangeVarFromNameList(textToQualifiedNameList(name))->schemaname == nullptr)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("archive_to names no schema"),
						errhint("Name the table and its schema, such as \"public.old_jobs\".")));
}

} // namespace

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
	require_qualified(DatumGetTextPP(name.value));
	NameData owner;
	namestrcpy(&owner, GetUserNameFromId(GetUserId(), false));
	execute("INSERT INTO onceq.job_archive (queue_id, owner) VALUES ($1, $2) ON CONFLICT (queue_id)"
			" DO UPDATE SET owner = excluded.owner, next_run = NULL, failures = 0, last_error = NULL",
			{parameter(queue), {NAMEOID, NameGetDatum(&owner), false}});
}

} // namespace onceq::catalog
