// SPDX-License-Identifier: PostgreSQL
// Archive policies as they are stored: what is to become of old rows of a table, and how it went last time.
//
// Rows of onceq.archive_policy. source is a regclass: it follows a table that is renamed, and pg_dump
// writes its name. The archive is known by name: who renames it away gets a new one.
#pragma once

#include "core/time.hpp"
#include "core/window.hpp"

#include "base/postgres.hpp"
#include "base/subtransaction.hpp"

extern "C" {
#include <utils/timestamp.h>
}

namespace onceq::archive {

struct Policy
{
	Oid source;
	NameData owner; // of the source when the policy was set; it runs as he, while he is that
	NameData age_column;
	Interval older_than;
	NameData archive_schema; // empty: rows are deleted
	NameData archive_table;
	int batch;
	core::Window window;
	bool vacuum_after;
	bool vacuum_due;     // rows were moved since the last VACUUM
	core::Wall next_run; // wall_always: at once
	int failures;        // in a row

	bool
	keeps_rows() const
	{
		return NameStr(archive_table)[0] != '\0';
	}
};

// Whether both want the same to be done.
bool same_orders(Policy const &left, Policy const &right);

struct Policies
{
	Policy *policy;
	int count;
};

// Palloc'd in the current context.
Policies all_policies();

// False: there is none.
bool find_policy(Oid source, Policy &policy);

// How long to wait until it is due and its window is open; 0: now.
core::Microseconds until_due(Policy const &policy);
// The same, whenever it ran last.
core::Microseconds until_open(Policy const &policy);

// How a run went.
struct Report
{
	core::Wall started_at;
	core::Microseconds duration;
	int64 rows;
	bool vacuum_due;
	bool unfinished; // it had to stop: the next run follows as soon as it may
};

// Each writes the row of the policy, if there still is one.
void record_success(Policy const &policy, Report const &report);
void record_failure(Policy const &policy, Report const &report, base::Failure const &failure);

bool delete_policy(Oid source);

} // namespace onceq::archive
