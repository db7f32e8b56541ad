// SPDX-License-Identifier: PostgreSQL
#include "catalog/statement.hpp"

#include "base/owner.hpp"
#include "base/scope.hpp"

extern "C" {
#include <catalog/pg_type.h>
#include <utils/guc.h>
}

namespace onceq::catalog {

namespace {

// Requires: SPI is connected.
uint64
run(char const *sql, Parameter const *parameters, int count)
{
	Oid types[parameters_max];
	Datum values[parameters_max];
	char nulls[parameters_max];
	Assert(count <= parameters_max);
	for (int i = 0; i < count; i++)
	{
		types[i] = parameters[i].type;
		values[i] = parameters[i].value;
		nulls[i] = parameters[i].is_null ? 'n' : ' ';
	}
	base::SnapshotScope const snapshot(GetLatestSnapshot());
	SPIPlanPtr const plan = SPI_prepare(sql, count, types);
	if (plan == nullptr)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	int const result = SPI_execute_snapshot(plan, values, nulls, GetActiveSnapshot(), InvalidSnapshot, false, true, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

} // namespace

Parameter
parameter(int32 value)
{
	return {INT4OID, Int32GetDatum(value), false};
}

Parameter
parameter(int64 value)
{
	return {INT8OID, Int64GetDatum(value), false};
}

Parameter
parameter(bool value)
{
	return {BOOLOID, BoolGetDatum(value), false};
}

Parameter
parameter(core::Wall value)
{
	return {TIMESTAMPTZOID, TimestampTzGetDatum(value.us), value == core::wall_never};
}

uint64
execute(char const *sql, std::initializer_list<Parameter> parameters)
{
	return execute(sql, parameters.begin(), static_cast<int>(parameters.size()));
}

uint64
execute(char const *sql, Parameter const *parameters, int count)
{
	base::AsOwner owner;
	// These tables are small, but dead rows pile up in them while some snapshot is old.
	base::set_locally("enable_seqscan", "off");
	base::set_locally("jit", "off"); // which a scan that is taken nevertheless would seem to be worth
	base::SpiScope const spi;
	uint64 const rows = run(sql, parameters, count);
	owner.finish();
	return rows;
}

int32
execute_returning(char const *sql, Parameter const *parameters, int count)
{
	base::AsOwner owner;
	base::SpiScope const spi;
	int32 returned = 0;
	if (run(sql, parameters, count) > 0)
	{
		bool is_null;
		returned = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	}
	owner.finish();
	return returned;
}

void
execute_ddl(char const *sql)
{
	base::AsOwner owner;
	base::set_locally("default_tablespace", "");
	base::set_locally("default_table_access_method", "heap");
	base::SpiScope const spi;
	run(sql, nullptr, 0);
	owner.finish();
}

} // namespace onceq::catalog
