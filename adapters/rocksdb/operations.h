// What an operator sees, read beside any transaction. Changes are those of src/stores.
// Thread-safety: safe for concurrent use, also beside running consumers.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/rocksdb/rows.h"
#include "once/operations.h"
#include "src/stores/operations.h"

namespace once::rocksdb {

class RocksOperations final : public stores::RowOperations {
 public:
  RocksOperations(std::shared_ptr<Database> database, RocksTransactions& transactions)
      : RowOperations(transactions), database_(std::move(database)) {}

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override;
  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override;
  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) override;

 private:
  // REQUIRES: inside of a ReadScope.
  absl::StatusOr<stores::IdRows> FindRows(const IdKey& key) const;

  const std::shared_ptr<Database> database_;
};

}  // namespace once::rocksdb
