// What operators see of the in-memory store, and change in it. Private to src/memory.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/operations.h"
#include "src/memory/memory_store.h"

namespace once::memory {

class MemoryOperations final : public StoreOperations {
 public:
  explicit MemoryOperations(std::shared_ptr<MemoryData> data) : data_(std::move(data)) {}

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override;
  absl::Status OrderPosition(const PositionOrder& order) override;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override;
  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override;
  absl::Status Redrive(const RedriveRequest& request) override;
  absl::Status Discard(const IdKey& key) override;
  absl::Status Resolve(const IdKey& key) override;
  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) override;
  absl::Status DropLetter(std::int64_t number) override;

 private:
  const std::shared_ptr<MemoryData> data_;
};

}  // namespace once::memory
