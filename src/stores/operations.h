// What an operator changes, over the rows of a durable store: every change is one synced
// transaction that is checked against the state it finds. What an operator reads is the store's
// own.
// Thread-safety: safe for concurrent use, as the store's transactions are.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "once/operations.h"
#include "src/stores/rows.h"

namespace once::stores {

class RowOperations : public StoreOperations {
 public:
  // REQUIRES: `transactions` outlives it.
  explicit RowOperations(RowTransactions& transactions) : transactions_(transactions) {}

  absl::Status OrderPosition(const PositionOrder& order) override;
  absl::Status Redrive(const RedriveRequest& request) override;
  absl::Status Discard(const IdKey& key) override;
  absl::Status Resolve(const IdKey& key) override;
  absl::Status DropLetter(std::int64_t number) override;

 private:
  RowTransactions& transactions_;
};

}  // namespace once::stores
