// What an operator sees and changes: reading on the reading connection, every change one synced
// transaction that is checked against the state it finds.
// Thread-safety: safe for concurrent use, also beside running consumers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sqlite/database.h"
#include "once/operations.h"

namespace once::sqlite {

class SqliteOperations final : public StoreOperations {
 public:
  explicit SqliteOperations(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override;
  absl::Status OrderPosition(const PositionOrder& order) override;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override;
  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override;
  absl::Status Redrive(const RedriveRequest& request) override;
  absl::Status Discard(const IdKey& key) override;
  absl::Status Resolve(const IdKey& key) override;
  absl::Status DropLetter(std::int64_t number) override;

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::sqlite
