// SPDX-License-Identifier: PostgreSQL
// The states of 2,048 neighbouring jobs, bit-sliced: four planes hold the four bits of each job's
// state, so a job has exactly one state by construction, and 64 jobs are looked at or moved with a
// few operations. A fifth plane marks jobs with a history (outcomes to look up before a delivery).
#pragma once

#include "core/job_state.hpp"

#include <cstdint>

namespace onceq::core {

inline constexpr int ids_per_page_log2 = 11;
inline constexpr int ids_per_page = 1 << ids_per_page_log2;

class Page
{
  public:
	// All jobs alike.
	void fill(JobState state, bool history) noexcept;

	JobState state(int slot) const noexcept;
	bool history(int slot) const noexcept;

	// Moves those of first … last that are in state from; returns how many. What has ended (state
	// none) has no history.
	int move(int first, int last, JobState from, JobState to) noexcept;
	void mark_history(int first, int last) noexcept;

	// The first slot at or after start in this state; -1: none.
	int find(JobState state, int start) const noexcept;

	// How many slots from start on, at most limit, are in the same state as start with the same history mark.
	int run_length(int start, int limit) const noexcept;

	int
	count(JobState state) const noexcept
	{
		return count_[static_cast<int>(state)];
	}

	bool is_uniform() const noexcept;

  private:
	static constexpr int words = ids_per_page / 64;
	static constexpr int state_bits = 4;

	std::uint64_t in_state(int word, JobState state) const noexcept;

	std::uint64_t plane_[state_bits][words];
	std::uint64_t history_[words];
	std::uint16_t count_[job_state_count];
	std::uint16_t history_count_;
};

} // namespace onceq::core
