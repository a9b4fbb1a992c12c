// The effects of integration tests: a table without a unique key, so that a duplicate shows instead
// of being masked, written through the transaction that the handler gets.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "once/message.h"
#include "once/publisher.h"
#include "once/sqlite/store.h"
#include "tests/scratch_folder.h"

namespace once::testing {

// For StoreOptions::setup.
inline absl::Status CreateEffects(sqlite3* connection) {
  const int code = sqlite3_exec(
      connection,
      "CREATE TABLE IF NOT EXISTS effects(id TEXT, part INTEGER, offs INTEGER, value TEXT)",
      nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : absl::InternalError(sqlite3_errmsg(connection));
}

// One row per call: the effect of a test's handler.
inline absl::Status BookEffect(const Message& message, Transaction& transaction) {
  sqlite3* connection = sqlite::Connection(transaction);
  sqlite3_stmt* insert = nullptr;
  if (sqlite3_prepare_v2(connection, "INSERT INTO effects VALUES(?, ?, ?, ?)", -1, &insert,
                         nullptr) != SQLITE_OK) {
    return absl::InternalError(sqlite3_errmsg(connection));
  }
  const std::string_view id = message.id();
  const std::string_view value = message.value().value_or("");
  sqlite3_bind_text(insert, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
  sqlite3_bind_int(insert, 2, message.partition());
  sqlite3_bind_int64(insert, 3, message.offset());
  sqlite3_bind_text(insert, 4, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
  const int code = sqlite3_step(insert);
  sqlite3_finalize(insert);
  return code == SQLITE_DONE ? absl::OkStatus() : absl::InternalError(sqlite3_errmsg(connection));
}

struct EffectTotals {
  std::int64_t rows = 0;
  std::int64_t distinct_ids = 0;

  friend bool operator==(const EffectTotals&, const EffectTotals&) = default;
};

// Read through a connection of its own, as any other reader of the file would.
inline EffectTotals ReadEffects(const std::string& path) {
  sqlite3* connection = nullptr;
  sqlite3_stmt* query = nullptr;
  EffectTotals totals;
  if (sqlite3_open_v2(path.c_str(), &connection, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK &&
      sqlite3_busy_timeout(connection, 5000) == SQLITE_OK &&
      sqlite3_prepare_v2(connection, "SELECT count(*), count(DISTINCT id) FROM effects", -1, &query,
                         nullptr) == SQLITE_OK &&
      sqlite3_step(query) == SQLITE_ROW) {
    totals = {.rows = sqlite3_column_int64(query, 0),
              .distinct_ids = sqlite3_column_int64(query, 1)};
  }
  sqlite3_finalize(query);
  sqlite3_close(connection);
  return totals;
}

// An order as the tests produce it: the id in a header, the value derived from it.
inline OutgoingMessage Order(const std::string& topic, std::int32_t partition,
                             const std::string& id) {
  return {.topic = topic,
          .partition = partition,
          .key = id,
          .value = "value of " + id,
          .headers = {{.name = "order-id", .value = id}}};
}

// `count` orders with distinct ids spread over the partitions; every twentieth once more, later and
// in another partition.
inline std::vector<OutgoingMessage> OrdersWithDuplicates(const std::string& topic,
                                                         std::int32_t partitions, int first,
                                                         int count) {
  std::vector<OutgoingMessage> orders;
  for (int i = first; i < first + count; ++i) {
    const std::string id = "order-" + std::to_string(i);
    orders.push_back(Order(topic, i % partitions, id));
    if (i % 20 == 19) {
      const std::string former = "order-" + std::to_string(i - 10);
      orders.push_back(Order(topic, (i + 1) % partitions, former));
    }
  }
  return orders;
}

}  // namespace once::testing
