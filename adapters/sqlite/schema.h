// The store's tables and their versions. Every change of the layout is one more row in the table of
// migrations in schema.cc; rows that have shipped never change.
// Thread-safety: as the connection.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace once::sqlite {

// Takes the store's tables from version − 1 to `version`: first `sql`, then `move`, which may be
// null. `path` is for error messages.
struct Migration {
  int version;
  const char* sql;
  absl::Status (*move)(sqlite3* connection, const std::string& path) = nullptr;
};

std::span<const Migration> Migrations();

// Longest StoreTraits::id.
inline constexpr std::size_t kStoreIdBytesMax = 64;

struct SchemaRequest {
  std::string path;  // for messages
  bool is_new = false;
  // The store that was here when the file was last opened; another one is refused.
  std::optional<std::string> known_store;
  std::span<const Migration> migrations = Migrations();
};

struct StoreIdentity {
  std::string store_id;         // 32 hexadecimal digits, drawn when the tables were created
  std::int64_t open_count = 0;  // this opening included
};

// Creates or migrates the tables and counts the opening, all in one transaction.
// kFailedPrecondition: a newer version of once wrote it, or another store; kDataLoss: the tables
// are gone.
absl::StatusOr<StoreIdentity> PrepareSchema(sqlite3* connection, const SchemaRequest& request);

}  // namespace once::sqlite
