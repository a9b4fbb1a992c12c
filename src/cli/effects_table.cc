// SQL of the demonstration.
#include "src/cli/effects_table.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::demo {
namespace {

constexpr int kBusyMilliseconds = 2'000;

absl::Status SqlError(sqlite3* connection, std::string_view operation) {
  return absl::InternalError(
      absl::StrCat("sqlite: ", ToAbsl(operation), ": ", sqlite3_errmsg(connection)));
}

absl::StatusOr<OwnedStatement> PrepareStatement(sqlite3* connection, std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return SqlError(connection, sql);
  return OwnedStatement(statement);
}

// Runs a statement that gives no rows, and makes it ready for the next time.
absl::Status Run(sqlite3* connection, sqlite3_stmt* statement, std::string_view operation) {
  const int code = sqlite3_step(statement);
  absl::Status status = code == SQLITE_DONE ? absl::OkStatus() : SqlError(connection, operation);
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return status;
}

std::string_view Text(sqlite3_stmt* statement, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  const int size = sqlite3_column_bytes(statement, column);
  return text == nullptr ? std::string_view()
                         : std::string_view(text, static_cast<std::size_t>(size));
}

}  // namespace

absl::Status CreateTables(sqlite3* connection) {
  constexpr const char* kTables =
      "CREATE TABLE IF NOT EXISTS effects(order_id TEXT NOT NULL, account INTEGER NOT NULL,"
      "  cents INTEGER NOT NULL, source_partition INTEGER NOT NULL,"
      "  source_offset INTEGER NOT NULL, attempt INTEGER NOT NULL, process INTEGER NOT NULL);"
      "CREATE TABLE IF NOT EXISTS accounts(account INTEGER PRIMARY KEY, cents INTEGER NOT NULL);";
  const int code = sqlite3_exec(connection, kTables, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqlError(connection, "creating the demo's tables");
}

std::int64_t EffectWriter::ProcessId() { return getpid(); }

absl::Status EffectWriter::Prepare(sqlite3* connection) {
  if (insert_effect_ != nullptr) return absl::OkStatus();
  absl::StatusOr<OwnedStatement> insert =
      PrepareStatement(connection, "INSERT INTO effects VALUES(?, ?, ?, ?, ?, ?, ?)");
  if (!insert.ok()) return insert.status();
  absl::StatusOr<OwnedStatement> add = PrepareStatement(
      connection,
      "INSERT INTO accounts VALUES(?, ?) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents");
  if (!add.ok()) return add.status();
  insert_effect_ = *std::move(insert);
  add_to_account_ = *std::move(add);
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> EffectWriter::Book(sqlite3* connection, const Message& message,
                                                const ReceivedOrder& order) {
  if (absl::Status prepared = Prepare(connection); !prepared.ok()) return prepared;
  sqlite3_stmt* insert = insert_effect_.get();
  sqlite3_bind_text64(insert, 1, message.id().data(), message.id().size(), SQLITE_STATIC,
                      SQLITE_UTF8);
  sqlite3_bind_int64(insert, 2, order.account);
  sqlite3_bind_int64(insert, 3, order.cents);
  sqlite3_bind_int64(insert, 4, message.partition());
  sqlite3_bind_int64(insert, 5, message.offset());
  sqlite3_bind_int64(insert, 6, message.attempt());
  sqlite3_bind_int64(insert, 7, process_);
  if (absl::Status status = Run(connection, insert, "booking an effect"); !status.ok()) {
    return status;
  }
  const std::int64_t row = sqlite3_last_insert_rowid(connection);
  sqlite3_stmt* add = add_to_account_.get();
  sqlite3_bind_int64(add, 1, order.account);
  sqlite3_bind_int64(add, 2, order.cents);
  if (absl::Status status = Run(connection, add, "adding to an account"); !status.ok()) {
    return status;
  }
  return row;
}

absl::StatusOr<EffectReader> EffectReader::Open(const std::string& path) {
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &connection, SQLITE_OPEN_READONLY, nullptr);
  EffectReader reader(connection);
  if (code != SQLITE_OK) return SqlError(connection, absl::StrCat("opening ", path));
  sqlite3_busy_timeout(connection, kBusyMilliseconds);
  return reader;
}

absl::Status EffectReader::ForEach(std::string_view sql,
                                   const std::function<void(sqlite3_stmt*)>& row) const {
  absl::StatusOr<OwnedStatement> statement = PrepareStatement(connection_.get(), sql);
  if (!statement.ok()) return statement.status();
  for (;;) {
    const int code = sqlite3_step(statement->get());
    if (code == SQLITE_DONE) return absl::OkStatus();
    if (code != SQLITE_ROW) return SqlError(connection_.get(), sql);
    row(statement->get());
  }
}

absl::StatusOr<std::int64_t> EffectReader::NewestRow() const {
  std::int64_t newest = 0;
  absl::Status status = ForEach("SELECT coalesce(max(rowid), 0) FROM effects",
                                [&](sqlite3_stmt* row) { newest = sqlite3_column_int64(row, 0); });
  if (!status.ok()) return status;
  return newest;
}

absl::Status EffectReader::ReadInto(Checker& checker) const {
  absl::Status status =
      ForEach("SELECT order_id, account, cents, attempt FROM effects", [&](sqlite3_stmt* row) {
        checker.AddEffect({.order_id = Text(row, 0),
                           .account = sqlite3_column_int64(row, 1),
                           .cents = sqlite3_column_int64(row, 2),
                           .attempt = sqlite3_column_int(row, 3)});
      });
  status.Update(ForEach("SELECT account, cents FROM accounts", [&](sqlite3_stmt* row) {
    checker.AddBalance(sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1));
  }));
  return status;
}

}  // namespace once::demo
