// The tables of the demonstration's consumer, in the same SQLite file as the store's own. `effects`
// has no unique key on purpose, and `accounts` adds up: an order that is booked twice shows in
// both, instead of being hidden by a constraint.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/message.h"
#include "src/cli/demo_check.h"
#include "src/cli/orders.h"

namespace once::demo {

struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using OwnedStatement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// For once::sqlite::StoreOptions::setup.
absl::Status CreateTables(sqlite3* connection);

// Books orders, inside the transaction of a handler. One connection, one thread.
class EffectWriter {
 public:
  // The number of the effect's row: rows are numbered in the order of booking, and a row that was
  // rolled back leaves its number to the next one.
  absl::StatusOr<std::int64_t> Book(sqlite3* connection, const Message& message,
                                    const ReceivedOrder& order);

 private:
  absl::Status Prepare(sqlite3* connection);

  OwnedStatement insert_effect_;
  OwnedStatement add_to_account_;
  const std::int64_t process_ = ProcessId();

  static std::int64_t ProcessId();
};

// Reads what is committed, from another process than the one that writes. It changes nothing, not
// even the write-ahead log that a killed process has left.
class EffectReader {
 public:
  static absl::StatusOr<EffectReader> Open(const std::string& path);

  // The number of the newest committed row; 0 when there is none.
  absl::StatusOr<std::int64_t> NewestRow() const;
  absl::Status ReadInto(Checker& checker) const;

 private:
  struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  };

  explicit EffectReader(sqlite3* connection) : connection_(connection) {}
  absl::Status ForEach(std::string_view sql, const std::function<void(sqlite3_stmt*)>& row) const;

  std::unique_ptr<sqlite3, Close> connection_;
};

}  // namespace once::demo
