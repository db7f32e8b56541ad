// SPDX-License-Identifier: PostgreSQL
// Entering appended rows in indexes, without the executor.
#pragma once

#include <array>
#include <initializer_list>

#include "base/postgres.hpp"
#include "base/scope.hpp"

extern "C" {
#include <executor/tuptable.h>
#include <nodes/execnodes.h>
#include <utils/rel.h>
}

namespace onceq::store {

inline constexpr int index_keys_max = 2;
using Keys = std::array<Datum, index_keys_max>; // none is null

// One index, opened for a batch of insertions when the first row of it belongs there.
class Index : base::NotCopyable
{
  public:
	explicit Index(Oid oid) : oid_(oid), context_(CurrentMemoryContext) {}
	~Index();

	void
	insert(Relation heap, ItemPointer tid, Datum key)
	{
		insert(heap, tid, {key, Datum{0}});
	}

	void insert(Relation heap, ItemPointer tid, Keys const &keys);

  private:
	void open();

	Oid oid_;
	MemoryContext context_; // outlives the batch
	Relation relation_ = nullptr;
	IndexInfo *info_ = nullptr;
};

// Indexes of a table beside those that its rows are entered in one by one: what REINDEX CONCURRENTLY or a
// superuser makes. Mostly there are none. A row left out of one would be lost when it takes the old one's place.
class OtherIndexes : base::NotCopyable
{
  public:
	OtherIndexes(Relation heap, std::initializer_list<Oid> known);
	~OtherIndexes();

	// The row is stored already, at its slot's tid.
	void
	insert(TupleTableSlot *slot)
	{
		if (count_ > 0)
			insert_into_all(slot);
	}

	void
	insert(HeapTuple tuple)
	{
		if (count_ > 0)
			insert_into_all(ExecStoreHeapTuple(tuple, slot_, false));
	}

  private:
	struct Other
	{
		Relation relation;
		IndexInfo *info;
		ExprState *predicate; // nullptr: all rows
	};

	void open(Oid oid);
	void insert_into_all(TupleTableSlot *slot);

	Relation heap_;
	Other *other_ = nullptr;
	int count_ = 0;
	EState *estate_ = nullptr;
	TupleTableSlot *slot_ = nullptr;
};

} // namespace onceq::store
