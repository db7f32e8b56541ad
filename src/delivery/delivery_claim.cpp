// SPDX-License-Identifier: PostgreSQL
// claim: take ready jobs (under B), fetch their rows with a current look, prove them (under B), hand
// them over. Writes nothing: no transaction id, no WAL, no row lock.
#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/require.hpp"
#include "base/settings.hpp"
#include "base/wall.hpp"
#include "board/journal.hpp"
#include "board/transaction.hpp"
#include "board/waiters.hpp"
#include "delivery/delivery.hpp"
#include "delivery/keys.hpp"
#include "delivery/time_limits.hpp"
#include "store/store.hpp"

extern "C" {
#include <access/detoast.h>
#include <access/transam.h>
#include <access/xact.h>
#include <funcapi.h>
#include <mb/pg_wchar.h>
#include <utils/memutils.h>
#include <utils/snapmgr.h>
#include <utils/tuplestore.h>
}

namespace onceq::delivery {

namespace {

enum ClaimColumn
{
	claim_queue, // of onceq.claim_any() only
	claim_id,
	claim_token,
	claim_attempt,
	claim_payload,
	claim_headers,
	claim_priority,
	claim_enqueued_at,
	claim_lease_until,
	claim_ordering_key,
	claim_column_count
};

// A claim looks at no more keys before it hands over what it has.
constexpr int looks_per_claim = 64;

struct Claim
{
	ClaimRequest const &request;
	catalog::Queue const &queue;
	ReturnSetInfo *result;
	bool names_queue;
	board::Handle board;
	board::Entry *entry;
	core::LeaseSlot *lease; // nullptr: nothing was ready
	core::Token token;
	core::Microseconds span;
	core::Wall watermark; // when the jobs were taken, or the time if that is later
	core::Wall lease_until;
	TimeLimits limits;      // of the jobs returned
	core::JobSet historied; // jobs with outcomes to look up
	core::JobSet present;   // jobs whose rows were found
	core::Findings findings;
	Snapshot fixed_snapshot; // nullptr: READ COMMITTED
	core::LeasedIds run;     // being read
	store::History history;  // of its job, if it has one
	int reading;             // number of the job whose row is read or comes next
	int returned;
	int *attempt_of_run; // of runs with a history
	int freed;           // jobs that left the lease and that waiting claims may take
	int passed_over;     // jobs whose ordering key is busy
	bool out_of_memory;  // or there would have been more
	bool keys_wait;      // to be looked at, when jobs were taken last
	MemoryContext row_context;
};

core::LeaseHolder
holder_of(Claim const &claim)
{
	ClaimRequest const &request = claim.request;
	core::LeaseHolder holder{};
	holder.process = MyProcPid;
	holder.role = GetUserId();
	holder.hold = request.hold;
	holder.span = claim.span;
	holder.claimed_at = base::now_wall();
	// Cut between characters: half a one would spoil every text it gets into.
	int const length = pg_mbcliplen(request.worker, static_cast<int>(strlen(request.worker)),
									static_cast<int>(sizeof(holder.worker)) - 1);
	memcpy(holder.worker, request.worker, length);
	return holder;
}

void
note_histories(core::Board const &board, Claim &claim, int from_run)
{
	core::LeaseRuns const runs = core::runs_of(board::pool(), *claim.lease);
	for (int i = from_run; i < runs.run_count; i++)
		if (core::LeasedIds const run = runs.at(i); board.map.history(board::pool(), run.first))
			claim.historied.add(run.job);
}

// One queue cannot take the leases of all.
int
leases_max()
{
	std::int64_t const share = std::int64_t{base::settings.lease_slots} * base::settings.queue_lease_share / 100;
	return static_cast<int>(Max(share, std::int64_t{1}));
}

// Jobs whose time came before their commit are ready although they are due above the watermark. To be
// called after the jobs were taken: a commit that came before the taking read the clock before that.
void
note_time(Claim &claim)
{
	claim.watermark = Max(claim.watermark, base::now_wall());
}

// The first hold of B: ready → leased, slot PROVISIONAL, new token.
int
take_jobs(Claim &claim)
{
	core::LeaseHolder const holder = holder_of(claim);
	std::uint64_t const random = board::random_bits();
	core::Limits const limits = limits_of(claim.queue);
	core::Monotonic const now = base::now_monotonic();
	core::Refusal refusal = core::Refusal::not_standing;
	bool no_slot = false;
	int taken = 0;
	{
		board::Locked board(claim.board.index);
		if (board.stands_for(claim.board.key))
		{
			refusal = core::Refusal::none;
			claim.watermark = board->watermark;
			claim.keys_wait = board->keys.waiting() > 0;
			int const count =
				core::ready_count(*board) > 0 ? core::allowed(*board, limits, claim.request.count, now) : 0;
			if (count > 0)
			{
				claim.lease =
					core::open_lease(*board, board::leases(), claim.board.index, random, holder, leases_max());
				no_slot = claim.lease == nullptr;
			}
			if (claim.lease != nullptr)
			{
				claim.token = claim.lease->token.load(std::memory_order_relaxed);
				board::set_token(claim.entry, claim.token);
				taken =
					core::take(*board, board::pool(), *claim.lease, count, refusal, {claim.queue.priority_ageing, now});
				note_histories(*board, claim, 0);
				if (taken == 0)
					core::close_lease(*board, board::pool(), board::leases(), *claim.lease);
			}
		}
	}
	if (refusal == core::Refusal::not_standing)
		board::raise_no_such_queue(claim.queue);
	if (taken == 0 && refusal == core::Refusal::no_memory)
		board::raise_no_state_memory();
	if (no_slot)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many leases of queue \"%s\" are held", claim.queue.name),
						errhint("Claim more jobs at once, or increase onceq.lease_slots or"
								" onceq.queue_lease_share.")));
	return taken;
}

