// The rows that belong to ids: scopes, records, claims and results, read and written inside one
// transaction. The one class that knows how ids are kept.
// Thread-safety: as the transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/view.h"
#include "once/message_id.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"

namespace once::rocksdb {

// The rows of the id that lies under `key` (IdKeyBytes), in any view.
absl::StatusOr<stores::IdRows> FindRows(const View& view, std::string_view key, bool has_claims);

// The number of a scope in any view; nullopt: it has no id yet.
absl::StatusOr<std::optional<std::uint32_t>> FindScopeNumber(const View& view,
                                                             std::string_view name);

class IdTable {
 public:
  // REQUIRES: both outlive it; it is used in the database's turn only.
  IdTable(Database& database, Batch& batch) : database_(database), batch_(batch) {}

  absl::StatusOr<stores::IdRows> Find(const IdKey& key);
  // found[i] belongs to keys[i].
  absl::StatusOr<std::vector<stores::IdRows>> FindAll(std::span<const IdKey> keys);
  absl::Status PutRecord(const IdKey& key, const IdRecord& record);
  absl::Status PutClaim(const IdKey& key, const std::optional<stores::ClaimRow>& claim);
  absl::Status PutResult(const IdKey& key, std::string_view result);
  absl::StatusOr<std::string> FindResult(const IdKey& key);

  // nullopt: the store has no id in that scope yet.
  absl::StatusOr<std::optional<std::uint32_t>> FindScope(std::string_view name);
  absl::StatusOr<std::uint32_t> InternScope(std::string_view name);

  // The transaction went back to a savepoint: scopes that were added since are no longer there.
  void ForgetNewScopes() { new_scopes_.clear(); }
  // The database's once the transaction is committed.
  ScopeNumbers TakeNewScopes() { return std::move(new_scopes_); }

 private:
  Database& database_;
  Batch& batch_;
  ScopeNumbers new_scopes_;
};

}  // namespace once::rocksdb
