// SPDX-License-Identifier: PostgreSQL
// One run of one scenario: clients that repeat its round in threads of their own, measured and told in
// one line. Which system is under load is the business of a Load:
//
//	std::unique_ptr<Load::Client> open()  a new client: round(), waited(), finish(), enqueue_stamped()
//	long server()                         the process whose tree is the server
//	void fill(), long wal(), long dead()
#pragma once

#include <atomic>
#include <barrier>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "measure.hpp"

namespace bench {

struct Options
{
	std::string system;
	std::string scenario;
	int batch;
	int clients;
	double seconds;
	long backlog;
	bool snapshot;      // held open by another session
	int rate;           // jobs a second that one more client enqueues meanwhile
	std::string detail; // a file for the course of the run and its latencies; empty: none
	long server;        // its process; 0: the load knows
};

inline Options
options_of(int count, char **words)
{
	std::map<std::string, std::string> arguments;
	for (int i = 1; i < count; i++)
	{
		std::string const word = words[i];
		auto const equals = word.find('=');
		if (equals == std::string::npos)
			throw std::runtime_error("not name=value: " + word);
		arguments[word.substr(0, equals)] = word.substr(equals + 1);
	}
	auto const take = [&](char const *name, char const *otherwise) {
		auto const node = arguments.extract(name);
		return node.empty() ? std::string{otherwise} : node.mapped();
	};
	Options const options{
		take("system", "onceq"),         take("scenario", "claim_ack"),   std::stoi(take("batch", "1")),
		std::stoi(take("clients", "1")), std::stod(take("seconds", "1")), std::stol(take("backlog", "0")),
		take("snapshot", "0") == "1",    std::stoi(take("rate", "0")),    take("detail", ""),
		std::stol(take("server", "0"))};
	if (!arguments.empty())
		throw std::runtime_error("unknown argument: " + arguments.begin()->first);
	return options;
}

// What all clients share during a run.
struct Run
{
	explicit Run(int clients) : ready(clients + 1), start(clients + 1) {}

