// What an operator sees, read on the reading connection. Changes are those of src/stores.
// Thread-safety: safe for concurrent use, also beside running consumers.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/sqlite/rows.h"
#include "once/operations.h"
#include "src/stores/operations.h"

namespace once::sqlite {

class SqliteOperations final : public stores::RowOperations {
 public:
  SqliteOperations(std::shared_ptr<Database> database, SqliteTransactions& transactions)
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

}  // namespace once::sqlite
