// A StoreTemplate is a SQLite store with a row of every kind, as bytes: what was moved to the
// database file, and beside it a -wal with the transactions that came last. Tests damage copies.
// Thread-safety: immutable once made.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "once/dedup_store.h"
#include "once/sqlite/store.h"

namespace once::testing {

// What lies on disk.
struct StoreBytes {
  std::string database;
  std::string wal;
  std::string lock;
};

// An id and what an undamaged store says of it.
struct KnownId {
  std::string scope;
  std::string id;
  IdState state = IdState::kAbsent;
};

struct StoreTemplate {
  StoreBytes bytes;
  std::string store_id;
  std::vector<KnownId> ids;   // in the database file
  std::vector<KnownId> tail;  // in the -wal, one per transaction, in their order
  PartitionKey partition;     // its position counts the transactions of the tail
};

// Works in the empty folder `folder`.
StoreTemplate MakeStoreTemplate(const std::string& folder);

// Puts them where the store at `path` has them, and removes what else it leaves there.
void WriteStore(const StoreBytes& bytes, const std::string& path);

// Without waits, syncs and sockets; a clock that stands still.
sqlite::StoreOptions TestOptions(const std::string& path);

// What the store says of each id; the error of the whole lookup instead.
absl::StatusOr<std::vector<IdRecord>> FindRecords(DedupStore& store,
                                                  const std::vector<KnownId>& ids);

}  // namespace once::testing
