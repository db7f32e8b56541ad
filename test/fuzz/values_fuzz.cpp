// SPDX-License-Identifier: PostgreSQL
// Proves of what takes one value, or a few, of a client: names, tokens, times, delays, rates, windows, weights.
// Nothing overflows, and what comes out is in its range, whatever goes in.
#include "fuzz.hpp"

#include "core/ageing.hpp"
#include "core/backoff.hpp"
#include "core/limits.hpp"
#include "core/queue_name.hpp"
#include "core/segment_plan.hpp"
#include "core/token.hpp"
#include "core/turn.hpp"
#include "core/window.hpp"

#include "../unit/support.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string_view>

namespace onceq::core::test {
namespace {

// Of any size: large ones are as likely as small ones.
std::int64_t
number(Dice &dice)
{
	auto const size = dice.below(64);
	return static_cast<std::int64_t>(dice.bits()) >> size;
}

std::int64_t
number_between(Dice &dice, std::int64_t low, std::int64_t high)
{
	return std::clamp(number(dice), low, high);
}

void
name(Bytes bytes)
{
	std::string_view const text(reinterpret_cast<char const *>(bytes.data()), bytes.size());
	constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz";
	constexpr std::string_view all = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
	bool const good = text.find_first_of(letters) == 0 && text.find_first_not_of(all) == text.npos && text.size() < 64;
	ASSERT_EQ(is_queue_name(text), good);
}

void
token(Dice &dice)
{
	ASSERT_LT(slot_of(number(dice)), lease_slots_max);
	auto const slot = static_cast<std::uint32_t>(dice.below(lease_slots_max));
	Token const made = make_token(slot, dice.bits());
	ASSERT_GT(made, 0);
	ASSERT_EQ(slot_of(made), slot);
}

void
sum(Dice &dice)
{
	std::int64_t const time = number(dice);
	std::int64_t const span = number(dice);
	auto const exact = static_cast<__int128>(time) + span;
	auto const nearest = std::clamp<__int128>(exact, INT64_MIN, INT64_MAX);
	ASSERT_EQ(saturating_add(time, span), static_cast<std::int64_t>(nearest));
}

void
delay(Dice &dice)
{
	// Whatever a float8 can be.
	auto const any = [&] { return std::bit_cast<double>(dice.bits()); };
	Microseconds const max = number_between(dice, 0, INT64_MAX);
	double const factor = any();
	double const jitter = any();
	bool const sensible = factor >= 1 && jitter >= 0 && jitter <= 1;
	Backoff const backoff{number_between(dice, 0, INT64_MAX), sensible ? factor : 2, max, sensible ? jitter : 0.5};
	double const random = static_cast<double>(dice.bits() >> 11) / static_cast<double>(std::uint64_t{1} << 53);
	Microseconds const waits = backoff_delay(backoff, static_cast<int>(number_between(dice, 1, INT32_MAX)), random);
	ASSERT_GE(waits, 0);
	ASSERT_LE(waits, max);
}

void
plan(Dice &dice)
{
	JobId const next_id = number_between(dice, 0, INT64_MAX - segment_span_max * ids_per_segment);
	SegmentNumber const open = segment_of(next_id);
	ASSERT_TRUE(first_id_of(open) <= next_id && next_id <= last_id_of(open));
	ASSERT_GT(wanted_prepared_end(next_id), open);
	JobId const step = number_between(dice, ceiling_step_min, ceiling_step_max);
	JobId const next_step = next_ceiling_step(step, number(dice));
	ASSERT_TRUE(next_step >= ceiling_step_min && next_step <= ceiling_step_max);
}

void
rate(Dice &dice)
{
	TokenBucket bucket{};
	bucket.begin(dice.chance(50) ? monotonic_always : Monotonic{number(dice)});
	Monotonic now{0};
	for (std::int64_t asked = dice.below(20); asked > 0; asked--)
	{
		Rate const limit{static_cast<std::int32_t>(number_between(dice, 1, rate_limit_max)),
						 static_cast<std::int32_t>(number_between(dice, 1, rate_limit_max)),
						 number_between(dice, 1, rate_period_max)};
		now = now + number_between(dice, 0, INT64_MAX);
		std::int32_t const available = bucket.available(limit, now);
		ASSERT_LE(available, limit.burst);
		ASSERT_GE(bucket.wait(), 0);
		if (available < 1)
			continue;
		auto const taken = static_cast<std::int32_t>(number_between(dice, 1, available));
		bucket.take(taken);
		bucket.give_back(static_cast<std::int32_t>(number_between(dice, 0, taken)));
		if (dice.chance(10))
			bucket.open();
	}
}

void
window(Dice &dice)
{
	Window const open{number_between(dice, 0, microseconds_per_day), number_between(dice, 0, microseconds_per_day)};
	if (open.opens == open.closes)
		return;
	Microseconds const time = number_between(dice, 0, microseconds_per_day - 1);
	Microseconds const wait = until_open(open, time);
	ASSERT_TRUE(wait >= 0 && wait <= microseconds_per_day);
	Microseconds const then = (time + wait) % microseconds_per_day;
	ASSERT_TRUE(until_open(open, then) == 0 || open.opens == microseconds_per_day);
}

void
lot(Dice &dice)
{
	int weight[turn_queues_max];
	int order[turn_queues_max];
	int const count = static_cast<int>(dice.below(turn_queues_max + 1));
	std::generate_n(weight, count, [&] { return static_cast<int>(number_between(dice, 1, weight_max)); });
	order_by_lot(weight, count, dice.bits(), order);
	std::sort(order, order + count);
	for (int i = 0; i < count; i++)
		ASSERT_EQ(order[i], i);
}

void
ageing(Dice &dice)
{
	WaitingTimes times{};
	times.begin();
	Monotonic now{number_between(dice, 0, INT64_MAX / 2)};
	Microseconds const grain = number_between(dice, 1, INT64_MAX / 2);
	for (std::int64_t found = dice.below(60); found > 0; found--)
	{
		std::int64_t ready = number_between(dice, 0, std::int64_t{1} << 40);
		now = now + number_between(dice, 0, INT64_MAX / 128);
		times.find(ready, now, grain);
		while (ready > 0 && dice.chance(70))
		{
			ASSERT_TRUE(times.next_count() > 0 && times.next_count() <= ready);
			ASSERT_LE(times.next_since(), now);
			std::int64_t const taken = number_between(dice, 1, times.next_count());
			times.take(taken);
			ready -= taken;
		}
	}
}

} // namespace

void
fuzz(Bytes bytes)
{
	static constexpr void (*checks[])(Dice &) = {token, sum, delay, plan, rate, window, lot, ageing};
	name(bytes);
	std::uint8_t const which = first_byte(bytes);
	Dice dice(1, bytes);
	checks[which % std::size(checks)](dice);
}

} // namespace onceq::core::test
