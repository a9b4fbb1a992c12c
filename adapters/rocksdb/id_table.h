// What is known of ids, inside one transaction: records and claims in the log of ids, results
// beside it, as few have any. The one class that knows how ids are kept.
// Thread-safety: as the transaction.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/view.h"
#include "once/message_id.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"
#include "src/stores/id_log/id_log.h"

namespace once::rocksdb {

// What is committed of an id. REQUIRES: inside of a ReadScope of the database.
absl::StatusOr<stores::IdRows> FindCommittedRows(Database& database, const IdKey& key);

class IdTable {
 public:
  // REQUIRES: both outlive it; it is used in the database's turn only.
  IdTable(Database& database, Batch& batch) : database_(database), batch_(batch) {}

  absl::StatusOr<stores::IdRows> Find(const IdKey& key);
  // records[i] becomes what others see of keys[i].
  absl::Status FindVisible(std::span<const IdKey> keys, std::span<IdRecord> records);
  absl::Status PutRecord(const IdKey& key, const IdRecord& record);
  absl::Status PutClaim(const IdKey& key, const std::optional<stores::ClaimRow>& claim);
  absl::Status PutResult(const IdKey& key, std::string_view result);
  absl::StatusOr<std::string> FindResult(const IdKey& key);
  // False only while no id has a claim or a result.
  bool has_claims() const {
    return has_put_claim_ || database_.ids().has_open_rows() || database_.has_results();
  }

  // As those of the batch.
  void SetSavepoint() { savepoint_ = changes_.size(); }
  void RollbackToSavepoint() { changes_.CutTo(savepoint_); }
  // What the commit writes.
  stores::IdChanges TakeChanges() { return std::move(changes_); }

 private:
  Database& database_;
  Batch& batch_;
  stores::IdChanges changes_;
  std::size_t savepoint_ = 0;
  bool has_put_claim_ = false;
};

}  // namespace once::rocksdb
