// SPDX-License-Identifier: PostgreSQL
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/audit.hpp"
#include "delivery/delivery.hpp"

extern "C" {
#include <funcapi.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

namespace {

char const *
state_name(core::JobState state)
{
	switch (state)
	{
		case core::JobState::none:
			return "none";
		case core::JobState::reserved:
			return "reserved";
		case core::JobState::waiting:
			return "scheduled";
		case core::JobState::leased:
			return "running";
		case core::JobState::seized:
			return "seized";
		case core::JobState::blocked:
			return "blocked";
		default:
			return "ready";
	}
}

void
put_difference(board::Difference const &difference, void *argument)
{
	auto *const result = static_cast<ReturnSetInfo *>(argument);
	Datum values[] = {Int64GetDatum(difference.id), CStringGetTextDatum(state_name(difference.board)),
					  CStringGetTextDatum(state_name(difference.stored))};
	bool nulls[lengthof(values)] = {};
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

} // namespace

// audit(queue)
ONCEQ_FUNCTION(onceq_audit)
{
	base::require_writable("onceq.audit()");
	require_argument(fcinfo, 0, "queue");
	InitMaterializedSRF(fcinfo, 0);
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_operator("audit a queue");
	board::audit_board(queue, put_difference, fcinfo->resultinfo);
	PG_RETURN_NULL();
}

} // namespace onceq::delivery
