// SPDX-License-Identifier: PostgreSQL
// Where jobs and outcomes lie: the segment tables of a queue.
//
// Segment n of queue q is a pair of ordinary tables of onceq_owner, onceq_data.j<q>_<n> (jobs) and
// onceq_data.o<q>_<n> (outcomes), both append-only: rows are never updated or deleted, a segment is
// dropped whole. onceq.segment lists them. Whoever appends or reads holds a lock on the table until
// its transaction ends; the drop takes AccessExclusiveLock, and never waits for it.
#pragma once

#include "core/key_table.hpp"
#include "core/state_map.hpp"
#include "core/time.hpp"

#include "base/postgres.hpp"
#include "store/job_options.hpp"

extern "C" {
#include <storage/lockdefs.h>
#include <utils/relcache.h>
}

namespace onceq::store {

// ---- segments (store_segment.cpp)

enum class Outcome : char
{
	acked = 'a',
	failed = 'f', // attempt failed; due again at due_at, or at once if null
	dead = 'd',
	cancelled = 'c',
	redriven = 'r',    // dead no longer: due again at due_at, or at once if null
	rescheduled = 's', // due at due_at, or at once if null, whatever was said before
};

struct Segment
{
	core::SegmentNumber number;
	core::Wall created_at;
	core::Wall sealed_at;       // wall_never: open
	core::Wall drained_at;      // wall_never: has unfinished jobs
	core::JobId archived_below; // jobs of lower ids were copied to the queue's archive
	core::Wall archived_at;     // wall_never: not all of them yet
};

// All segments of the queue by number, without remains; palloc'd in the current context.
struct Segments
{
	Segment *segment;
	int count;
};
Segments all_segments(int32 queue);

// What is left of segments whose stragglers have moved, for the archive to copy, as segments of other numbers.
Segments all_remains(int32 queue);

// Where to look for jobs: ids of a segment, or those between two segments, which are in the stay tables.
struct Part
{
	core::SegmentNumber tables;
	core::JobId first;
	core::JobId last;
};
// All of them, in the order of ids, from this one on.
struct Parts
{
	Part *part;
	int count;
};
Parts all_parts(int32 queue, core::JobId from);

// Creates the tables, as onceq_owner.
void create_segment(int32 queue, core::SegmentNumber number);

void mark_sealed(int32 queue, core::SegmentNumber number, core::Wall at);
void mark_drained(int32 queue, core::SegmentNumber number, core::Wall at);

// From here on nobody writes outcomes of the segment until the transaction ends; false: somebody does.
bool lock_for_drain(int32 queue, core::SegmentNumber number);
// The segment will have unfinished jobs: it is not drained any more. It cannot be dropped, or marked drained, until
// the transaction ends. Stay tables are always open. false: there is no such segment, or it is on its way out, and
// jobs of it have been archived.
bool reopen_segment(int32 queue, core::SegmentNumber number);

// at: wall_never until all were copied.
void mark_archived(int32 queue, core::SegmentNumber number, core::JobId below, core::Wall at);

// Takes AccessExclusiveLock on both tables if nobody else holds a lock; false: somebody does.
bool lock_for_drop(int32 queue, core::SegmentNumber number);
// Requires lock_for_drop.
void drop_segment(int32 queue, core::SegmentNumber number);

// ---- stragglers: what is left of old segments (store_stay.cpp)
//
// A queue's stay tables are those of a segment of this number, which onceq.segment does not list. Jobs keep
// their ids there. Whoever does not find the tables of a job's segment looks here: a segment goes in
// the transaction that moves its last jobs. Rows are deleted, not dropped.

inline constexpr core::SegmentNumber stay = -1;

// The number that a segment goes by after that, if its other jobs are to be archived first; and back. Only the
// archive looks there, so that to all others the segment is gone.
constexpr core::SegmentNumber
remains_of(core::SegmentNumber number)
{
	return stay - 1 - number;
}

// Requires: as drop_segment.
void leave_remains(int32 queue, core::SegmentNumber number, core::Wall now);

// Moves unfinished jobs of a segment and their outcomes; the tables are made when they are needed.
// Requires: the jobs are in the caller's hands, and the tables of the segment under its lock_for_drop.
void move_to_stay(int32 queue, core::SegmentNumber number, core::JobId const *id, int count);

void create_stay(int32 queue);
void drop_stay(int32 queue); // requires lock_for_drop
bool has_stay(int32 queue);

// Ends of moved jobs, before that time, first_id … last_id, oldest first, at most as many; not of jobs that were redriven.
struct OldEnd
{
	core::JobId first_id;
	core::JobId last_id;
	Outcome outcome;
};
int read_old_ends(int32 queue, core::Wall before, OldEnd *end, int at_most);
void delete_moved(int32 queue, OldEnd const *end, int count);

// Whether jobs of the segment have ended at or after this time: their rows are to be kept.
bool has_ends_since(int32 queue, core::SegmentNumber number, core::Wall since);

// ---- one segment's tables (store_table.cpp)

struct Tables
{
	Oid jobs;
	Oid jobs_by_id;
	Oid jobs_by_due; // partial: delayed jobs
	Oid jobs_by_key; // partial: jobs with an ordering key, by its hash and id
	Oid outcomes;
	Oid outcomes_by_id;  // partial: all but acks
	Oid outcomes_by_ack; // some of the acks: see anchors.hpp
	Oid outcomes_by_due; // partial: failed attempts with a due time
	Oid results;
	Oid results_by_id;
};

// The oids of a segment, from a small cache; jobs is InvalidOid when there is no such segment.
Tables find_tables(int32 queue, core::SegmentNumber number);

enum class Wait : bool
{
	no,
	yes
};

// A table of a segment, and the segment's oids as they are under the table's lock: REINDEX CONCURRENTLY
// replaces an index by a new one, but takes the old one away from nobody who holds that lock.
struct OpenTable
{
	Relation table; // nullptr: dropped meanwhile, or its lock is not to be had without waiting
	Tables tables;
};

// The lock is kept until the transaction ends. Of a segment that is gone: the table of stragglers, but not
// to append jobs to.
OpenTable open_table(int32 queue, core::SegmentNumber number, Oid Tables::*table, LOCKMODE mode, Wait wait = Wait::yes);

// ---- append (store_append.cpp)

struct NewJob
{
	core::JobId id;
	Datum payload;
	Datum headers;
	bool has_headers;
	int priority;
	core::Wall run_at;  // wall_always: at once
	text *ordering_key; // nullptr: none
	JobOptions options;
};

// All of one segment, which holds them reserved or whose jobs the caller holds leased. The table stays
// locked until the transaction ends.
void append_jobs(int32 queue, NewJob const *job, int count);

inline constexpr int detail_length_max = 2048;

struct NewOutcome
{
	core::JobId first_id;
	core::JobId last_id;
	Outcome outcome;
	int attempt;
	core::Wall due_at = core::wall_always; // none, or at once; wall_never: dead, and blocks its ordering key
	char const *worker;                    // nullptr or empty: none
	text const *detail;                    // nullptr: none; at most detail_length_max bytes are kept
	core::Wall at = core::wall_always;     // wall_always: now
};

void append_outcomes(int32 queue, NewOutcome const *outcome, int count);

void append_result(int32 queue, core::JobId id, Datum result);

// ---- read (store_read.cpp)

// A job as stored. Datums point into a buffer that the next read frees.
struct Job
{
	core::JobId id;
	core::Wall enqueued_at;
	core::Wall run_at; // wall_always: at once
	int priority;
	text *ordering_key; // nullptr: none
	JobOptions options;
	TransactionId xmin;
	Datum payload;
	Datum headers;
	bool has_headers;
};

// Reads jobs first … last, all of one segment, that are there now: committed, or of this transaction.
// No snapshot that could be older than the caller's claim on them, and no predicate locks. Stops when visit
// returns false.
// Wait::no: reads nothing if somebody has locked the table or its index.
using VisitJob = bool (*)(Job const &job, void *argument);
void read_jobs(int32 queue, core::JobId first, core::JobId last, VisitJob visit, void *argument, Wait wait = Wait::yes);

// What the state of a job follows from.
struct JobHead
{
	core::JobId id;
	core::Wall run_at; // wall_always: at once
	int priority;
	bool has_key;
};

// Of one job, as read_jobs finds it; false: it is not there, and head is left alone.
bool read_head(int32 queue, core::JobId id, JobHead &head);

// The same as read_jobs, in the tables of this number: stay, remains, or the segment itself.
void read_jobs_in(int32 queue, core::SegmentNumber tables, core::JobId first, core::JobId last, VisitJob visit,
				  void *argument);

// The jobs of an ordering key with ids first … last in one segment, by id, as read_jobs finds them.
using VisitKeyedJob = bool (*)(core::JobId id, int priority, void *argument);
void read_jobs_of_key(int32 queue, core::SegmentNumber segment, core::KeyHash key, core::JobId first, core::JobId last,
					  VisitKeyedJob visit, void *argument);

// nullptr: no_key.
core::KeyHash hash_of_key(text const *ordering_key);

// What became of a job so far, from its outcomes other than acks and those of whole runs.
struct History
{
	int failed_attempts; // the highest attempt that failed
	int fresh_from;      // attempts up to this one count no longer: the job was redriven after it
	core::Wall due_at;   // of its next attempt; wall_always: at once
	Outcome last;        // dead or cancelled: finished; else failed or redriven
	bool any;
	core::Wall at; // of the last outcome
	text *worker;  // of the last attempt; palloc'd; nullptr: unknown
	text *detail;  // of the last attempt that failed, or why it was cancelled; palloc'd; nullptr: none

