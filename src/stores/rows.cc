// What the protocols share.
#include "src/stores/rows.h"

namespace once::stores {

absl::Status WriteId(Rows& rows, const IdWrite& write) {
  if (rows.has_claims()) {
    // Whoever held the id holds it no more: its fence must not match any longer.
    const absl::StatusOr<IdRows> found = rows.Find(write.key);
    if (!found.ok()) return found.status();
    if (found->claim) {
      absl::Status put = rows.PutClaim(write.key, AfterWriting(*found->claim, write.record));
      if (!put.ok()) return put;
    }
    if (absl::Status dropped = rows.PutResult(write.key, {}); !dropped.ok()) return dropped;
  }
  if (absl::Status put = rows.PutRecord(write.key, write.record); !put.ok()) return put;
  const bool is_settled =
      write.record.state == IdState::kCompleted || write.record.state == IdState::kDiscarded;
  return is_settled ? rows.VoidLetters(write.key) : absl::OkStatus();
}

}  // namespace once::stores
