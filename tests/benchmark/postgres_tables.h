// What the contestants on PostgreSQL share: a connection, a schema of their own on the server, and
// the check of the effects that they leave there.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>

#include "tests/benchmark/contestants.h"

namespace once::benchmark {

struct ClosePostgres {
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PGresult* result) const { PQclear(result); }
};
using PostgresConnection = std::unique_ptr<PGconn, ClosePostgres>;
using PostgresResult = std::unique_ptr<PGresult, ClosePostgres>;

// Throws where the server says no.
PostgresConnection ConnectTo(const std::string& server);
PostgresResult Run(PGconn* connection, const std::string& sql);
// OK or rows; throws else.
PostgresResult Checked(PGconn* connection, PGresult* result);

// Of the task alone.
std::string SchemaOf(const Task& task);
// The schema, and in it a table of effects without any key.
void CreateEffectsIn(PGconn* connection, const std::string& schema);
void DropSchema(const Task& task);

// As FindWrongEffects says of a database of SQLite.
std::string FindWrongEffectsOnServer(const Task& task);

}  // namespace once::benchmark