	std::barrier<> ready;
	std::barrier<> start;
	std::atomic<bool> stop{false};
	Clock::time_point begin; // before start
};

struct Sum
{
	Histogram latency;
	Course course;
	long jobs = 0;
	long warm_up_jobs = 0;
};

// What one client had of it. The connection stays until all has been measured: a backend that ends is
// counted twice, or not at all.
template <typename Client>
struct Share : Sum
{
	std::unique_ptr<Client> client;
	std::exception_ptr error;
};

// Until statements have their final plans, and caches are warm.
constexpr int warm_up_rounds = 6;
constexpr int warm_up_rounds_of_one = 100;

inline int
warm_up_of(Options const &options)
{
	return options.scenario == "receive" ? 0 : warm_up_rounds + warm_up_rounds_of_one / options.batch;
}

// Calls body; an error ends the run for all.
template <typename Client, typename Body>
void
guarded(Run &run, Share<Client> &share, Body body)
{
	try
	{
		body();
	}
	catch (...)
	{
		share.error = std::current_exception();
		run.stop = true;
	}
}

template <typename Load>
void
run_client(Load &load, Options const &options, Run &run, Share<typename Load::Client> &share)
{
	guarded(run, share, [&] {
		share.client = load.open();
		for (int i = 0; i < warm_up_of(options); i++)
			share.warm_up_jobs += share.client->round().value_or(0);
	});
	run.ready.arrive_and_wait();
	run.start.arrive_and_wait();
	guarded(run, share, [&] {
		while (!run.stop.load(std::memory_order_relaxed))
		{
			Clock::time_point const begin = Clock::now();
			std::optional<int> const jobs = share.client->round();
			Clock::time_point const end = Clock::now();
			if (!jobs)
				run.stop = true;
			else if (*jobs > 0)
				share.latency.add(share.client->waited().value_or(end - begin));
			share.jobs += jobs.value_or(0);
			share.course.add(end - run.begin, jobs.value_or(0));
		}
		if (share.client)
			share.client->finish();
	});
}

// Enqueues at options.rate, and never catches up: a delay would come back as a burst.
template <typename Load>
void
produce(Load &load, Options const &options, Run &run, Share<typename Load::Client> &share)
{
	guarded(run, share, [&] {
		share.client = load.open();
		auto const pause = std::chrono::nanoseconds(1'000'000'000 / options.rate);
		for (Clock::time_point next = Clock::now() + pause; !run.stop; next = std::max(next + pause, Clock::now()))
		{
			std::this_thread::sleep_until(next);
			share.client->enqueue_stamped();
		}
	});
}

inline void
wait_for_end(Run const &run, double seconds)
{
	Clock::time_point const end =
		run.begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
	while (!run.stop && Clock::now() < end)
		std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

inline void
print(Options const &options, Sum const &total, double elapsed, long wal, long dead, Cpu const &cpu)
{
	double const jobs = static_cast<double>(std::max(total.jobs, 1L));
	std::printf("system=%s scenario=%s batch=%d clients=%d snapshot=%d jobs=%ld seconds=%.3f rate=%.0f "
				"p50_us=%.0f p99_us=%.0f max_us=%.0f wal_bytes=%.1f dead=%.3f cpu_us=%.2f "
				"server_ms_s=%.1f driver_cpu_us=%.2f others_percent=%.0f\n",
				options.system.c_str(), options.scenario.c_str(), options.batch, options.clients, options.snapshot,
				total.jobs, elapsed, static_cast<double>(total.jobs) / elapsed, total.latency.quantile(0.5),
				total.latency.quantile(0.99), total.latency.quantile(1), static_cast<double>(wal) / jobs,
				static_cast<double>(dead) / (jobs + static_cast<double>(total.warm_up_jobs)), cpu.server * 1e6 / jobs,
				cpu.server * 1e3 / elapsed, cpu.driver * 1e6 / jobs,
				100 * cpu.others() / (elapsed * std::thread::hardware_concurrency()));
	if (options.detail.empty())
		return;
	std::ofstream file(options.detail);
	total.course.each([&](double second, double rate) { file << "t " << second << ' ' << rate << '\n'; });
	total.latency.each([&](double us, std::uint64_t count) { file << "l " << us << ' ' << count << '\n'; });
}

template <typename Load>
void
measure(Load &load, Options const &options)
{
	using ShareOf = Share<typename Load::Client>;
	load.fill();
	long const dead_before = load.dead();
	Run run(options.clients);
	std::vector<ShareOf> shares(options.clients + 1);
	std::vector<std::thread> threads;
	for (int i = 0; i < options.clients; i++)
		threads.emplace_back([&, i] { run_client(load, options, run, shares[i]); });
	run.ready.arrive_and_wait();
	long const server = options.server != 0 ? options.server : load.server();
	long const wal_before = load.wal();
	Cpu const cpu_before = cpu_now(server);
	run.begin = Clock::now();
	run.start.arrive_and_wait();
	if (options.rate > 0)
		threads.emplace_back([&] { produce(load, options, run, shares.back()); });
	wait_for_end(run, options.seconds);
	run.stop = true;
	for (std::thread &thread : threads)
		thread.join();
	std::chrono::duration<double> const elapsed = Clock::now() - run.begin;
	Cpu const cpu = cpu_now(server) - cpu_before;
	long const wal = load.wal() - wal_before;

	Sum total;
	for (ShareOf const &share : shares)
	{
		if (share.error)
			std::rethrow_exception(share.error);
		total.latency += share.latency;
		total.course += share.course;
		total.jobs += share.jobs;
		total.warm_up_jobs += share.warm_up_jobs;
	}
	shares.clear();
	print(options, total, elapsed.count(), wal, load.dead() - dead_before, cpu);
}

// Behind main(): an error is told in one line.
template <typename Load>
int
run_load(int count, char **words)
{
	try
	{
		Options const options = options_of(count, words);
		Load load(options);
		measure(load, options);
		return 0;
	}
	catch (std::exception const &error)
	{
		std::fprintf(stderr, "%s\n", error.what());
		return 1;
	}
}

} // namespace bench
