// The production code; nothing of it knows that it is tested.
#include "book_order.h"

#include <once/sqlite/store.h>
#include <sqlite3.h>

absl::Status CreateTables(sqlite3* db) {
  const int code =
      sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS orders(id TEXT NOT NULL, item TEXT NOT NULL)",
                   nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : absl::InternalError(sqlite3_errmsg(db));
}

absl::Status BookOrder(const once::Message& message, once::Transaction& transaction) {
  if (!message.value()) return absl::InvalidArgumentError("an order needs an item");
  sqlite3* db = once::sqlite::Connection(transaction);
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(db, "INSERT INTO orders VALUES(?, ?)", -1, &insert, nullptr);
  sqlite3_bind_text64(insert, 1, message.id().data(), message.id().size(), SQLITE_STATIC,
                      SQLITE_UTF8);
  sqlite3_bind_text64(insert, 2, message.value()->data(), message.value()->size(), SQLITE_STATIC,
                      SQLITE_UTF8);
  sqlite3_step(insert);  // whatever went wrong, finalize() says it again
  return sqlite3_finalize(insert) == SQLITE_OK ? absl::OkStatus()
                                               : absl::UnavailableError(sqlite3_errmsg(db));
}
