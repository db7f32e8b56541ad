// SPDX-License-Identifier: PostgreSQL
// What a statement costs those who wait for the board, for tests. Testing builds only.
#ifdef ONCEQ_TESTING

#include "base/wall.hpp"
#include "board/board.hpp"

namespace onceq::delivery {

// holds() returns bigint: how often this session has held the lock of a board
ONCEQ_FUNCTION(onceq_test_holds)
{
	(void)fcinfo;
	PG_RETURN_INT64(board::holds_so_far());
}

} // namespace onceq::delivery

#endif
