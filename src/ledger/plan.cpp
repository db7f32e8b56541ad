// SPDX-License-Identifier: PostgreSQL
#include "ledger/plan.hpp"

extern "C" {
#include <utils/guc.h>
}

namespace onceq::ledger {

namespace {

// Not for its speed, but because statistics may be those of an empty table still.
void
avoid_table_scans()
{
	set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

} // namespace

Execution::Execution(Plan &plan, Datum *values, char const *nulls)
{
	avoid_table_scans();
	if (plan.kept == nullptr)
	{
		SPIPlanPtr const made = SPI_prepare(plan.sql, plan.count, plan.type);
		if (made == nullptr)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_keepplan failed");
		plan.kept = made;
	}
	int const result = SPI_execute_plan(plan.kept, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
}

Datum
Execution::value(uint64 row, int column) const
{
	bool is_null;
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &is_null);
}

} // namespace onceq::ledger
