// SPDX-License-Identifier: PostgreSQL
#include "archive/pace.hpp"

#include "base/clock.hpp"
#include "base/postgres.hpp"
#include "base/settings.hpp"

extern "C" {
#include <storage/latch.h>
#include <utils/wait_event.h>
}

namespace onceq::archive {

namespace {

void
rest(core::Microseconds span)
{
	core::Monotonic const end = base::now_monotonic() + span;
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		core::Microseconds const left = end.us - base::now_monotonic().us;
		if (left <= 0)
			return;
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (left + 999) / 1000,
						PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

} // namespace

void
keep_to_speed(core::Monotonic batch_began)
{
	int const per_second = base::settings.archive_batches_per_second;
	if (per_second == 0)
		return;
	rest(core::microseconds_per_second / per_second - (base::now_monotonic().us - batch_began.us));
}

} // namespace onceq::archive
