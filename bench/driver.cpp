// SPDX-License-Identifier: PostgreSQL
// Load for a queue in PostgreSQL: one run of one scenario, told in one line.
//
//	driver system=onceq scenario=claim_ack batch=100 clients=4 seconds=1 backlog=300000 snapshot=0
//
// Each client is a thread with a connection of its own, which repeats the scenario's round with
// prepared statements. Before that the queue is filled up to the backlog; if it runs dry, the run ends
// early and its rate is that of the time it took. The server is found by PGHOST and its kind.
#include "client.hpp"

namespace {

using namespace bench;

class PostgresLoad
{
  public:
	using Client = bench::Client;

	explicit PostgresLoad(Options const &options)
		: options_(options), statements_(statements_of(options.system, options.batch))
	{
	}

	std::unique_ptr<Client>
	open() const
	{
		return std::make_unique<Client>(statements_, options_);
	}

	void
	fill()
	{
		constexpr long chunk = 10000;
		long left = options_.backlog == 0 ? 0 : options_.backlog - control_.number(statements_.count_ready);
		for (; left > 0; left -= chunk)
		{
			std::string const count = std::to_string(std::min(left, chunk));
			control_.query(statements_.fill, {payload, count.c_str()});
		}
		if (options_.backlog > 0)
			control_.query(statements_.settle, {});
		if (options_.snapshot)
		{
			snapshot_.emplace("bench snapshot");
			snapshot_->query("BEGIN ISOLATION LEVEL REPEATABLE READ", {});
			snapshot_->query("SELECT 1", {});
		}
	}

	// The postmaster.
	long
	server() const
	{
		return process_of(std::to_string(control_.server_process())).parent;
	}

	long
	wal()
	{
		return control_.number("SELECT pg_current_wal_insert_lsn() - '0/0'");
	}

	// Rows that became dead so far, whether they were vacuumed or not.
	long
	dead()
	{
		// A backend adds its counts when it ends.
		for (int tries = 0; tries < 2000; tries++)
		{
			if (control_.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = "
								"'bench client'") == 0)
				break;
			std::this_thread::sleep_for(std::chrono::milliseconds(1));
		}
		return control_.number("SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables");
	}

  private:
	Options const &options_;
	Statements statements_;
	Connection control_{"bench control"};
	std::optional<Connection> snapshot_;
};

} // namespace

int
main(int count, char **words)
{
	return bench::run_load<PostgresLoad>(count, words);
}
