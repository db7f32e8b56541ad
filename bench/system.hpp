// SPDX-License-Identifier: PostgreSQL
// The compared queues, as what a client sends them. Both return id, handle and payload of what was
// claimed, and the ids of what was enqueued.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace bench {

// What a job to send a mail may look like: 209 bytes.
inline constexpr char payload[] =
	R"({"type": "mail", "to": "ada.lovelace@example.org", "template": "order-shipped", "locale": "en-GB", )"
	R"("order": 4815162342, "link": "https://shop.example.org/orders/4815162342/track?key=9f86d081884c7d659a2feaa0c"})";

// The same, with the time it is sent at.
inline std::string
stamped_payload()
{
	std::chrono::nanoseconds const at = std::chrono::steady_clock::now().time_since_epoch();
	return "{\"at\": " + std::to_string(at.count()) + ", " + (payload + 1);
}

inline std::chrono::steady_clock::time_point
stamp_of(char const *stamped)
{
	char const *const at = std::strstr(stamped, "\"at\": ");
	if (at == nullptr)
		throw std::runtime_error("a job without a time");
	return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(std::atoll(at + 6)));
}

// The same, count times, as an array in text form.
inline std::string
payload_array(int count)
{
	std::string element = "\"";
	for (char const *at = payload; *at != '\0'; at++)
	{
		if (*at == '"' || *at == '\\')
			element += '\\';
		element += *at;
	}
	element += '"';
	std::string array = "{" + element;
	for (int i = 1; i < count; i++)
		array += "," + element;
	return array + "}";
}

struct Statements
{
	std::string enqueue;       // $1 jsonb
	std::string enqueue_many;  // $1 jsonb[]
	std::string next;          // returns a handle that claim gets as $1; empty: claim needs none
	std::string claim;         // returns id, handle, payload
	std::string ack;           // $1: the handle of the claim, or its ids
	std::string ack_and_claim; // $1 the same, or null; empty: it has none
	std::string wait;          // claim, after at most a second; empty: nobody waits for its jobs
	std::string announce;      // $1 jsonb: enqueue, and wake those who
	std::string listen;        // if it must be done once
	bool acks_by_ids;
	std::string count_ready;
	std::string fill;   // $1 jsonb, $2 count
	std::string settle; // after it was filled
};

inline Statements
onceq_statements(std::string const &name, std::string const &batch)
{
	std::string const queue = "'" + name + "'";
	return {
		.enqueue = "SELECT onceq.enqueue(" + queue + ", $1)",
		.enqueue_many = "SELECT * FROM onceq.enqueue_many(" + queue + ", $1)",
		.next = "",
		.claim = "SELECT id, token, payload FROM onceq.claim(" + queue + ", " + batch + ")",
		.ack = "SELECT onceq.ack($1)",
		.ack_and_claim = "SELECT id, token, payload FROM onceq.ack_and_claim($1, " + queue + ", " + batch + ")",
		.wait = "SELECT id, token, payload FROM onceq.claim(" + queue + ", 1, wait => '1 s')",
		.announce = "SELECT onceq.enqueue(" + queue + ", $1)",
		.listen = "",
		.acks_by_ids = false,
		.count_ready = "SELECT ready FROM onceq.queue_stats WHERE queue = " + queue,
		.fill = "SELECT count(*) FROM onceq.enqueue_many(" + queue +
				", array_fill($1::jsonb, "
				"ARRAY[$2::int]))",
		.settle = "SELECT 1", // there is nothing to vacuum
	};
}

// The same, but each job is enqueued under this unique key.
inline Statements
unique_statements(std::string const &key, std::string const &batch)
{
	Statements statements = onceq_statements("bench", batch);
	statements.enqueue = "SELECT onceq.enqueue('bench', $1, unique_key => " + key + ")";
	return statements;
}

