// SPDX-License-Identifier: PostgreSQL
// How the slot of a database's worker changes, for those who change it: the launcher, the workers, and
// statements that need a database for themselves. All under the table's lock.
//
//            open_slot            begin_start           attach               confirm
//     free ───────────► wanted ───────────────► starting ───────► connecting ───────► running
//      ▲ ▲                ▲ ▲                      │                  │                 │
//      │ └── close_slot ──┘ └──── start_failed ────┘                  │                 │
//      │                  ▲                                           │                 │
//      └─ detach(absent) ─┴─────────── detach(asked | failed) ◄───────┴─────────────────┘
//
// hold_off keeps a slot of any state from `starting` for a while; a free one becomes `held` for it.
#pragma once

#include "core/backoff.hpp"
#include "core/time.hpp"

#include "base/postgres.hpp"

namespace onceq::notify {

enum class SlotState : int32
{
	free,
	held,       // no worker, and none may start
	wanted,     // to be started when next_start has come and held_until is over
	starting,   // the postmaster was asked for a process
	connecting, // there is a process, which has not found the extension yet
	running,
};

struct SlotFacts
{
	Oid database;
	SlotState state;
	uint32 generation;
	int pid;
	bool needed; // somebody asked for a worker there, or one found the extension
	int failures;
	core::Monotonic next_start;
	core::Monotonic held_until;
	core::Wall since;
};

// What a worker waits after it failed.
inline constexpr core::Backoff restart_backoff{
	.base = core::microseconds_per_second,
	.factor = 2,
	.max = 60 * core::microseconds_per_second,
	.jitter = 0.1,
};

// Why a worker ends.
enum class Ending
{
	failed, // next start after restart_backoff
	asked,  // by SIGTERM: next start when nothing holds it off
	absent, // the extension is not in the database: no next start
};

int slot_count() noexcept;
SlotFacts read_slot(int slot);

// ---- the launcher

// False: there is another one.
bool publish_launcher();
void retract_launcher();

// Whether the launcher is to look at all databases; asks once.
bool take_full_look() noexcept;

// Request i of slot_count(); InvalidOid: none. It is kept until it has a slot, so that it is not made
// again and again.
Oid requested_database(int i) noexcept;
void forget_request(int i, Oid database) noexcept;

// The slot of this database, made `wanted` if it was free; -1: all slots are taken.
int open_slot(Oid database, bool needed);

// The same as take_wake, and whether it ever was true: then the slot is needed.
bool take_need(int slot);

// wanted → starting; returns the generation.
uint32 begin_start(int slot);
// Back to wanted, after a back-off that grows with the slot's failures, if the state is still this one.
void start_failed(int slot, SlotState state, core::Backoff const &backoff);
void close_slot(int slot);

// ---- a worker

// starting → connecting; false: it comes too late, or is held off.
bool attach(int slot, uint32 generation);
void detach(int slot, Ending ending);

// Whether somebody asked for a round since the last call. To be called before a look at the database:
// what comes after the look is then noted for the next one.
bool take_wake(int slot) noexcept;
// The same of wake_worker_to_journal.
bool take_journal_wake(int slot) noexcept;
// connecting → running: the extension is there, and the next failure will be the first one.
void confirm(int slot);
bool is_held(int slot);

// ---- a statement that needs the database for itself

// No worker starts for this database until the transaction ends, or some seconds have passed; a running
// one is asked to leave. True: the extension is there, as far as anybody knows.
bool hold_off(Oid database);
// False: the worker is still there after this time. May be interrupted.
bool wait_until_left(Oid database, core::Microseconds at_most);

} // namespace onceq::notify
