// SPDX-License-Identifier: PostgreSQL
// A client of a queue, and the rounds it can repeat.
#pragma once

#include "connection.hpp"
#include "harness.hpp"
#include "system.hpp"

namespace bench {

// One client: its connection, and the rounds it repeats.
class Client
{
  public:
	Client(Statements const &statements, Options const &options) : batch_(options.batch)
	{
		if (!statements.next.empty())
			connection_.prepare("next", statements.next);
		connection_.prepare("claim", statements.claim);
		connection_.prepare("ack", statements.ack);
		if (!statements.ack_and_claim.empty())
			connection_.prepare("ack_and_claim", statements.ack_and_claim);
		connection_.prepare("enqueue", batch_ == 1 ? statements.enqueue : statements.enqueue_many);
		if (!statements.wait.empty())
		{
			connection_.prepare("wait", statements.wait);
			connection_.prepare("announce", statements.announce);
		}
		if (options.scenario == "receive" && !statements.listen.empty())
			connection_.query(statements.listen, {});
		listens_ = !statements.listen.empty();
		connection_.prepare("select", "SELECT 1");
		if (options.scenario == "read_commit")
			connection_.prepare("read", "SELECT id, id, payload FROM bench.job WHERE id >= $1 ORDER BY id LIMIT " +
											std::to_string(batch_));
		// Writes and flushes a commit record, and nothing else.
		connection_.prepare("commit", "SELECT pg_logical_emit_message(true, '', '')");
		payload_ = batch_ == 1 ? payload : payload_array(batch_);
		acks_by_ids_ = statements.acks_by_ids;
		claims_by_handle_ = !statements.next.empty();
		round_ = find_round(options.scenario);
	}

	// Returns the number of jobs it went through; nothing: the queue is empty.
	std::optional<int>
	round()
	{
		return (this->*round_)();
	}

	// From the enqueue of the last round's job to its claim's return; nothing: rounds enqueue it themselves.
	std::optional<Clock::duration>
	waited() const
	{
		return waited_;
	}

	void
	enqueue_stamped()
	{
		connection_.execute("announce", {stamped_payload().c_str()});
	}

	// Leaves nothing claimed.
	void
	finish()
	{
		if (!handle_.empty())
			connection_.execute("ack", {handle_.c_str()});
	}

  private:
	using Round = std::optional<int> (Client::*)();

	static Round
	find_round(std::string const &scenario)
	{
		std::map<std::string, Round> const rounds = {
			{"claim_ack", &Client::claim_ack}, {"ack_and_claim", &Client::ack_and_claim},
			{"enqueue", &Client::enqueue},     {"cycle", &Client::cycle},
			{"receive", &Client::receive},     {"select", &Client::select},
			{"commit", &Client::commit},       {"read_commit", &Client::read_commit}};
		auto const found = rounds.find(scenario);
		if (found == rounds.end())
			throw std::runtime_error("unknown scenario: " + scenario);
		return found->second;
	}

	// As a consumer would.
	static void
	look_at_payloads(Result const &rows)
	{
		for (int i = 0; i < rows.rows(); i++)
			if (rows.length(i, 2) < 100)
				throw std::runtime_error("a payload is missing");
	}

	// What ack needs for the jobs of a claim's result: its token, or the array of their ids.
	int
	take(Result const &claimed)
	{
		int const count = claimed.rows();
		handle_.clear();
		if (count == 0)
			return 0;
		if (!acks_by_ids_)
			handle_ = claimed.value(0, 1);
		look_at_payloads(claimed);
		if (acks_by_ids_)
		{
			for (int i = 0; i < count; i++)
				handle_.append(i == 0 ? "{" : ",").append(claimed.value(i, 0));
			handle_.append("}");
		}
		return count;
	}

	Result
	claim()
	{
		if (!claims_by_handle_)
			return connection_.execute("claim", {});
		Result const next = connection_.execute("next", {});
		return connection_.execute("claim", {next.length(0, 0) == 0 ? nullptr : next.value(0, 0)});
	}

	std::optional<int>
	claim_ack()
	{
		int const count = take(claim());
		if (count == 0)
			return {};
		connection_.execute("ack", {handle_.c_str()});
		handle_.clear();
		return count;
	}

	std::optional<int>
	ack_and_claim()
	{
		char const *const handle = handle_.empty() ? nullptr : handle_.c_str();
		int const count = take(connection_.execute("ack_and_claim", {handle}));
		return count == 0 ? std::nullopt : std::optional{count};
	}

	std::optional<int>
	enqueue()
	{
		int const count = connection_.execute("enqueue", {payload_.c_str()}).rows();
		if (count != batch_)
			throw std::runtime_error("jobs are missing");
		return count;
	}

	// Others may take this client's job, but then theirs is left.
	std::optional<int>
	cycle()
	{
		enqueue();
		return claim_ack().value_or(0);
	}

	// Waits a second at most. Who listens looks before and after.
	std::optional<int>
	receive()
	{
		Result claimed = connection_.execute("wait", {});
		if (claimed.rows() == 0 && listens_ && connection_.wait_for_notice(1000))
			claimed = connection_.execute("wait", {});
		if (take(claimed) == 0)
			return 0;
		waited_ = Clock::now() - stamp_of(claimed.value(0, 2));
		connection_.execute("ack", {handle_.c_str()});
		handle_.clear();
		return 1;
	}

	std::optional<int>
	select()
	{
		connection_.execute("select", {});
		return 1;
	}

	std::optional<int>
	commit()
	{
		connection_.execute("commit", {});
		return 1;
	}

	// What a claim and its ack come to if nobody has to decide anything: rows by key, then a durable commit.
	std::optional<int>
	read_commit()
	{
		Result const read = connection_.execute("read", {read_from_.c_str()});
		int const count = read.rows();
		look_at_payloads(read);
		read_from_ = count < batch_ ? "0" : read.value(count - 1, 0);
		commit();
		return count;
	}

	Connection connection_{"bench client"};
	int batch_;
	std::string payload_;
	std::string read_from_ = "0";
	std::string handle_; // of what is claimed; empty: nothing
	bool acks_by_ids_;
	bool claims_by_handle_;
	bool listens_;
	std::optional<Clock::duration> waited_;
	Round round_;
};

} // namespace bench
