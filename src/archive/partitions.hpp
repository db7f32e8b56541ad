// SPDX-License-Identifier: PostgreSQL
// Old partitions of a source that is partitioned by its age column: moved or dropped whole.
//
//   noted ──► detached (pending ──► finalized) ──► attached to the archive, or dropped; the note goes
//
// The note, a row of onceq.archive_partition, is committed before the partition is detached: so one that is in
// neither table, because something failed in between, is found again.
#pragma once

#include "archive/policy.hpp"
#include "archive/tables.hpp"

namespace onceq::archive {

enum class Move
{
	none, // no partition is old enough
	detach,
	finalize, // what a detach has left half done
	hand_over,
};

struct PartitionMove
{
	Move move;
	Oid partition;
	bool may_wait; // it can be detached concurrently: without a lock that keeps others waiting
	char const *bounds;
};

// Whether partitions are moved whole: the source is partitioned by age, and the archive, if there is one, too.
bool moves_partitions(Policy const &policy, Source const &source);

// The default partition, whose rows may have any age; InvalidOid: none.
Oid default_partition_of(Source const &source);

// What is to be done next, noted. Requires: a transaction of its own. Palloc'd.
PartitionMove next_move(Policy const &policy, Source const &source, Datum cutoff);

// ALTER TABLE … DETACH PARTITION …, palloc'd.
char *detach_command(Source const &source, PartitionMove const &move, bool concurrently);

// Each in a transaction, as the policy's role, and not for long if somebody has a lock. hand_over takes the
// note away.
void detach(Policy const &policy, Source const &source, PartitionMove const &move);
void hand_over(Policy const &policy, Source const &source, PartitionMove const &move);

} // namespace onceq::archive
