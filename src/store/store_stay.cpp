// SPDX-License-Identifier: PostgreSQL
// Stragglers: unfinished jobs that outlive their segment.
#include "base/owner.hpp"
#include "base/scope.hpp"
#include "catalog/statement.hpp"
#include "store/segment_name.hpp"
#include "store/store.hpp"

extern "C" {
#include <catalog/pg_type.h>
#include <utils/array.h>
}

namespace onceq::store {

namespace {

catalog::Parameter
ids_parameter(Datum *ids, int count)
{
	ArrayType *const array = construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	return {INT8ARRAYOID, PointerGetDatum(array), false};
}

} // namespace

bool
has_stay(int32 queue)
{
	return OidIsValid(find_tables(queue, stay).jobs);
}

void
move_to_stay(int32 queue, core::SegmentNumber number, core::JobId const *id, int count)
{
	if (!has_stay(queue))
		create_stay(queue);
	SegmentName const name = segment_name(queue, number);
	char const *const from = name.text;
	auto *const ids = static_cast<Datum *>(palloc(sizeof(Datum) * Max(count, 1)));
	for (int i = 0; i < count; i++)
		ids[i] = Int64GetDatum(id[i]);
	catalog::Parameter const moved = ids_parameter(ids, count);
	uint64 const jobs = catalog::execute(
		psprintf("INSERT INTO onceq_data.j%d_stay SELECT * FROM onceq_data.j%s WHERE id = ANY ($1)", queue, from),
		{moved});
	if (jobs != static_cast<uint64>(count))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("%d jobs of a segment could not be moved", count - static_cast<int>(jobs)),
						errdetail("Their rows in table onceq_data.j%s are missing.", from)));
	catalog::execute(psprintf("INSERT INTO onceq_data.o%d_stay SELECT * FROM onceq_data.o%s"
							  " WHERE outcome <> 'a' AND first_id = ANY ($1)",
							  queue, from),
					 {moved});
}

bool
has_ends_since(int32 queue, core::SegmentNumber number, core::Wall since)
{
	return catalog::execute(
			   psprintf("SELECT FROM onceq_data.o%s WHERE outcome <> 'f' AND outcome <> 's' AND at >= $1 LIMIT 1",
						segment_name(queue, number).text),
			   {catalog::parameter(since)}) > 0;
}

int
read_old_ends(int32 queue, core::Wall before, OldEnd *end, int at_most)
{
	base::AsOwner owner;
	int count;
	{
		base::SpiScope const spi;
		Oid types[1] = {TIMESTAMPTZOID};
		Datum values[1] = {TimestampTzGetDatum(before.us)};
		SPI_execute_with_args(
			psprintf("SELECT e.first_id, e.last_id, e.outcome FROM onceq_data.o%d_stay e"
					 " WHERE e.outcome IN ('a', 'c', 'd') AND e.due_at IS NULL AND e.at < $1 AND (e.outcome <> 'd' OR "
					 "NOT EXISTS"
					 " (SELECT FROM onceq_data.o%d_stay r WHERE r.first_id = e.first_id AND r.outcome = 'r' AND"
					 " r.attempt >= e.attempt)) ORDER BY e.at",
					 queue, queue),
			1, types, values, nullptr, true, at_most);
		count = static_cast<int>(SPI_processed);
		for (int i = 0; i < count; i++)
		{
			bool null;
			HeapTuple const row = SPI_tuptable->vals[i];
			end[i] = {DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &null)),
					  DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &null)),
					  static_cast<Outcome>(DatumGetChar(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &null)))};
		}
	}
	owner.finish();
	return count;
}

void
delete_moved(int32 queue, OldEnd const *end, int count)
{
	if (count == 0)
		return;
	auto *const first = static_cast<Datum *>(palloc(sizeof(Datum) * count));
	auto *const last = static_cast<Datum *>(palloc(sizeof(Datum) * count));
	for (int i = 0; i < count; i++)
	{
		first[i] = Int64GetDatum(end[i].first_id);
		last[i] = Int64GetDatum(end[i].last_id);
	}
	constexpr struct
	{
		char table;
		char const *column;
	} parts[] = {{'j', "id"}, {'o', "first_id"}, {'r', "id"}};
	for (auto const &part : parts)
		catalog::execute(psprintf("DELETE FROM onceq_data.%c%d_stay t USING unnest($1, $2) AS e(first_id, last_id)"
								  " WHERE t.%s BETWEEN e.first_id AND e.last_id",
								  part.table, queue, part.column),
						 {ids_parameter(first, count), ids_parameter(last, count)});
}

} // namespace onceq::store
