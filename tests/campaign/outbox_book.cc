// The books in SQLite and in RocksDB.
#include "tests/campaign/outbox_book.h"

#include <sqlite3.h>

#include <optional>
#include <stdexcept>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "once/abseil.h"
#include "once/rocksdb/store.h"
#include "once/sqlite/store.h"
#include "tests/integration/consumer_group.h"

namespace once::campaign {
namespace {

using testing::Must;

absl::Status ErrorOf(sqlite3* connection) {
  return absl::UnavailableError(absl::StrCat("books: ", sqlite3_errmsg(connection)));
}

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Statement Prepare(sqlite3* connection, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(connection, sql, -1, &statement, nullptr);
  return Statement(statement);
}

void Bind(const Statement& statement, int at, const std::string& text) {
  sqlite3_bind_text(statement.get(), at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

std::string TextAt(const Statement& row, int column) {
  return reinterpret_cast<const char*>(sqlite3_column_text(row.get(), column));
}

class SqliteBook : public OutboxBook {
 public:
  std::string_view name() const override { return "sqlite"; }

  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   absl::Duration busy_timeout) const override {
    return sqlite::OpenStore({.path = path,
                              .busy_timeout = busy_timeout,
                              .serve_operators = false,
                              .setup = [](sqlite3* connection) {
                                const int code = sqlite3_exec(
                                    connection,
                                    "CREATE TABLE IF NOT EXISTS counters(key TEXT PRIMARY KEY, "
                                    "number INTEGER NOT NULL);"
                                    "CREATE TABLE IF NOT EXISTS book(key TEXT NOT NULL, "
                                    "number INTEGER NOT NULL, name TEXT NOT NULL)",
                                    nullptr, nullptr, nullptr);
                                return code == SQLITE_OK ? absl::OkStatus() : ErrorOf(connection);
                              }});
  }

  absl::StatusOr<std::int64_t> Put(Transaction& transaction, const std::string& key,
                                   const std::string& name) const override {
    sqlite3* const connection = sqlite::Connection(transaction);
    if (connection == nullptr) return absl::UnavailableError("books: no open transaction");
    const Statement count = Prepare(
        connection,
        "INSERT INTO counters VALUES(?1, 1) ON CONFLICT(key) DO UPDATE SET number = number + 1 "
        "RETURNING number");
    if (count == nullptr) return ErrorOf(connection);
    Bind(count, 1, key);
    if (sqlite3_step(count.get()) != SQLITE_ROW) return ErrorOf(connection);
    const std::int64_t number = sqlite3_column_int64(count.get(), 0);
    if (sqlite3_step(count.get()) != SQLITE_DONE) return ErrorOf(connection);
    const Statement insert = Prepare(connection, "INSERT INTO book VALUES(?1, ?2, ?3)");
    if (insert == nullptr) return ErrorOf(connection);
    Bind(insert, 1, key);
    sqlite3_bind_int64(insert.get(), 2, number);
    Bind(insert, 3, name);
    if (sqlite3_step(insert.get()) != SQLITE_DONE) return ErrorOf(connection);
    return number;
  }

  // By a connection of its own, as any other reader would.
  std::vector<SentMessage> Read(const std::string& path) const override {
    sqlite3* opened = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE, nullptr);
    const std::unique_ptr<sqlite3, decltype(&sqlite3_close)> connection(opened, &sqlite3_close);
    const Statement rows = Prepare(opened, "SELECT key, number, name FROM book");
    if (code != SQLITE_OK || rows == nullptr) throw std::runtime_error("no book in " + path);
    std::vector<SentMessage> messages;
    int step = SQLITE_ROW;
    while ((step = sqlite3_step(rows.get())) == SQLITE_ROW) {
      messages.push_back({.key = TextAt(rows, 0),
                          .number = sqlite3_column_int64(rows.get(), 1),
                          .name = TextAt(rows, 2)});
    }
    if (step != SQLITE_DONE) throw std::runtime_error("the book in " + path + " cannot be read");
    return messages;
  }
};

class RocksdbBook : public OutboxBook {
 public:
  std::string_view name() const override { return "rocksdb"; }

  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   absl::Duration busy_timeout) const override {
    return rocksdb::OpenStore({.path = path,
                               .tables = {"counters", "book"},
                               .busy_timeout = busy_timeout,
                               .serve_operators = false});
  }

  absl::StatusOr<std::int64_t> Put(Transaction& transaction, const std::string& key,
                                   const std::string& name) const override {
    absl::StatusOr<rocksdb::Table> counters = rocksdb::TableOf(transaction, "counters");
    if (!counters.ok()) return counters.status();
    absl::StatusOr<rocksdb::Table> book = rocksdb::TableOf(transaction, "book");
    if (!book.ok()) return book.status();
    const absl::StatusOr<std::optional<std::string>> last = counters->Get(key);
    if (!last.ok()) return last.status();
    std::int64_t number = 0;
    if (last->has_value() && !absl::SimpleAtoi(**last, &number)) {
      return absl::DataLossError("books: no number under " + key);
    }
    ++number;
    if (absl::Status put = counters->Put(key, absl::StrCat(number)); !put.ok()) return put;
    if (absl::Status put = book->Put(name, absl::StrCat(key, " ", number)); !put.ok()) return put;
    return number;
  }

  std::vector<SentMessage> Read(const std::string& path) const override {
    const auto store = Must(Open(path, absl::Seconds(5)));
    std::vector<SentMessage> messages;
    const absl::Status read = rocksdb::ForEachCommitted(
        *store, "book", [&messages](std::string_view name, std::string_view value) {
          const std::pair<std::string, std::string> parts = absl::StrSplit(ToAbsl(value), ' ');
          messages.push_back(
              {.key = parts.first, .number = std::stoll(parts.second), .name = std::string(name)});
          return true;
        });
    if (!read.ok()) throw std::runtime_error(read.ToString());
    return messages;
  }
};

}  // namespace

const OutboxBook& OutboxBookOf(std::string_view name) {
  static const SqliteBook* const sqlite = new SqliteBook;
  static const RocksdbBook* const rocksdb = new RocksdbBook;
  if (name == sqlite->name()) return *sqlite;
  if (name == rocksdb->name()) return *rocksdb;
  if (name == PostgresOutboxBook().name()) return PostgresOutboxBook();
  throw std::runtime_error("there are no books in " + std::string(name));
}

}  // namespace once::campaign
