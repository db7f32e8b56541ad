// SPDX-License-Identifier: PostgreSQL
#include "core/frame_pool.hpp"

#include <new>
#include <unistd.h>

#include "base/clock.hpp"
#include "base/errcode.hpp"
#include "base/settings.hpp"
#include "board/board.hpp"
#include "board/build.hpp"
#include "board/effects.hpp"
#include "board/transaction.hpp"

extern "C" {
#include <access/xlog.h>
#include <catalog/pg_control.h>
#include <common/controldata_utils.h>
#include <postmaster/bgworker.h>
#include <storage/ipc.h>
#include <utils/timeout.h>
#include <utils/wait_event.h>
}

namespace onceq::board {

namespace {

// Where a board is, and how to wait for it. The ConditionVariable needs no lock; core::Board is under B.
struct Place
{
	core::Board board;
	ConditionVariable changed;
};

// At the start of our shared memory; places, pool and leases follow. Written at start only.
struct Shared
{
	std::uint32_t places;
	bool unclean; // the server did not stop cleanly before this start, or takes over from a primary
};

constinit Shared *shared = nullptr;
constinit Place *place = nullptr;
constinit core::FramePool *frame_pool = nullptr;
constinit core::LeaseTable *lease_table = nullptr;
constinit LWLockPadded *locks = nullptr;

// How long a session waits while another builds a board.
constexpr core::Microseconds building_wait = 60 * core::microseconds_per_second;

std::uint32_t
frame_count()
{
	return static_cast<std::uint32_t>(Size{1024} * base::settings.state_memory_kb / core::frame_size);
}

Size
shared_size()
{
	return MAXALIGN(sizeof(Shared));
}

Size
places_size()
{
	return MAXALIGN(mul_size(base::settings.max_queues, sizeof(Place)));
}

Size
pool_size()
{
	return CACHELINEALIGN(core::FramePool::size_for(frame_count()));
}

Size
leases_size()
{
	return CACHELINEALIGN(core::LeaseTable::size_for(base::settings.lease_slots, base::settings.progress_slots));
}

Size
total_size()
{
	return add_size(add_size(CACHELINEALIGN(add_size(shared_size(), places_size())), pool_size()), leases_size());
}

int
lock_count()
{
	return base::settings.max_queues + 1; // and the one of the registry
}

// Whether the server stopped without a checkpoint, or takes over from a primary.
bool
start_is_unclean()
{
	bool crc_ok = false;
	ControlFileData *const control = get_controlfile(DataDir, &crc_ok);
	bool const unclean = !crc_ok || control->state != DB_SHUTDOWNED;
	pfree(control);
	return unclean || access(STANDBY_SIGNAL_FILE, F_OK) == 0 || access(RECOVERY_SIGNAL_FILE, F_OK) == 0;
}

void
attach(void *memory)
{
	char *at = static_cast<char *>(memory);
	shared = reinterpret_cast<Shared *>(at);
	place = reinterpret_cast<Place *>(at + shared_size());
	at += CACHELINEALIGN(shared_size() + places_size());
	frame_pool = reinterpret_cast<core::FramePool *>(at);
	at += pool_size();
	lease_table = reinterpret_cast<core::LeaseTable *>(at);
	locks = GetNamedLWLockTranche(shmem_item.name);
}

void
initialise(void *)
{
	shared->places = base::settings.max_queues;
	shared->unclean = start_is_unclean();
	for (std::uint32_t i = 0; i < shared->places; i++)
	{
		core::Board *const board = new (&place[i].board) core::Board;
		board->key = core::BoardKey{};
		board->phase = core::BoardPhase::free;
		ConditionVariableInit(&place[i].changed);
	}
	core::FramePool::create(frame_pool, frame_count());
	core::LeaseTable::create(lease_table, base::settings.lease_slots, base::settings.progress_slots);
}

LWLock *
registry_lock()
{
	return &locks[shared->places].lock;
}

core::BoardKey
key_of(catalog::Queue const &queue)
{
	return {MyDatabaseId, queue.id, queue.incarnation};
}

constexpr std::uint32_t no_place = 0xFFFF'FFFF;

// Requires: the registry lock.
std::uint32_t
find_place(core::BoardKey const &key)
{
	for (std::uint32_t i = 0; i < shared->places; i++)
		if (place[i].board.phase != core::BoardPhase::free && place[i].board.key == key)
			return i;
	return no_place;
}

// The board's place, newly taken if it has none; mine: to be built by the caller.
std::uint32_t
take_place(core::BoardKey const &key, bool &mine)
{
	base::LWLockScope registry(registry_lock(), LW_EXCLUSIVE);
	mine = false;
	std::uint32_t const found = find_place(key);
	if (found != no_place)
		return found;
	for (std::uint32_t i = 0; i < shared->places; i++)
	{
		Locked board(i);
		if (board->phase != core::BoardPhase::free)
			continue;
		core::begin_building(*board, key);
		mine = true;
		return i;
	}
	return no_place;
}

void
give_up_building(int, Datum place_index)
{
	std::uint32_t const index = DatumGetUInt32(place_index);
	{
		base::LWLockScope registry(registry_lock(), LW_EXCLUSIVE);
		Locked board(index);
		free_leases(index);
		core::free_board(*board, pool());
	}
	ConditionVariableBroadcast(&place[index].changed);
}

void
build(Handle const &handle, catalog::Queue const &queue)
{
	// However long it takes: without the board nobody can work. A request to stop still ends it.
	if (MyBgworkerEntry != nullptr)
		disable_timeout(STATEMENT_TIMEOUT, false);
	// Of a FATAL error too, which PG_CATCH would not see: the others would wait for ever.
	PG_ENSURE_ERROR_CLEANUP(give_up_building, UInt32GetDatum(handle.index));
	{
		build_board(place[handle.index].board, handle.index, queue);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up_building, UInt32GetDatum(handle.index));
	if (queue.created_here)
		free_board_at_abort(handle);
	ConditionVariableBroadcast(&place[handle.index].changed);
}

// Waits until the board stands; false: it does not any more, or its builder gave up.
bool
wait_until_built(Handle const &handle)
{
	core::Monotonic const deadline = base::now_monotonic() + building_wait;
	ConditionVariablePrepareToSleep(&place[handle.index].changed);
	for (bool in_time = true;;)
	{
		core::BoardPhase phase;
		bool same;
		{
			Locked board(handle.index, LW_SHARED);
			phase = board->phase;
			same = board->key == handle.key;
		}
		if (!same || phase != core::BoardPhase::building)
		{
			ConditionVariableCancelSleep();
			return same && phase == core::BoardPhase::standing;
		}
		if (!in_time)
			ereport(ERROR, (errcode(ERRCODE_ONCEQ_BOARD_BUILDING),
							errmsg("the state of the queue is still being rebuilt"), errhint("Try again.")));
		in_time = wait_for_change(handle.index, deadline);
	}
}

// What this backend found last, so that the registry is seldom searched.
struct Known
{
	core::BoardKey key;
	std::uint32_t index;
};
constexpr int known_size = 16;
constinit Known known[known_size] = {};

} // namespace

base::ShmemItem const shmem_item{"onceq_board", total_size, initialise, attach, lock_count};

bool
try_open(catalog::Queue const &queue, Handle &handle)
{
	core::BoardKey const key = key_of(queue);
	Known &memory = known[static_cast<std::uint32_t>(queue.id) % known_size];
	// Unlocked: whoever takes B looks again.
	if (memory.key == key && place[memory.index].board.key == key &&
		place[memory.index].board.phase == core::BoardPhase::standing)
	{
		handle = {memory.index, key};
		return true;
	}
	for (int tries = 0; tries < 10 && !queue.dropped; tries++)
	{
		bool mine;
		std::uint32_t const index = take_place(key, mine);
		if (index == no_place)
			ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("too many queues are in use"),
							errhint("Increase onceq.max_queues and restart the server.")));
		handle = {index, key};
		if (mine)
			build(handle, queue);
		else if (!wait_until_built(handle))
			continue;
		memory = {key, index};
		return true;
	}
	return false;
}

