// SPDX-License-Identifier: PostgreSQL
// Fixed SQL statements on tables of onceq_owner. Values are parameters; the text holds no user's text.
#pragma once

#include <initializer_list>

#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::catalog {

struct Parameter
{
	Oid type;
	Datum value;
	bool is_null;
};

Parameter parameter(int32 value);
Parameter parameter(int64 value);
Parameter parameter(bool value);
Parameter parameter(core::Wall value); // wall_never: null

inline constexpr int parameters_max = 24;

// Runs the statement as onceq_owner; returns the number of rows. It sees what is committed now and what
// this transaction did, also where the transaction's own snapshot is older: a queue is what it is, not
// what it was when a REPEATABLE READ transaction began. A row changed while it waits for the lock of
// that row is 40001 there, as everywhere.
uint64 execute(char const *sql, std::initializer_list<Parameter> parameters);
uint64 execute(char const *sql, Parameter const *parameters, int count);

// The same for a statement with RETURNING of one int4 column; 0: no row.
int32 execute_returning(char const *sql, Parameter const *parameters, int count);

// DDL as onceq_owner; several commands are separated by semicolons. Tables come to lie where the
// database's default is, whatever the session's settings say.
void execute_ddl(char const *sql);

} // namespace onceq::catalog
