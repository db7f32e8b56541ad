// SPDX-License-Identifier: PostgreSQL
// A board that is wrong, for tests of what finds and repairs it. Testing builds only.
#ifdef ONCEQ_TESTING

#include "base/wall.hpp"
#include "delivery/delivery.hpp"

namespace onceq::delivery {

namespace {

core::JobState
state_of(char const *name)
{
	if (strcmp(name, "none") == 0)
		return core::JobState::none;
	if (strcmp(name, "scheduled") == 0)
		return core::JobState::waiting;
	return core::JobState::ready_lowest;
}

} // namespace

// spoil(queue text, id bigint, state text): the board now says that the job is in this state.
ONCEQ_FUNCTION(onceq_test_spoil)
{
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	core::JobId const id = PG_GETARG_INT64(1);
	core::JobState const state = state_of(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	board::Handle const handle = board::open(queue);
	board::Locked board(handle.index);
	board->map.store(board::pool(), id, id);
	board->map.move(board::pool(), id, id, board->map.state(board::pool(), id), state);
	PG_RETURN_VOID();
}

} // namespace onceq::delivery

#endif
