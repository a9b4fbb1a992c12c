// SpoolOperations are those of a spool in a server, which is no store: it keeps neither ids nor
// positions nor letters, and says so. What waits in it is seen by `once outbox`.
// Thread-safety: safe for concurrent use.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/operations.h"

namespace once::cli {

class SpoolOperations final : public StoreOperations {
 public:
  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override { return Refused(); }
  absl::Status OrderPosition(const PositionOrder&) override { return Refused(); }
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery&) override {
    return Refused();
  }
  absl::StatusOr<std::vector<FoundId>> FindId(const std::string&) override { return Refused(); }
  absl::Status Redrive(const RedriveRequest&) override { return Refused(); }
  absl::Status Discard(const IdKey&) override { return Refused(); }
  absl::Status Resolve(const IdKey&) override { return Refused(); }
  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery&) override { return Refused(); }
  absl::Status DropLetter(std::int64_t) override { return Refused(); }

 private:
  static absl::Status Refused() {
    return absl::UnimplementedError(
        "a spool keeps neither ids nor positions nor letters; `once outbox` shows what waits");
  }
};

}  // namespace once::cli