Handle
open(catalog::Queue const &queue)
{
	Handle handle;
	if (!try_open(queue, handle))
		raise_no_such_queue(queue);
	return handle;
}

bool
find(catalog::Queue const &queue, Handle &handle)
{
	base::LWLockScope registry(registry_lock(), LW_SHARED);
	handle = {find_place(key_of(queue)), key_of(queue)};
	return handle.index != no_place;
}

void
reap_boards(Oid database, QueueExists exists)
{
	for (std::uint32_t i = 0; i < shared->places; i++)
	{
		core::BoardKey key;
		{
			Locked board(i, LW_SHARED);
			key = board->key;
			// Not provisional: its queue's row is committed, or was, before we look for it.
			if (key.database != database || board->provisional || board->phase == core::BoardPhase::building)
				continue;
		}
		if (exists != nullptr && exists(key))
			continue;
		base::LWLockScope registry(registry_lock(), LW_EXCLUSIVE);
		Locked board(i);
		if (board->key == key && board->phase != core::BoardPhase::building)
		{
			free_leases(i);
			core::free_board(*board, pool());
		}
	}
}

Databases
databases_of_boards()
{
	Databases databases{static_cast<Oid *>(palloc(sizeof(Oid) * shared->places)), 0};
	for (std::uint32_t i = 0; i < shared->places; i++)
		if (Oid const database = handle_of(i).key.database; OidIsValid(database))
			databases.oid[databases.count++] = database;
	return databases;
}

