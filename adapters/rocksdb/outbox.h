// The relay's access to committed rows: reading beside the worker's transaction, marking in turn
// with it. Thread-safety: safe for concurrent use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/database.h"
#include "once/outbox.h"

namespace once::rocksdb {

class RocksOutbox final : public Outbox {
 public:
  explicit RocksOutbox(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override;
  absl::StatusOr<std::size_t> CountPending() override;
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override;
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override;

 private:
  const std::shared_ptr<Database> database_;
  // No row before it waits: what was published leaves deletions behind, which a scan from the
  // beginning would have to pass each time.
  std::atomic<std::int64_t> first_waiting_ = 0;
};

}  // namespace once::rocksdb