	bool
	is_finished() const
	{
		return any && (last == Outcome::dead || last == Outcome::cancelled);
	}

	// When the job is due that was enqueued to run at this time.
	core::Wall
	due(core::Wall run_at) const
	{
		return any ? due_at : run_at;
	}
};
History read_history(int32 queue, core::JobId id);
History read_history_in(int32 queue, core::SegmentNumber tables, core::JobId id);

// Those outcomes one by one, by ascending attempt.
struct EndedAttempt
{
	int attempt;
	Outcome outcome;
	core::Wall at;
	char const *worker; // palloc'd; nullptr: unknown
	text *detail;       // palloc'd; nullptr: none
};
using VisitAttempt = bool (*)(EndedAttempt const &attempt, void *argument);
void read_attempts(int32 queue, core::JobId id, VisitAttempt visit, void *argument);

// Jobs that died, by ascending id; some live again, and may come more than once.
using VisitId = bool (*)(core::JobId id, void *argument);
void read_dead(int32 queue, core::SegmentNumber tables, core::JobId first, core::JobId last, VisitId visit,
			   void *argument);

// The end of jobs that succeeded or were cancelled: outcomes of whole runs. A job ends once,
// so that no two of them overlap.
struct End
{
	core::JobId first_id;
	core::JobId last_id;
	Outcome outcome;
	int attempt;
	core::Wall at;
	char const *worker; // valid during the visit; nullptr: none
};
using VisitEnd = bool (*)(End const &end, void *argument);
void read_ends(int32 queue, core::SegmentNumber segment, VisitEnd visit, void *argument);

// Those that lie where the job's own should, or that one only. It is mostly found; read_ends tells if it is not.
// Some may be visited twice.
void read_ends_near(int32 queue, core::JobId id, bool only, VisitEnd visit, void *argument);

// The result stored for a job; false: none. The datum is palloc'd.
bool read_result(int32 queue, core::JobId id, Datum *result);
bool read_result_in(int32 queue, core::SegmentNumber tables, core::JobId id, Datum *result);

// Every job of a segment under the active snapshot, in the order of the table.
using VisitHead = void (*)(JobHead const &job, void *argument);
void scan_jobs(int32 queue, core::SegmentNumber segment, VisitHead visit, void *argument);

struct StoredOutcome
{
	core::JobId first_id;
	core::JobId last_id;
	Outcome outcome;
	int attempt;
	core::Wall due_at;
};
using VisitOutcome = bool (*)(StoredOutcome const &outcome, void *argument);
void scan_outcomes(int32 queue, core::SegmentNumber segment, VisitOutcome visit, void *argument);

// Jobs whose run_at, or whose last failed attempt's due_at, is after from and at most to; and the
// earliest such time after to (wall_never: none).
using VisitDue = bool (*)(core::JobId id, core::Wall due, void *argument);
core::Wall read_due(int32 queue, core::SegmentNumber segment, core::Wall from, core::Wall to, VisitDue visit,
					void *argument);

} // namespace onceq::store
