// SPDX-License-Identifier: PostgreSQL
// The closed list of objects with a destructor that may be alive while PostgreSQL raises an error.
// Each guards something that PostgreSQL itself releases when the transaction aborts, so that a
// destructor skipped by siglongjmp loses nothing.
#pragma once

#include <type_traits>

#include "base/postgres.hpp"

extern "C" {
#include <access/relation.h>
#include <access/table.h>
#include <executor/spi.h>
#include <utils/memutils.h>
#include <utils/snapmgr.h>
}

namespace onceq::base {

class NotCopyable
{
  public:
	NotCopyable() = default;
	NotCopyable(NotCopyable const &) = delete;
	NotCopyable &operator=(NotCopyable const &) = delete;
};

// On ERROR: every handler sets a context of its own.
class MemoryContextScope : NotCopyable
{
  public:
	explicit MemoryContextScope(MemoryContext context) : outer_(MemoryContextSwitchTo(context)) {}
	~MemoryContextScope() { MemoryContextSwitchTo(outer_); }

	MemoryContext
	outer() const
	{
		return outer_;
	}

  private:
	MemoryContext outer_;
};

// On ERROR: LWLockReleaseAll. While one lives only noexcept code of ours runs, so that there is none.
class LWLockScope : NotCopyable
{
  public:
	LWLockScope(LWLock *lock, LWLockMode mode) : lock_(lock) { LWLockAcquire(lock, mode); }
	~LWLockScope() { LWLockRelease(lock_); }

  private:
	LWLock *lock_;
};

// On ERROR: the resource owner closes the relation and the transaction releases the lock.
// The lock is kept until the transaction ends.
class RelationScope : NotCopyable
{
  public:
	RelationScope(Oid relation, LOCKMODE mode) : relation_(relation_open(relation, mode)) {}
	~RelationScope() { relation_close(relation_, NoLock); }

	operator Relation() const { return relation_; }
	Relation
	operator->() const
	{
		return relation_;
	}

  private:
	Relation relation_;
};

// On ERROR: the resource owner unregisters the snapshot and abort pops it.
class SnapshotScope : NotCopyable
{
  public:
	explicit SnapshotScope(Snapshot snapshot) { PushActiveSnapshot(snapshot); }
	~SnapshotScope() { PopActiveSnapshot(); }
};

// On ERROR: AtEOXact_SPI or AtEOSubXact_SPI.
class SpiScope : NotCopyable
{
  public:
	SpiScope() { SPI_connect(); }
	~SpiScope() { SPI_finish(); }
};

} // namespace onceq::base
