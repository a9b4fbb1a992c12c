// Tables of effects on a PostgreSQL server.
#include "tests/benchmark/postgres_tables.h"

#include <cctype>
#include <cstdlib>
#include <stdexcept>

#include "tests/benchmark/effects_check.h"

namespace once::benchmark {

PostgresConnection ConnectTo(const std::string& server) {
  PostgresConnection connection(PQconnectdb(server.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    throw std::runtime_error(PQerrorMessage(connection.get()));
  }
  return connection;
}

PostgresResult Checked(PGconn* connection, PGresult* result) {
  PostgresResult owned(result);
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return owned;
  throw std::runtime_error(PQerrorMessage(connection));
}

PostgresResult Run(PGconn* connection, const std::string& sql) {
  return Checked(connection, PQexec(connection, sql.c_str()));
}

std::string SchemaOf(const Task& task) {
  std::string name = task.group;
  for (char& byte : name) {
    if (std::isalnum(static_cast<unsigned char>(byte)) == 0) byte = '_';
  }
  return name;
}

void CreateEffectsIn(PGconn* connection, const std::string& schema) {
  Run(connection, "SET client_min_messages = warning");
  Run(connection, "CREATE SCHEMA IF NOT EXISTS " + schema);
  Run(connection, "SET search_path = " + schema);
  Run(connection,
      "CREATE TABLE effects(id text NOT NULL, order_number int8 NOT NULL, partition int4 NOT NULL, "
      "place int8 NOT NULL)");
}

void DropSchema(const Task& task) {
  const PostgresConnection connection = ConnectTo(task.postgres);
  Run(connection.get(), "SET client_min_messages = error");
  Run(connection.get(), "DROP SCHEMA IF EXISTS " + SchemaOf(task) + " CASCADE");
  Run(connection.get(), "DROP SCHEMA IF EXISTS " + SchemaOf(task) + "_once CASCADE");
}

std::string FindWrongEffectsOnServer(const Task& task) {
  const PostgresConnection connection = ConnectTo(task.postgres);
  const PostgresResult rows =
      Run(connection.get(), "SELECT id, order_number FROM " + SchemaOf(task) + ".effects");
  EffectsCheck check(task.messages);
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    std::string wrong =
        check.Add(PQgetvalue(rows.get(), row, 0), std::atoll(PQgetvalue(rows.get(), row, 1)));
    if (!wrong.empty()) return wrong;
  }
  return check.Finish();
}

}  // namespace once::benchmark
