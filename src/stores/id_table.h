// What is known of ids inside one transaction of a store on the log of ids: records, and claims as
// what the log keeps beyond them.
// Thread-safety: as the transaction.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/message_id.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"
#include "src/stores/id_log/id_log.h"

namespace once::stores {

// What is committed of an id.
absl::StatusOr<IdRows> FindCommittedRows(const IdLog& ids, const IdKey& key);

// Decodes every id, from the storage, as if nothing of them were in memory. `visit` is told of each
// and may end it with an error.
absl::Status CheckIds(IdLog& ids, absl::FunctionRef<absl::Status()> visit);

class IdTable {
 public:
  // REQUIRES: `log` outlives it; it is used in the turn of the store's writers only.
  explicit IdTable(IdLog& log) : log_(log) {}

  absl::StatusOr<IdRows> Find(const IdKey& key);
  // records[i] becomes what others see of keys[i].
  absl::Status FindVisible(std::span<const IdKey> keys, const LeaseClock& clock,
                           std::span<IdRecord> records);
  // So many more will be put.
  void Reserve(std::size_t writes) { changes_.Reserve(writes); }
  absl::Status PutRecord(const IdKey& key, const IdRecord& record);
  absl::Status PutClaim(const IdKey& key, const std::optional<ClaimRow>& claim);
  // False only while no id has a claim.
  bool has_claims() const { return has_put_claim_ || log_.has_open_rows(); }

  // As those of the transaction.
  void SetSavepoint() { savepoint_ = changes_.size(); }
  void RollbackToSavepoint() { changes_.CutTo(savepoint_); }
  // What the commit writes.
  IdChanges TakeChanges() { return std::move(changes_); }

 private:
  IdLog& log_;
  IdChanges changes_;
  std::size_t savepoint_ = 0;
  bool has_put_claim_ = false;
};

}  // namespace once::stores
