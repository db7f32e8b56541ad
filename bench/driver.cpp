// SPDX-License-Identifier: PostgreSQL
// Load for one queue: one run of one scenario, told in one line.
//
//	driver system=onceq scenario=claim_ack batch=100 clients=4 seconds=1 backlog=300000 snapshot=0
//
// Each client is a thread with a connection of its own, which repeats the scenario's round with
// prepared statements. Before that the queue is filled up to the backlog; if it runs dry, the run ends
// early and its rate is that of the time it took. The server is found by PGHOST and its kind.
#include <atomic>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client.hpp"
#include "measure.hpp"

namespace {

using namespace bench;

using Arguments = std::map<std::string, std::string>;

Arguments
parse(int count, char **words)
{
	Arguments arguments;
	for (int i = 1; i < count; i++)
	{
		std::string const word = words[i];
		auto const equals = word.find('=');
		if (equals == std::string::npos)
			throw std::runtime_error("not name=value: " + word);
		arguments[word.substr(0, equals)] = word.substr(equals + 1);
	}
	return arguments;
}

Options
options_of(Arguments arguments)
{
	auto const take = [&](char const *name, char const *otherwise) {
		auto const node = arguments.extract(name);
		return node.empty() ? std::string{otherwise} : node.mapped();
	};
	Options const options{take("system", "onceq"),         take("scenario", "claim_ack"),
						  std::stoi(take("batch", "1")),   std::stoi(take("clients", "1")),
						  std::stod(take("seconds", "1")), std::stol(take("backlog", "0")),
						  take("snapshot", "0") == "1"};
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
};

struct Sum
{
	Histogram latency;
	long jobs = 0;
	long warm_up_jobs = 0;
};

// What one client had of it. The connection stays until all has been measured: a backend that ends is
// counted twice, or not at all.
struct Share : Sum
{
	std::optional<Client> client;
	std::exception_ptr error;
};

// Until statements have their final plans, and caches are warm.
constexpr int warm_up_rounds = 6;
constexpr int warm_up_rounds_of_one = 100;

void
run_client(Statements const &statements, Options const &options, Run &run, Share &share)
{
	std::optional<Client> &client = share.client;
	try
	{
		client.emplace(statements, options);
		for (int i = 0; i < warm_up_rounds + warm_up_rounds_of_one / options.batch; i++)
			share.warm_up_jobs += client->round().value_or(0);
	}
	catch (...)
	{
		share.error = std::current_exception();
		run.stop = true;
	}
	run.ready.arrive_and_wait();
	run.start.arrive_and_wait();
	try
	{
		while (!run.stop.load(std::memory_order_relaxed))
		{
			Clock::time_point const begin = Clock::now();
			std::optional<int> const jobs = client->round();
			if (!jobs)
				run.stop = true;
			else
				share.latency.add(Clock::now() - begin);
			share.jobs += jobs.value_or(0);
		}
		if (client)
			client->finish();
	}
	catch (...)
	{
		share.error = std::current_exception();
		run.stop = true;
	}
}

void
fill(Connection &control, Statements const &statements, long backlog)
{
	if (backlog == 0)
		return;
	constexpr long chunk = 10000;
	for (long left = backlog - control.number(statements.count_ready); left > 0; left -= chunk)
	{
		std::string const count = std::to_string(std::min(left, chunk));
		control.query(statements.fill, {payload, count.c_str()});
	}
	control.query(statements.settle, {});
}

// Rows that became dead so far, whether they were vacuumed or not.
long
dead_rows(Connection &control)
{
	// A backend adds its counts when it ends.
	for (int tries = 0; tries < 2000; tries++)
	{
		if (control.number(
				"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench client'") ==
			0)
			break;
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
	return control.number("SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables");
}

long
wal_position(Connection &control)
{
	return control.number("SELECT pg_current_wal_insert_lsn() - '0/0'");
}

void
wait_for_end(Run const &run, double seconds)
{
	Clock::time_point const end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
													 std::chrono::duration<double>(seconds));
	while (!run.stop && Clock::now() < end)
		std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

void
print(Options const &options, Sum const &total, double elapsed, long wal, long dead, Cpu const &cpu)
{
	double const jobs = static_cast<double>(std::max(total.jobs, 1L));
	std::printf(
		"system=%s scenario=%s batch=%d clients=%d snapshot=%d jobs=%ld seconds=%.3f rate=%.0f "
		"p50_us=%.0f p99_us=%.0f max_us=%.0f wal_bytes=%.1f dead=%.3f cpu_us=%.2f "
		"driver_cpu_us=%.2f others_percent=%.0f\n",
		options.system.c_str(), options.scenario.c_str(), options.batch, options.clients,
		options.snapshot, total.jobs, elapsed, jobs / elapsed, total.latency.quantile(0.5),
		total.latency.quantile(0.99), total.latency.quantile(1), static_cast<double>(wal) / jobs,
		static_cast<double>(dead) / (jobs + static_cast<double>(total.warm_up_jobs)),
		cpu.server * 1e6 / jobs, cpu.driver * 1e6 / jobs,
		100 * cpu.others() / (elapsed * std::thread::hardware_concurrency()));
}

void
run(Options const &options)
{
	Statements const statements = statements_of(options.system, options.batch);
	Connection control("bench control");
	fill(control, statements, options.backlog);
	std::optional<Connection> snapshot;
	if (options.snapshot)
	{
		snapshot.emplace("bench snapshot");
		snapshot->query("BEGIN ISOLATION LEVEL REPEATABLE READ", {});
		snapshot->query("SELECT 1", {});
	}
	long const dead_before = dead_rows(control);

	Run run(options.clients);
	std::vector<Share> shares(options.clients);
	std::vector<std::thread> threads;
	for (Share &share : shares)
		threads.emplace_back([&] { run_client(statements, options, run, share); });
	run.ready.arrive_and_wait();
	long const wal_before = wal_position(control);
	Cpu const cpu_before = cpu_now(control.server_process());
	run.start.arrive_and_wait();
	Clock::time_point const begin = Clock::now();
	wait_for_end(run, options.seconds);
	run.stop = true;
	for (std::thread &thread : threads)
		thread.join();
	std::chrono::duration<double> const elapsed = Clock::now() - begin;
	Cpu const cpu = cpu_now(control.server_process()) - cpu_before;
	long const wal = wal_position(control) - wal_before;

	Sum total;
	for (Share const &share : shares)
	{
		if (share.error)
			std::rethrow_exception(share.error);
		total.latency += share.latency;
		total.jobs += share.jobs;
		total.warm_up_jobs += share.warm_up_jobs;
	}
	shares.clear();
	print(options, total, elapsed.count(), wal, dead_rows(control) - dead_before, cpu);
}

} // namespace

int
main(int count, char **words)
{
	try
	{
		run(options_of(parse(count, words)));
		return 0;
	}
	catch (std::exception const &error)
	{
		std::fprintf(stderr, "%s\n", error.what());
		return 1;
	}
}