// Takes more to make up for jobs that are not handed over; returns how many.
int
take_more(Claim &claim, int wanted)
{
	core::Limits const limits = limits_of(claim.queue);
	core::Monotonic const now = base::now_monotonic();
	core::Refusal refusal;
	board::Locked board(claim.board.index);
	if (!board.stands_for(claim.board.key))
		return 0;
	int const room = Min(wanted, core::lease_jobs_max - claim.lease->job_count);
	int const from_run = claim.lease->run_count;
	int const taken = core::take(*board, board::pool(), *claim.lease, core::allowed(*board, limits, room, now), refusal,
								 {claim.queue.priority_ageing, now});
	claim.out_of_memory |= refusal == core::Refusal::no_memory;
	note_histories(*board, claim, from_run);
	claim.keys_wait = board->keys.waiting() > 0;
	return taken;
}

void
put_row(Claim &claim, store::Job const &job, int attempt)
{
	base::MemoryContextScope const memory(claim.row_context);
	Datum values[claim_column_count];
	bool nulls[claim_column_count] = {};
	values[claim_id] = Int64GetDatum(job.id);
	values[claim_token] = Int64GetDatum(claim.token);
	values[claim_attempt] = Int32GetDatum(attempt);
	// Here, where the failure to read one job can be told from that of the others.
	values[claim_payload] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(job.payload));
	values[claim_headers] = job.has_headers ? PointerGetDatum(PG_DETOAST_DATUM_PACKED(job.headers)) : Datum{0};
	nulls[claim_headers] = !job.has_headers;
	values[claim_priority] = Int32GetDatum(job.priority);
	values[claim_enqueued_at] = TimestampTzGetDatum(job.enqueued_at.us);
	values[claim_lease_until] = TimestampTzGetDatum(claim.lease_until.us);
	values[claim_ordering_key] = PointerGetDatum(job.ordering_key);
	nulls[claim_ordering_key] = job.ordering_key == nullptr;
	if (claim.names_queue)
		values[claim_queue] = CStringGetTextDatum(claim.queue.name);
	int const first = claim.names_queue ? claim_queue : claim_id;
	tuplestore_putvalues(claim.result->setResult, claim.result->setDesc, values + first, nulls + first);
	MemoryContextReset(claim.row_context);
	claim.returned++;
}

