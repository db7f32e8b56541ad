// SPDX-License-Identifier: PostgreSQL
// What is measured: latencies, and who used the processors.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

namespace bench {

using Clock = std::chrono::steady_clock;

// Counts of nanoseconds in 32 buckets per power of two: quantiles are right to 3 %.
class Histogram
{
  public:
	void
	add(Clock::duration latency)
	{
		auto const ns = static_cast<std::uint64_t>(std::max<std::int64_t>(latency.count(), 1));
		count_[bucket_of(ns)]++;
		total_++;
		max_ = std::max(max_, ns);
	}

	Histogram &
	operator+=(Histogram const &other)
	{
		for (std::size_t i = 0; i < count_.size(); i++)
			count_[i] += other.count_[i];
		total_ += other.total_;
		max_ = std::max(max_, other.max_);
		return *this;
	}

	// In microseconds; of 1: the largest latency itself.
	double
	quantile(double share) const
	{
		auto const rank = static_cast<std::uint64_t>(share * static_cast<double>(total_));
		std::uint64_t seen = 0;
		for (std::size_t i = 0; i < count_.size() && rank < total_; i++)
			if ((seen += count_[i]) > rank)
				return static_cast<double>(least_of(i)) / 1e3;
		return static_cast<double>(max_) / 1e3;
	}

	// Every bucket that holds something: its least microseconds, and its count.
	template <typename Body>
	void
	each(Body body) const
	{
		for (std::size_t i = 0; i < count_.size(); i++)
			if (count_[i] > 0)
				body(static_cast<double>(least_of(i)) / 1e3, count_[i]);
	}

  private:
	static constexpr int fraction_bits = 5;
	static constexpr std::uint64_t fractions = 1 << fraction_bits;

	static std::size_t
	bucket_of(std::uint64_t ns)
	{
		if (ns < fractions)
			return ns;
		int const shift = std::bit_width(ns) - 1 - fraction_bits;
		return static_cast<std::size_t>(shift) * fractions + (ns >> shift);
	}

	static std::uint64_t
	least_of(std::size_t bucket)
	{
		if (bucket < 2 * fractions)
			return bucket;
		std::size_t const shift = bucket / fractions - 1;
		return (bucket - shift * fractions) << shift;
	}

	std::array<std::uint64_t, (64 - fraction_bits + 1) * fractions> count_{};
	std::uint64_t total_ = 0;
	std::uint64_t max_ = 0;
};

// Jobs done in each quarter of a second.
class Course
{
  public:
	void
	add(Clock::duration since_begin, int jobs)
	{
		auto const at = static_cast<std::size_t>(since_begin / step);
		jobs_.resize(std::max(jobs_.size(), at + 1));
		jobs_[at] += jobs;
	}

	Course &
	operator+=(Course const &other)
	{
		jobs_.resize(std::max(jobs_.size(), other.jobs_.size()));
		for (std::size_t i = 0; i < other.jobs_.size(); i++)
			jobs_[i] += other.jobs_[i];
		return *this;
	}

	// Where each step begins, and its jobs a second. The last step is not whole.
	template <typename Body>
	void
	each(Body body) const
	{
		double const seconds = std::chrono::duration<double>(step).count();
		for (std::size_t i = 0; i + 1 < jobs_.size(); i++)
			body(static_cast<double>(i) * seconds, static_cast<double>(jobs_[i]) / seconds);
	}

  private:
	static constexpr auto step = std::chrono::milliseconds(250);

	std::vector<long> jobs_;
};

// Seconds of processor time so far.
struct Cpu
{
	double machine; // that somebody used, or the host took
	double server;
	double driver;

	// Used by anybody but us.
	double
	others() const
	{
		return std::max(0.0, machine - server - driver);
	}

	Cpu
	operator-(Cpu const &before) const
	{
		return {machine - before.machine, server - before.server, driver - before.driver};
	}
};

// One process as /proc/PID/stat tells it.
struct Process
{
	long parent = 0;
	double own = 0;
	double ended_children = 0;
};

inline Process
process_of(std::string const &pid)
{
	std::ifstream file("/proc/" + pid + "/stat");
	std::string line;
	std::getline(file, line);
	// The second field is a name in brackets, which may hold anything.
	std::istringstream fields(line.substr(line.rfind(')') + 1));
	std::string skipped;
	Process process;
	long user = 0, system = 0, children_user = 0, children_system = 0;
	fields >> skipped >> process.parent;
	for (int field = 5; field < 14; field++)
		fields >> skipped;
	fields >> user >> system >> children_user >> children_system;
	double const ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
	process.own = static_cast<double>(user + system) / ticks;
	process.ended_children = static_cast<double>(children_user + children_system) / ticks;
	return process;
}

// A server's first process and all its children, the ended ones too.
inline double
server_cpu(long server)
{
	Process const parent = process_of(std::to_string(server));
	double sum = parent.own + parent.ended_children;
	for (auto const &entry : std::filesystem::directory_iterator("/proc"))
	{
		std::string const name = entry.path().filename();
		if (name.find_first_not_of("0123456789") != std::string::npos)
			continue;
		if (Process const child = process_of(name); child.parent == server)
			sum += child.own;
	}
	return sum;
}

inline double
machine_cpu()
{
	std::ifstream file("/proc/stat");
	std::string label;
	std::array<long, 8> time{}; // user nice system idle iowait irq softirq steal
	file >> label;
	long busy = 0;
	for (std::size_t i = 0; i < time.size(); i++)
	{
		file >> time[i];
		busy += i == 3 || i == 4 ? 0 : time[i];
	}
	return static_cast<double>(busy) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

inline Cpu
cpu_now(long server)
{
	rusage self{};
	getrusage(RUSAGE_SELF, &self);
	auto const seconds = [](timeval const &time) {
		return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
	};
	return {machine_cpu(), server_cpu(server), seconds(self.ru_utime) + seconds(self.ru_stime)};
}

} // namespace bench
