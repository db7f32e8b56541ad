// SPDX-License-Identifier: PostgreSQL
#include <iterator>

#include "worker/chores.hpp"

#include "board/audit.hpp"
#include "board/journal.hpp"
#include "board/upkeep.hpp"
#include "delivery/delivery.hpp"
#include "ledger/ledger.hpp"
#include "worker/archiver.hpp"
#ifdef ONCEQ_TESTING
#include "worker/test_chores.hpp"
#endif

namespace onceq::worker {

namespace {

constexpr Chore chores[] = {
	{"expire leases", Duty::recover, delivery::expire_leases},
	{"promote due jobs", Duty::recover, delivery::promote_due},
	{"move ordering keys on", Duty::recover, delivery::move_keys_on},
	{"prepare room", Duty::maintain, board::keep_room, true},
	{"keep the lease journal", Duty::maintain, board::keep_journal, true},
	{"keep segments", Duty::maintain, board::keep_segments},
	{"start the archiver", Duty::maintain, start_archiver},
	{"forget unique keys", Duty::maintain, delivery::forget_unique_keys},
	{"audit", Duty::maintain, board::audit_boards},
	{"forget old events", Duty::maintain, ledger::forget_old_events},
	{"journal leases at shutdown", Duty::farewell, board::journal_at_shutdown},
#ifdef ONCEQ_TESTING
	{"test stall", Duty::maintain, test_stall},
	{"test failure", Duty::recover, test_failure},
	{"test farewell", Duty::farewell, test_farewell},
#endif
};

static_assert(std::size(chores) <= chores_max);

} // namespace

std::span<Chore const>
all_chores()
{
	return chores;
}

} // namespace onceq::worker
