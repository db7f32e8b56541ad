// SPDX-License-Identifier: PostgreSQL
// Which queues exist, and what was promised of each.
//
// Owns onceq.queue, onceq.id_ceiling, onceq.installation and the anchor tables onceq_data.q<id>,
// which are empty and carry each queue's privileges. A backend keeps what it read of a queue until any
// backend commits a change (relcache invalidation of onceq.queue). All of it survives a crash.
//
// Locks: who changes a queue holds (onceq.queue, id) as an object in ShareUpdateExclusiveLock until the
// end of the transaction. It is no lock on the anchor, which is the worker's: a change that is left open
// must not stop it.
#pragma once

#include "core/backoff.hpp"
#include "core/job_state.hpp"
#include "core/time.hpp"

#include "base/postgres.hpp"

extern "C" {
#include <nodes/parsenodes.h> // AclMode
}

namespace onceq::catalog {

struct Queue
{
	int32 id;
	int64 incarnation;
	Oid anchor;
	char name[64];
	core::Microseconds lease;
	int max_attempts;
	core::Backoff backoff;
	core::Microseconds retention;
	core::Microseconds segment_age;
	core::Microseconds soft_time_limit; // 0: none, as of all limits
	core::Microseconds hard_time_limit;
	bool continues_after_dead_key;
	int max_running;
	int max_running_per_key;
	int rate_limit; // jobs in each rate_period
	core::Microseconds rate_period;
	int rate_burst; // 0: rate_limit
	bool durable_leases;
	core::Microseconds priority_ageing; // 0: none
	bool has_dead_letter_queue;
	bool has_archive;
	bool paused;
	bool dropped;      // by drop_queue: the worker removes what is left
	bool created_here; // by the current transaction, which may still abort
};

// What the current user may do with a queue, as privileges on its anchor table.
inline constexpr AclMode may_enqueue = ACL_INSERT;
inline constexpr AclMode may_look = ACL_SELECT;
inline constexpr AclMode may_claim = ACL_UPDATE;
inline constexpr AclMode may_ack = ACL_DELETE;
inline constexpr AclMode may_purge = ACL_TRUNCATE;

// The queue of this name that is not dropped. Valid until the next call that may read the catalog.
// Raises 42704 no such queue, 55000 not adopted (restored or copied database).
Queue const &find_queue(text const *name);

// The same; nullptr: none.
Queue const *find_live_queue(text const *name);

// Also a dropped one; nullptr: none. Raises 55000 not adopted.
Queue const *find_queue(int32 id);

// The name of the queue for dead jobs, and of the table for finished ones; nullptr: none. palloc'd.
text *dead_letter_queue_of(int32 queue);
text *archive_of(int32 queue);

// As find_queue, for a change: nobody else changes or drops the queue until this transaction ends.
Queue const &lock_queue(text const *name);

// ---- privileges

// Raises 42501 unless the current user has the privilege, or one of them, on the queue.
void require_privilege(Queue const &queue, AclMode privilege);

// Raises 42501 unless the current user is a superuser or a member of onceq_admin. what: "create a queue".
void require_administrator(char const *what);

// The same, or a member of onceq_operator.
void require_operator(char const *what);

// ---- all queues

// Ids of all queues of this database, the dropped ones too; palloc'd in the current context.
struct QueueIds
{
	int32 *id;
	int count;
};
QueueIds all_queues();

// Whether this database is the one its queues were made in, or adopted by. False also when the extension
// has no queue yet, or is of another version than this library: then there is nothing to do.
bool is_adopted();

// Whether require_adopted() would raise an error.
bool is_refused();

// Raises 55000 unless adopted, or not in use yet; and when the extension is of another version than this library.
void require_adopted();

// The extension was updated in this transaction: all backends look at its version again once it commits.
void announce_update();

// ---- changes; the caller has checked who may

// Options of a queue as arguments of a SQL function, in the order of the columns of onceq.queue.
inline constexpr int option_count = 20;
struct Options
{
	Datum value[option_count];
	bool is_null[option_count]; // when altering: unchanged
};

// From the arguments first …; raises 22023 out of range, 22004 if one is null that a new queue must have.
Options options_argument(FunctionCallInfo fcinfo, int first, bool new_queue);

// Raises 22023 if dead jobs of this queue would come back to it by the options, 42501 if the current user may not
// enqueue where they go.
void check_dead_letter_queue(text const *queue, Options const &options);

// The id of the new queue, which has no segment yet; 0: there is one of that name already.
// Raises 22023 no queue name, 0A000 in a script that creates an extension.
int32 create_queue(text const *name, Options const &options);

// Require: lock_queue.
void alter_queue(int32 queue, Options const &options);
void set_paused(int32 queue, bool paused);
// Hides the queue's name at once; the worker removes the rest.
void mark_dropped(int32 queue);

// Deletes all rows of a dropped queue and its anchor. Requires: its segments are gone. false: somebody
// reads the anchor just now, pg_dump perhaps; nothing was done.
bool forget_queue(int32 queue);

// ---- the durable id ceiling

struct Ceiling
{
	core::JobId value;
	core::JobId step;
	core::Wall raised_at;
};
Ceiling read_ceiling(int32 queue);

// Durable when the transaction is: the commit is made synchronous.
void raise_ceiling(int32 queue, core::JobId value, core::JobId step);

} // namespace onceq::catalog