// The first job to be returned decides on the limits of the lease.
bool
fits_limits(Claim &claim, store::Job const &job)
{
	TimeLimits const limits = time_limits_of(claim.queue, job.options);
	if (claim.returned > 0)
		return limits == claim.limits;
	claim.limits = limits;
	claim.lease_until = base::now_wall() + (limits.hard > 0 ? Min(claim.span, limits.hard) : claim.span);
	return true;
}

// A job with an ordering key is handed over if it is its turn.
bool
is_its_turn(Claim &claim, store::Job const &job, int number)
{
	core::Turn const turn = take_turn(claim.queue, claim.board, *claim.lease, claim.token, number, job);
	claim.passed_over += turn == core::Turn::busy;
	if (turn == core::Turn::refused)
	{
		claim.findings.unseen.add(number);
		claim.out_of_memory = true;
	}
	return turn == core::Turn::granted;
}

bool
visit_job(store::Job const &job, void *argument)
{
	Claim &claim = *static_cast<Claim *>(argument);
	int const number = claim.run.job + static_cast<int>(job.id - claim.run.first);
	claim.reading = number;

	bool const visible = claim.fixed_snapshot == nullptr || !TransactionIdIsNormal(job.xmin) ||
						 !XidInMVCCSnapshot(job.xmin, claim.fixed_snapshot);
	store::History const &history = claim.history;
	core::Wall const due = history.due(job.run_at);
	if (history.is_finished())
		return true; // absent
	claim.present.add(number);
	if (due > claim.watermark)
	{
		claim.findings.early.add(number);
		claim.findings.earliest_due = Min(claim.findings.earliest_due, due);
	}
	else if (!visible || !fits_limits(claim, job))
		claim.findings.unseen.add(number);
	else if (job.ordering_key == nullptr || is_its_turn(claim, job, number))
		put_row(claim, job, claim.run.attempt);
	claim.reading = number + 1;
	return true;
}

void
read_runs(Claim &claim, int from_run)
{
	core::LeaseRuns const runs = core::runs_of(board::pool(), *claim.lease);
	for (int i = from_run; i < runs.run_count; i++)
	{
		claim.run = runs.at(i);
		claim.reading = claim.run.job;
		claim.history = store::History{};
		if (claim.historied.contains(claim.run.job)) // the only one of its run
		{
			claim.history = store::read_history(claim.queue.id, claim.run.first);
			claim.run.attempt = claim.history.failed_attempts + 1;
		}
		claim.attempt_of_run[i] = claim.run.attempt;
		store::read_jobs(claim.queue.id, claim.run.first, claim.run.last, visit_job, &claim);
	}
}

// Whether the error says that stored data cannot be read, and not that the claim was interrupted.
bool
is_unreadable_error()
{
	int const category = ERRCODE_TO_CATEGORY(geterrcode());
	return category == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR) ||
		   category == ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR);
}

// So that this attempt of the job, whichever it is, counts as a failed one.
void
note_unreadable(Claim &claim)
{
	board::set_unreadable(claim.entry, claim.reading);
	board::Locked board(claim.board.index);
	if (!core::owns(*claim.lease, claim.token))
		return;
	core::LeaseRuns const runs = core::runs_of(board::pool(), *claim.lease);
	for (int i = 0; i < runs.run_count; i++)
		if (runs.at(i).job == claim.reading && claim.historied.contains(claim.reading))
			core::set_attempt(board::pool(), *claim.lease, i, claim.attempt_of_run[i]);
}

