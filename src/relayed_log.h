// A RelayedLog shows a SpoolLog to the relay, which asks a store for its log of outgoing messages.
// It is a store in nothing else: whoever asks it for a transaction is refused.
// Thread-safety: that of the log.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/dedup_store.h"
#include "once/spool_log.h"

namespace once {

class RelayedLog final : public DedupStore, private TransactionalStore {
 public:
  explicit RelayedLog(std::shared_ptr<SpoolLog> log) : log_(std::move(log)) {}

  StoreTraits traits() const override { return log_->traits(); }
  TransactionalStore* transactions() override { return this; }

 private:
  class NoOutbox final : public Outbox {
   public:
    absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t) override { return Refused(); }
    absl::StatusOr<std::size_t> CountPending() override { return Refused(); }
    absl::Status MarkPublished(std::span<const std::int64_t>) override { return Refused(); }
    absl::Status Park(std::int64_t, const absl::Status&) override { return Refused(); }
  };

  static absl::Status Refused() {
    return absl::UnimplementedError("a log of a spool has no transactions");
  }
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock>) override { return Refused(); }
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest>) override {
    return Refused();
  }
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey>) override {
    return Refused();
  }
  Outbox& outbox() override { return outbox_; }
  OutgoingLog* outgoing() override { return &log_->outgoing(); }

  const std::shared_ptr<SpoolLog> log_;
  NoOutbox outbox_;
};

}  // namespace once
