// SPDX-License-Identifier: PostgreSQL
// The compared queues, as what a client sends them. Both return id, handle and payload of what was
// claimed, and the ids of what was enqueued.
#pragma once

#include <stdexcept>
#include <string>

namespace bench {

// 210 bytes, as jsonb a few more.
inline constexpr char payload[] =
	R"({"order": "2026-0481516", "customer": {"id": 2342, "name": "Ada Lovelace", "country": "GB"}, )"
	R"("items": [{"sku": "A-1001", "count": 2}, {"sku": "B-2002", "count": 1}], "total": "129.90", "note": "leave at door"})";

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
	std::string claim;         // returns id, handle, payload
	std::string ack;           // $1: the handle of the claim, or its ids
	std::string ack_and_claim; // $1 the same, or null
	bool acks_by_ids;
	std::string count_ready;
	std::string fill;   // $1 jsonb, $2 count
	std::string settle; // after it was filled
};

inline Statements
onceq_statements(std::string const &batch)
{
	return {
		.enqueue = "SELECT onceq.enqueue('bench', $1)",
		.enqueue_many = "SELECT * FROM onceq.enqueue_many('bench', $1)",
		.claim = "SELECT id, token, payload FROM onceq.claim('bench', " + batch + ")",
		.ack = "SELECT onceq.ack($1)",
		.ack_and_claim = "SELECT id, token, payload FROM onceq.ack_and_claim($1, 'bench', " + batch + ")",
		.acks_by_ids = false,
		.count_ready = "SELECT ready FROM onceq.queue_stats WHERE queue = 'bench'",
		.fill = "SELECT count(*) FROM onceq.enqueue_many('bench', array_fill($1::jsonb, ARRAY[$2::int]))",
		.settle = "SELECT 1", // there is nothing to vacuum
	};
}

// The number of jobs is a literal: a parameter would make the planner guess a tenth of the table.
// = ANY (ARRAY(…)) is evaluated once; IN (…) need not be.
inline Statements
skip_locked_statements(std::string const &batch)
{
	std::string const take =
		"UPDATE bench.job SET running = true, attempt = attempt + 1, lease_until = now() + interval '30 s' "
		"WHERE id = ANY (ARRAY(SELECT id FROM bench.job WHERE NOT running ORDER BY id "
		"FOR UPDATE SKIP LOCKED LIMIT " + batch + ")) RETURNING id, attempt, payload";
	return {
		.enqueue = "INSERT INTO bench.job (payload) VALUES ($1) RETURNING id",
		.enqueue_many = "INSERT INTO bench.job (payload) SELECT unnest($1::jsonb[]) RETURNING id",
		.claim = take,
		.ack = "DELETE FROM bench.job WHERE id = ANY ($1::bigint[])",
		.ack_and_claim = "WITH acked AS (DELETE FROM bench.job WHERE id = ANY ($1::bigint[])) " + take,
		.acks_by_ids = true,
		.count_ready = "SELECT count(*) FROM bench.job WHERE NOT running",
		.fill = "INSERT INTO bench.job (payload) SELECT $1::jsonb FROM generate_series(1, $2::int)",
		.settle = "VACUUM (ANALYZE) bench.job",
	};
}

inline Statements
statements_of(std::string const &system, int batch)
{
	if (system == "onceq")
		return onceq_statements(std::to_string(batch));
	if (system == "skip_locked")
		return skip_locked_statements(std::to_string(batch));
	throw std::runtime_error("unknown system: " + system);
}

} // namespace bench
