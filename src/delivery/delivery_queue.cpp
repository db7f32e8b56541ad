// SPDX-License-Identifier: PostgreSQL
// A queue comes and goes, and what is done to all its jobs at once.
#include "base/require.hpp"
#include "base/wall.hpp"
#include "board/transaction.hpp"
#include "delivery/delivery.hpp"
#include "notify/notify.hpp"
#include "store/store.hpp"

namespace onceq::delivery {

namespace {

// A blocked job may be dead; then its own history has to say that it is cancelled, or a redrive would not know.
void
cancel_run(core::Seized const &seized, void *argument)
{
	core::JobId const step = seized.origin == core::JobState::blocked ? 1 : seized.last - seized.first + 1;
	for (core::JobId id = seized.first; id <= seized.last; id += step)
	{
		store::NewOutcome row{};
		row.first_id = id;
		row.last_id = id + step - 1;
		row.outcome = store::Outcome::cancelled;
		store::append_outcomes(*static_cast<int32 *>(argument), &row, 1);
	}
}

constexpr int if_not_exists = 1 + catalog::option_count; // argument of create_queue

void
report_existing(text const *name, bool is_error)
{
	int const length = VARSIZE_ANY_EXHDR(name);
	if (is_error)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("queue \"%.*s\" already exists", length, VARDATA_ANY(name))));
	ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("queue \"%.*s\" already exists, skipping", length, VARDATA_ANY(name))));
}

} // namespace

// create_queue(queue, options …, if_not_exists)
ONCEQ_FUNCTION(onceq_create_queue)
{
	base::require_writable("onceq.create_queue()");
	catalog::require_administrator("create a queue");
	require_argument(fcinfo, 0, "queue");
	require_argument(fcinfo, if_not_exists, "if_not_exists");
	catalog::Options const options = catalog::options_argument(fcinfo, 1, true);
	text const *const name = PG_GETARG_TEXT_PP(0);
	catalog::check_dead_letter_queue(name, options);

	int32 const id = catalog::create_queue(name, options);
	if (id == 0)
	{
		report_existing(name, !PG_GETARG_BOOL(if_not_exists));
		PG_RETURN_VOID();
	}
	store::create_segment(id, 0);
	// The board is built here and now, where no id can have been given out: so the first is 1.
	catalog::Queue const queue = *catalog::find_queue(id);
	board::open(queue);
	notify::wake_worker(MyDatabaseId);
	PG_RETURN_VOID();
}

// drop_queue(queue, if_exists)
ONCEQ_FUNCTION(onceq_drop_queue)
{
	base::require_writable("onceq.drop_queue()");
	require_argument(fcinfo, 0, "queue");
	catalog::require_administrator("drop a queue");
	text const *const name = PG_GETARG_TEXT_PP(0);
	bool const if_exists = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	if (if_exists && catalog::find_live_queue(name) == nullptr)
	{
		ereport(NOTICE, (errmsg("queue \"%s\" does not exist, skipping", text_to_cstring(name))));
		PG_RETURN_VOID();
	}
	catalog::Queue const queue = catalog::lock_queue(name);
	if (board::Handle board; board::find(queue, board))
		board::change_at_commit(board, board::Change::queue_dropped, 0);
	catalog::mark_dropped(queue.id);
	PG_RETURN_VOID();
}

// purge_queue(queue) returns bigint
ONCEQ_FUNCTION(onceq_purge_queue)
{
	base::require_writable("onceq.purge_queue()");
	require_argument(fcinfo, 0, "queue");
	catalog::Queue const queue = catalog::find_queue(PG_GETARG_TEXT_PP(0));
	catalog::require_privilege(queue, catalog::may_purge);
	int32 id = queue.id;
	core::JobId const last = PG_INT64_MAX;
	int64 purged = board::seize_jobs(queue, core::JobState::waiting, 1, last, cancel_run, &id);
	for (int priority = 0; priority <= core::priority_max; priority++)
		purged += board::seize_jobs(queue, core::ready_at(priority), 1, last, cancel_run, &id);
	purged += board::seize_jobs(queue, core::JobState::blocked, 1, last, cancel_run, &id);
	PG_RETURN_INT64(purged);
}

} // namespace onceq::delivery
