// The effects of campaign handlers. In a transaction: a row in a table without a unique key, so
// that a duplicate shows instead of being masked, and its partition's running total. Without one: a
// line in a file, written with one write(2). Thread-safety: one handler at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "once/message.h"
#include "once/transaction.h"
#include "tests/campaign/truth.h"

namespace once::campaign {

// Of a value, as Effect::value and Delivery::value have it.
std::uint64_t FingerprintOf(std::string_view value);
// What the handler of this message is to book.
Effect EffectOf(const Message& message);

class EffectsTable {
 public:
  // For sqlite::StoreOptions::setup. The table must go before the store is closed.
  absl::Status Create(sqlite3* connection);
  absl::Status Book(const Effect& effect) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

  Statement insert_;
  Statement add_;
};

class EffectsFile {
 public:
  explicit EffectsFile(const std::string& path);
  ~EffectsFile();
  EffectsFile(const EffectsFile&) = delete;
  EffectsFile& operator=(const EffectsFile&) = delete;
  absl::Status Book(const Effect& effect) const;

 private:
  const int file_;
};

// Read by a connection of their own, as any other reader would.
std::vector<Effect> ReadEffectsTable(const std::string& path);
std::map<std::int32_t, EffectTotal> ReadEffectTotals(const std::string& path);
std::vector<Effect> ReadEffectsFile(const std::string& path);

}  // namespace once::campaign