core::FramePool &
pool()
{
	return *frame_pool;
}

core::LeaseTable &
leases()
{
	return *lease_table;
}

#ifdef ONCEQ_TESTING
static constinit std::int64_t holds = 0;

std::int64_t
holds_so_far()
{
	return holds;
}
#endif

Locked::Locked(std::uint32_t index, LWLockMode mode) : board_(&place[index].board), lock_(&locks[index].lock, mode)
{
#ifdef ONCEQ_TESTING
	holds++;
#endif
}

Handle
handle_of(std::uint32_t index)
{
	return {index, place[index].board.key};
}

ConditionVariable &
changed(std::uint32_t index)
{
	return place[index].changed;
}

bool
wait_for_change(std::uint32_t index, core::Monotonic deadline)
{
	core::Microseconds const left = deadline.us - base::now_monotonic().us;
	if (left <= 0)
		return false;
	return !ConditionVariableTimedSleep(&place[index].changed, static_cast<long>(left / 1000 + 1), PG_WAIT_EXTENSION);
}

int
boards_in_use()
{
	base::LWLockScope registry(registry_lock(), LW_SHARED);
	int count = 0;
	for (std::uint32_t i = 0; i < shared->places; i++)
		count += place[i].board.phase != core::BoardPhase::free;
	return count;
}

std::uint64_t
random_bits()
{
	static std::uint64_t stock[32];
	static int left = 0;
	if (left == 0)
	{
		if (!pg_strong_random(stock, sizeof(stock)))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
		left = lengthof(stock);
	}
	return stock[--left];
}

void
raise_no_state_memory()
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("the memory for the states of jobs is used up"),
			 errhint("Increase onceq.state_memory and restart the server.")));
	pg_unreachable();
}

void
raise_no_such_queue(catalog::Queue const &queue)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("queue \"%s\" does not exist", queue.name)));
	pg_unreachable();
}

bool
started_uncleanly()
{
	return shared->unclean;
}

bool
is_suspicious(core::Board const &board, core::JobId id)
{
	core::Microseconds const window = base::settings.suspicion_window_s * core::microseconds_per_second;
	// Recovery before it, or a long life as a standby, does not count.
	return shared->unclean && id < board.first_new_id && base::now_monotonic() < board.standing_since + window;
}

} // namespace onceq::board
