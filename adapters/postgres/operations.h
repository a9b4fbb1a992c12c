// What an operator sees, read beside any transaction. Changes are those of src/stores.
// Thread-safety: safe for concurrent use, also beside running consumers.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/postgres/database.h"
#include "adapters/postgres/rows.h"
#include "once/operations.h"
#include "src/stores/operations.h"

namespace once::postgres {

class PostgresOperations final : public stores::RowOperations {
 public:
  PostgresOperations(std::shared_ptr<Database> database, PostgresTransactions& transactions)
      : RowOperations(transactions), database_(std::move(database)) {}

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override;
  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override;
  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) override;

 private:
  // One query and the server's clock.
  struct Answer {
    Result found;
    stores::LeaseClock clock;
  };
  absl::StatusOr<Answer> Ask(const Statement& statement, Params params);

  const std::shared_ptr<Database> database_;
};

}  // namespace once::postgres
