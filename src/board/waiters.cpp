// SPDX-License-Identifier: PostgreSQL
#include "board/waiters.hpp"

#include "core/wait_list.hpp"

#include <atomic>
#include <new>

#include "base/clock.hpp"
#include "base/settings.hpp"

extern "C" {
#include <storage/latch.h>
#include <storage/proc.h>
#include <storage/spin.h>
#include <utils/wait_event.h>
}

namespace onceq::board {

namespace {

// The waiters of one board. Beside the spinlock is how many they are, so that nobody takes it to find none.
struct Line
{
	slock_t lock;
	core::WaitList list;
	std::atomic<std::uint32_t> length;
};

constinit Line *line = nullptr;               // onceq.max_queues
constinit std::atomic<bool> *woken = nullptr; // MaxBackends: by somebody since the session enlisted
constinit core::WaitNode *nodes = nullptr;    // MaxBackends * waited_boards_max

Size
lines_size()
{
	return MAXALIGN(mul_size(base::settings.max_queues, sizeof(Line)));
}

Size
woken_size()
{
	return MAXALIGN(mul_size(MaxBackends, sizeof(std::atomic<bool>)));
}

Size
nodes_size()
{
	return mul_size(mul_size(MaxBackends, waited_boards_max), sizeof(core::WaitNode));
}

Size
total_size()
{
	return add_size(add_size(lines_size(), woken_size()), nodes_size());
}

void
attach(void *memory)
{
	char *at = static_cast<char *>(memory);
	line = reinterpret_cast<Line *>(at);
	at += lines_size();
	woken = reinterpret_cast<std::atomic<bool> *>(at);
	at += woken_size();
	nodes = reinterpret_cast<core::WaitNode *>(at);
}

void
initialise(void *)
{
	for (int i = 0; i < base::settings.max_queues; i++)
	{
		SpinLockInit(&line[i].lock);
		line[i].list.initialise();
		new (&line[i].length) std::atomic<std::uint32_t>(0);
	}
	for (int i = 0; i < MaxBackends; i++)
		new (&woken[i]) std::atomic<bool>(false);
}

// Of this session, below MaxBackends: claims are not made in auxiliary processes.
std::uint32_t
my_number()
{
#if PG_VERSION_NUM >= 170000
	return static_cast<std::uint32_t>(MyProcNumber);
#else
	return static_cast<std::uint32_t>(MyProc->pgprocno);
#endif
}

std::uint32_t
my_node(int number)
{
	return my_number() * waited_boards_max + static_cast<std::uint32_t>(number);
}

// The session that waited longest; core::no_index: none does.
std::uint32_t
take_waiter(Line &waiters) noexcept
{
	SpinLockAcquire(&waiters.lock);
	std::uint32_t const node = waiters.list.pop(nodes);
	if (node != core::no_index)
	{
		waiters.length.fetch_sub(1, std::memory_order_relaxed);
		woken[node / waited_boards_max].store(true, std::memory_order_release);
	}
	SpinLockRelease(&waiters.lock);
	return node == core::no_index ? node : node / waited_boards_max;
}

} // namespace

base::ShmemItem const waiters_shmem_item{"onceq_waiters", total_size, initialise, attach, nullptr};

void
wake_claimers(std::uint32_t board, std::int64_t jobs) noexcept
{
	// Whoever is counted here after the jobs became ready will see them: both sides pass through B.
	while (jobs-- > 0 && line[board].length.load(std::memory_order_relaxed) > 0)
	{
		std::uint32_t const session = take_waiter(line[board]);
		if (session == core::no_index)
			break;
		SetLatch(&GetPGProcByNumber(session)->procLatch);
	}
}

void
Waiter::add(std::uint32_t board)
{
	Assert(count_ < waited_boards_max && !enlisted_);
	board_[count_++] = board;
}

void
Waiter::enlist()
{
	woken[my_number()].store(false, std::memory_order_relaxed);
	for (int i = 0; i < count_; i++)
	{
		Line &waiters = line[board_[i]];
		std::uint32_t const node = my_node(i);
		SpinLockAcquire(&waiters.lock);
		bool const was_listed = nodes[node].listed;
		if (!was_listed)
		{
			waiters.list.push(nodes, node);
			waiters.length.fetch_add(1, std::memory_order_relaxed);
		}
		SpinLockRelease(&waiters.lock);
		woken_by_[i] = enlisted_ && !was_listed;
	}
	enlisted_ = true;
}

void
Waiter::sleep(core::Microseconds span)
{
	core::Monotonic const until = base::now_monotonic() + span;
	while (!woken[my_number()].load(std::memory_order_acquire))
	{
		core::Microseconds const left = until.us - base::now_monotonic().us;
		if (left <= 0)
			return;
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, static_cast<long>(left / 1000 + 1),
				  PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
Waiter::leave(int served)
{
	if (!enlisted_)
		return;
	enlisted_ = false;
	for (int i = 0; i < count_; i++)
	{
		Line &waiters = line[board_[i]];
		std::uint32_t const node = my_node(i);
		SpinLockAcquire(&waiters.lock);
		bool const is_listed = nodes[node].listed;
		if (is_listed)
		{
			waiters.list.remove(nodes, node);
			waiters.length.fetch_sub(1, std::memory_order_relaxed);
		}
		SpinLockRelease(&waiters.lock);
		wake_claimers(board_[i], woken_by_[i] + !is_listed - (i == served));
	}
}

} // namespace onceq::board
