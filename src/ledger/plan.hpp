// SPDX-License-Identifier: PostgreSQL
// Fixed statements on the ledger, planned once in a session: a mark is called once per event.
#pragma once

#include "base/owner.hpp"
#include "base/postgres.hpp"
#include "base/scope.hpp"

namespace onceq::ledger {

struct Plan
{
	char const *sql;
	int count; // of parameters
	Oid type[4];
	SPIPlanPtr kept;
};

// As onceq_owner, connected to SPI, until finish(), which the caller calls before it returns.
class Execution : base::NotCopyable
{
  public:
	// Sees what this transaction sees: its snapshot is fixed in REPEATABLE READ, where a row that
	// it cannot see and that is in the way is 40001.
	Execution(Plan &plan, Datum *values, char const *nulls = nullptr);

	uint64
	rows() const
	{
		return SPI_processed;
	}

	// A column of a row that was returned; not null. Valid until finish().
	Datum value(uint64 row, int column) const;

	void
	finish()
	{
		owner_.finish();
	}

  private:
	base::AsOwner owner_;
	base::SpiScope spi_;
};

} // namespace onceq::ledger
