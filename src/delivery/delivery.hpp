// SPDX-License-Identifier: PostgreSQL
// The life of one job: enqueued, claimed, acknowledged, retried, dead.
//
// Each verb has a file. A verb asks the board first (under B, by token), then writes its rows, and the
// board learns the end from the transaction's callbacks (board/transaction.hpp).
#pragma once

#include "core/lease.hpp"

#include "base/postgres.hpp"
#include "board/lease_copy.hpp"
#include "catalog/catalog.hpp"

namespace onceq::delivery {

inline constexpr int claim_count_max = 1000;
inline constexpr int enqueue_many_max = 10000;
inline constexpr core::Microseconds lease_min = 100 * 1000;
inline constexpr core::Microseconds lease_max = 12 * 3600 * core::microseconds_per_second;
inline constexpr core::Microseconds delay_max = 366 * 24 * 3600 * core::microseconds_per_second;

// ---- arguments (delivery_arguments.cpp)

// Raises 22004 if the argument is null.
void require_argument(FunctionCallInfo fcinfo, int number, char const *name);
char const *optional_cstring(FunctionCallInfo fcinfo, int number);

// The elements of an array; raises 2202E unless it is one-dimensional.
struct Elements
{
	Datum *value;
	bool *is_null;
	int count;
};
Elements elements_argument(FunctionCallInfo fcinfo, int number, char const *name);

// The lease span asked for, or 0: the queue's; raises 22023 out of range.
core::Microseconds lease_argument(FunctionCallInfo fcinfo, int number);

// What is kept of an error, palloc'd; nullptr: none.
text *error_argument(FunctionCallInfo fcinfo, int number);

// When a job is to be due, of which one is given or none; wall_always: at once. Raises 22023.
core::Wall run_at_argument(FunctionCallInfo fcinfo, int run_at, int delay);

// ---- a lease as its holder sees it (delivery_lease.cpp)

// The lease of this token, which the current user holds or may act for, and its queue. The jobs of the
// copy are those available: held, and no end of them asked for or under way.
// Raises OQ001 lease lost, 42501.
void look_up_lease(core::Token token, board::LeaseCopy &lease, catalog::Queue &queue);

// For who asks for all of the lease: raises OQ001 if there is nothing, and not because the own transaction ends it.
void require_any_left(board::LeaseCopy const &lease);

// The number of this job; raises OQ001 unless the lease has it available.
int require_available(board::LeaseCopy const &lease, core::JobId id);

[[noreturn]] void raise_lease_lost(core::Token token);

// 55P03: the job is to be changed, and another transaction owns it.
[[noreturn]] void raise_in_other_hands(core::JobId id);

// ---- verbs

// Jobs of one of the queues: the first one, in the order given or drawn by lot, that has any. A lease is
// of one queue.
struct ClaimRequest
{
	catalog::Queue *queue;
	int queue_count;
	int const *weight; // nullptr: in the order given
	int count;
	core::Microseconds span; // 0: the queue's own
	core::LeaseHold hold;
	char const *worker;
	core::Microseconds wait; // for the first job
};

// Puts the claimed jobs into the result of fcinfo, a materialised set. Waits for them if asked to.
void claim(FunctionCallInfo fcinfo, ClaimRequest &request);

// The same from one queue, and at once. Returns how many.
int claim_now(FunctionCallInfo fcinfo, ClaimRequest const &request, catalog::Queue const &queue);

// What the queue allows to start, as this session knows it.
core::Limits limits_of(catalog::Queue const &queue);

// When a claim may return a job, if nothing happens but that time passes; wall_never: not by that alone.
core::Wall next_claim_at(catalog::Queue const &queue);

// Ends all available jobs of the lease as succeeded; returns how many. Raises OQ001 if one was cancelled while
// the lease held it.
int64 ack_all(board::LeaseCopy const &lease, catalog::Queue const &queue);

// ---- chores of the worker, each in one transaction; return when they should run again

core::Microseconds expire_leases();
core::Microseconds promote_due();
core::Microseconds forget_unique_keys();
core::Microseconds move_keys_on();

} // namespace onceq::delivery
