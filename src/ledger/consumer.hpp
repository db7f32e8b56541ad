// SPDX-License-Identifier: PostgreSQL
// Consumers: who marks events, and who may do so for them.
#pragma once

#include "core/time.hpp"

#include "base/postgres.hpp"
#include "catalog/statement.hpp"

extern "C" {
#include <nodes/parsenodes.h> // AclMode
}

namespace onceq::ledger {

struct Consumer
{
	int32 id;
	bool dropped;
	core::Microseconds retention;
	text *name;
};

// All of the database by id, the dropped ones too; palloc'd in the current context.
struct Consumers
{
	Consumer *consumer;
	int count;
};
Consumers all_consumers();

// The consumer of this name that is not dropped; 0: none.
int32 find_consumer(text const *name);

// Raises 22023.
void require_consumer_name(text const *name);

// The consumer that the argument names, on which the current user has the privilege: ACL_INSERT to mark,
// ACL_SELECT to look, ACL_DELETE to forget. With a privilege to write, its table is locked until the
// transaction ends: it is not removed meanwhile. Raises 22004, 42704 no such consumer, 42501.
int32 consumer_argument(FunctionCallInfo fcinfo, int number, AclMode privilege);

// The table that carries the privileges; InvalidOid: none.
Oid find_privileges(int32 consumer);

// An UPDATE of its row, of which $1 is the id and $2 the value. Raises 42704 no such consumer.
void change_consumer(text const *name, char const *sql, catalog::Parameter value);

// Deletes a dropped consumer, if somebody else has not. Requires: AccessExclusiveLock on its table, if there is one,
// and no event of it is left.
void remove_consumer(int32 consumer);

// ---- arguments of SQL functions

// Raises 22004.
void require_argument(FunctionCallInfo fcinfo, int number, char const *name);
// Raises 22004, 22023 unless it has 1 to max bytes.
void require_text(Datum value, bool is_null, char const *name, int max);

} // namespace onceq::ledger
