// SPDX-License-Identifier: PostgreSQL
// The tables of a policy: what they must be, and who owns them.
#pragma once

#include "base/postgres.hpp"

extern "C" {
#include <nodes/pg_list.h>
}

namespace onceq::archive {

struct Source
{
	Oid oid;
	Oid owner;
	Oid age_type;      // timestamptz, timestamp or date
	bool split_by_age; // partitioned by ranges of the age column
};

// What the table is. Raises 42809 no table that can be archived, 42703 no such column, 42804 of no time.
Source inspect_source(Oid table, char const *age_column);

// The table, or the leaves of its partitions that hold rows; oids, palloc'd; of InvalidOid none.
List *leaves_below(Oid table);

// Makes it as the current user: columns and indexes of the source; in partitions, if that has them by age.
void create_archive(Source const &source, char const *age_column, char const *schema, char const *table);

// Raises 42809 no table, 42501 unless whoever owns the archive has the rights of role anyway: his triggers
// will run as that.
void check_archive(Oid archive, Oid source, Oid role);

// "schema"."table", palloc'd.
char *qualified_name(Oid table);

// "a", "b": columns of the source that are to be copied, each preceded by the prefix. Raises 42703 if the
// archive lacks one.
char *copied_columns(Oid source, Oid archive, char const *prefix);

} // namespace onceq::archive
