// SPDX-License-Identifier: PostgreSQL
// The little of libpq that the driver needs; failures become exceptions.
#pragma once

#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <libpq-fe.h>
#include <poll.h>

namespace bench {

class Result
{
  public:
	explicit Result(PGresult *result) : result_(result) {}

	int
	rows() const
	{
		return PQntuples(result_.get());
	}
	char const *
	value(int row, int column) const
	{
		return PQgetvalue(result_.get(), row, column);
	}
	int
	length(int row, int column) const
	{
		return PQgetlength(result_.get(), row, column);
	}
	PGresult *
	get() const
	{
		return result_.get();
	}

  private:
	struct Clear
	{
		void
		operator()(PGresult *result) const
		{
			PQclear(result);
		}
	};
	std::unique_ptr<PGresult, Clear> result_;
};

// A connection as PGHOST, PGPORT, PGUSER and PGDATABASE say.
class Connection
{
  public:
	explicit Connection(char const *name)
		: connection_(PQconnectdb((std::string("application_name='") + name + "'").c_str()))
	{
		if (PQstatus(connection_.get()) != CONNECTION_OK)
			throw std::runtime_error(PQerrorMessage(connection_.get()));
	}

	void
	prepare(char const *name, std::string const &statement)
	{
		check(Result(PQprepare(connection_.get(), name, statement.c_str(), 0, nullptr)));
	}

	using Values = std::initializer_list<char const *>;

	Result
	execute(char const *prepared, Values values)
	{
		return check(Result(PQexecPrepared(connection_.get(), prepared, static_cast<int>(values.size()), values.begin(),
										   nullptr, nullptr, 0)));
	}

	Result
	query(std::string const &statement, Values values)
	{
		return check(Result(PQexecParams(connection_.get(), statement.c_str(), static_cast<int>(values.size()), nullptr,
										 values.begin(), nullptr, nullptr, 0)));
	}

	// The one number the query returns; null: 0.
	long
	number(std::string const &statement)
	{
		Result const result = query(statement, {});
		return result.rows() == 0 ? 0 : std::atol(result.value(0, 0));
	}

	// Whether one came in this time, or had come before. One stands for all that came.
	bool
	wait_for_notice(int milliseconds)
	{
		bool noticed = drop_notices();
		pollfd input{PQsocket(connection_.get()), POLLIN, 0};
		if (!noticed && poll(&input, 1, milliseconds) > 0)
		{
			PQconsumeInput(connection_.get());
			noticed = drop_notices();
		}
		return noticed;
	}

	int
	server_process() const
	{
		return PQbackendPID(connection_.get());
	}

  private:
	bool
	drop_notices()
	{
		bool any = false;
		while (PGnotify *const notice = PQnotifies(connection_.get()))
		{
			PQfreemem(notice);
			any = true;
		}
		return any;
	}

	Result
	check(Result result)
	{
		ExecStatusType const status = PQresultStatus(result.get());
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			throw std::runtime_error(PQerrorMessage(connection_.get()));
		return result;
	}

	struct Finish
	{
		void
		operator()(PGconn *connection) const
		{
			PQfinish(connection);
		}
	};
	std::unique_ptr<PGconn, Finish> connection_;
};

} // namespace bench