// The number of jobs is a literal: a parameter would make the planner guess a tenth of the table.
// = ANY (ARRAY(…)) is evaluated once; IN (…) need not be.
inline Statements
skip_locked_statements(std::string const &table, std::string const &set, std::string const &ready,
					   std::string const &batch)
{
	std::string const take = "UPDATE " + table + " SET " + set + " WHERE id = ANY (ARRAY(SELECT id FROM " + table +
							 " WHERE " + ready + " FOR UPDATE SKIP LOCKED LIMIT " + batch +
							 ")) RETURNING id, id, payload";
	return {
		.enqueue = "INSERT INTO " + table + " (payload) VALUES ($1) RETURNING id",
		.enqueue_many = "INSERT INTO " + table + " (payload) SELECT unnest($1::jsonb[]) RETURNING id",
		.next = "",
		.claim = take,
		.ack = "DELETE FROM " + table + " WHERE id = ANY ($1::bigint[])",
		// A statement that does both runs into deadlocks: SKIP LOCKED waits once it follows a row's updates.
		.ack_and_claim = "",
		.wait = take,
		.announce = "WITH job AS (INSERT INTO " + table +
					" (payload) VALUES ($1) RETURNING id) SELECT pg_notify('bench', '') FROM job",
		.listen = "LISTEN bench",
		.acks_by_ids = true,
		.count_ready = "SELECT count(*) FROM " + table + " WHERE lease_until IS NULL",
		.fill = "INSERT INTO " + table + " (payload) SELECT $1::jsonb FROM generate_series(1, $2::int)",
		.settle = "VACUUM (ANALYZE) " + table,
	};
}

// PgQ: one consumer, whose batches are what came between two ticks. fill cuts them to size.
inline Statements
pgq_statements(std::string const &batch)
{
	return {
		.enqueue = "SELECT pgq.insert_event('bench', 'job', $1)",
		.enqueue_many = "SELECT pgq.insert_event('bench', 'job', p::text) FROM unnest($1::jsonb[]) p",
		.next = "SELECT pgq.next_batch('bench', 'worker')",
		.claim = "SELECT ev_id, $1::bigint, ev_data FROM pgq.get_batch_events($1)",
		.ack = "SELECT pgq.finish_batch($1)",
		.ack_and_claim = "",
		.wait = "",
		.announce = "",
		.listen = "",
		.acks_by_ids = false,
		.count_ready = "SELECT pending_events FROM pgq.get_consumer_info('bench', 'worker')",
		.fill = "CALL bench.fill_pgq($1, $2, " + batch + ")",
		.settle = "SELECT 1",
	};
}

inline Statements
pgmq_statements(std::string const &batch)
{
	return {
		.enqueue = "SELECT pgmq.send('bench', $1::jsonb)",
		.enqueue_many = "SELECT pgmq.send_batch('bench', $1::jsonb[])",
		.next = "",
		.claim = "SELECT msg_id, msg_id, message FROM pgmq.read('bench', 30, " + batch + ")",
		.ack = "SELECT pgmq.delete('bench', $1::bigint[])",
		.ack_and_claim = "",
		.wait = "",
		.announce = "",
		.listen = "",
		.acks_by_ids = true,
		.count_ready = "SELECT count(*) FROM pgmq.q_bench",
		.fill = "SELECT count(*) FROM pgmq.send_batch('bench', array_fill($1::jsonb, ARRAY[$2::int]))",
		.settle = "VACUUM (ANALYZE) pgmq.q_bench",
	};
}

inline Statements
statements_of(std::string const &system, int batch)
{
	if (system == "onceq")
		return onceq_statements("bench", std::to_string(batch));
	if (system == "onceq_durable")
		return onceq_statements("bench_durable", std::to_string(batch));
	if (system == "onceq_unique")
		return unique_statements("gen_random_uuid()::text", std::to_string(batch));
	if (system == "onceq_taken")
		return unique_statements("'taken'", std::to_string(batch));
	if (system == "skip_locked")
		return skip_locked_statements("bench.job", "attempt = attempt + 1, lease_until = now() + interval '30 s'",
									  "lease_until IS NULL AND run_at <= now() ORDER BY priority DESC, run_at, id",
									  std::to_string(batch));
	if (system == "skip_locked_lean")
		return skip_locked_statements("bench.lean_job", "lease_until = now() + interval '30 s'",
									  "lease_until IS NULL ORDER BY id", std::to_string(batch));
	if (system == "pgq")
		return pgq_statements(std::to_string(batch));
	if (system == "pgmq")
		return pgmq_statements(std::to_string(batch));
	throw std::runtime_error("unknown system: " + system);
}

} // namespace bench
