// What a StoreWriter and its judges must know of a PostgreSQL store, and the wrong stores of which
// they must notice that they are wrong. A path is a place: "CONNECTION#SCHEMA".
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "tests/campaign/store_kind.h"

namespace once::campaign {

// Why this machine has no server for campaigns to attack; empty: it has.
std::string WhyNoPostgres();

// A schema for a store, on the server of `connection`, and beside it the tables of a StoreWriter's
// effects and of consumers' (postgres_book.h). Throws std::runtime_error.
std::string MakePostgresPlace(const std::string& connection, const std::string& schema);

struct PostgresPlace {
  std::string connection;
  std::string schema;
};
// A path that is none of PostgreSQL has no place: its schema is empty.
PostgresPlace PlaceOf(const std::string& path);

absl::StatusOr<std::shared_ptr<DedupStore>> OpenPostgresPlace(
    const std::string& path, absl::Duration hung_after = absl::Seconds(30));

enum class PostgresFault : std::uint8_t {
  kNone,
  kUnsynced,   // commits that are to survive the machine do not wait for the disk
  kKnowing,    // whether a commit happened is never unknown: it did not
  kForgetful,  // a Sync() that fails says OK
};

// Kinds, stores: wrong ones are the right one behind a wrapper that spoils one answer.
const StoreKind& PostgresKind(PostgresFault fault = PostgresFault::kNone);
std::shared_ptr<DedupStore> Spoil(PostgresFault fault, std::shared_ptr<DedupStore> store);

}  // namespace once::campaign