void
fetch(Claim &claim)
{
	PG_TRY();
	{
		read_runs(claim, 0);
		while (claim.returned < claim.request.count && (claim.returned < claim.lease->job_count || claim.keys_wait))
		{
			if (claim.keys_wait)
				look_at_keys(claim.queue, claim.board, looks_per_claim);
			int const from_run = claim.lease->run_count;
			if (take_more(claim, claim.request.count - claim.returned) == 0 && !claim.keys_wait)
				break;
			note_time(claim);
			read_runs(claim, from_run);
		}
	}
	PG_CATCH();
	{
		if (is_unreadable_error() && claim.reading < claim.lease->job_count)
			note_unreadable(claim);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

// Requires: B.
void
hand_over(core::Board &board, Claim &claim)
{
	core::Monotonic const now = base::now_monotonic();
	core::begin_limits(*claim.lease, now);
	core::hold(board, *claim.lease, now + claim.span);
}

// The second hold of B: what was not found, is not due or may not be seen leaves the lease; the rest
// is HELD, unless its lease has to be durable first. False: the lease is gone, because the
// queue was dropped, which only a lock on a segment, taken for the first row, would have put off.
bool
settle(Claim &claim, bool &durable)
{
	core::LeaseSlot &lease = *claim.lease;
	board::Locked board(claim.board.index);
	if (!core::owns(lease, claim.token))
		return false;
	claim.findings.absent = core::JobSet::first(lease.job_count) - claim.present;
	core::LeaseRuns const runs = core::runs_of(board::pool(), lease);
	for (int i = 0; i < runs.run_count; i++)
	{
		core::LeasedIds const run = runs.at(i);
		if (claim.historied.contains(run.job))
			core::set_attempt(board::pool(), lease, i, claim.attempt_of_run[i]);
		durable |= board::is_suspicious(*board, run.first);
	}
	core::settle(*board, board::pool(), lease, claim.findings);
	claim.freed = board->ends_are_awaited ? lease.job_count - claim.returned : claim.findings.unseen.size();
	claim.freed += board->keys.waiting();
	lease.holder.soft_time_limit = claim.limits.soft;
	lease.holder.hard_time_limit = claim.limits.hard;
	durable &= claim.returned > 0;
	if (lease.held.empty())
		core::close_lease(*board, board::pool(), board::leases(), lease);
	else if (durable)
		lease.journal.store(core::LeaseJournal::wanted, std::memory_order_release);
	else
		hand_over(*board, claim);
	return true;
}

void
hold_when_journalled(Claim &claim)
{
	board::wait_until_journalled(claim.board, claim.token);
	board::Locked board(claim.board.index);
	if (core::owns(*claim.lease, claim.token))
		hand_over(*board, claim);
}

// What came of one lease: the number of jobs returned; passed_over: or others may be claimable.
int
claim_once(FunctionCallInfo fcinfo, ClaimRequest const &request, catalog::Queue const &queue, bool &passed_over)
{
	Claim claim{request, queue, reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo)};
	claim.names_queue = claim.result->setDesc->natts == claim_column_count;
	claim.span = request.span != 0 ? request.span : queue.lease;
	claim.board = board::open(queue);
	claim.entry = board::begin_claim(claim.board);
	while (take_jobs(claim) == 0)
	{
		if (!claim.keys_wait || look_at_keys(queue, claim.board, looks_per_claim) == 0)
			return 0;
		claim.lease = nullptr;
	}
	note_time(claim);
	claim.findings.earliest_due = core::wall_never;
	claim.fixed_snapshot = IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : nullptr;
	claim.attempt_of_run = static_cast<int *>(palloc0(sizeof(int) * core::lease_runs_max));
	claim.row_context = AllocSetContextCreate(CurrentMemoryContext, "onceq claim", ALLOCSET_DEFAULT_SIZES);
	FAULT_POINT("claim: after flip");
	fetch(claim);
	FAULT_POINT("claim: after fetch");
	bool durable = queue.durable_leases;
	if (!settle(claim, durable))
		board::raise_no_such_queue(queue);
	board::wake_claimers(claim.board.index, claim.freed);
	if (durable)
		hold_when_journalled(claim);
	FAULT_POINT("claim: after hold");
	MemoryContextDelete(claim.row_context);
	passed_over = claim.passed_over > 0;
	if (claim.returned == 0 && claim.out_of_memory && !passed_over)
		board::raise_no_state_memory();
	return claim.returned;
}

} // namespace

int
claim_now(FunctionCallInfo fcinfo, ClaimRequest const &request, catalog::Queue const &queue)
{
	for (;;)
	{
		bool passed_over = false;
		int const returned = claim_once(fcinfo, request, queue, passed_over);
		if (returned > 0 || !passed_over)
			return returned;
		CHECK_FOR_INTERRUPTS();
	}
}

} // namespace onceq::delivery
