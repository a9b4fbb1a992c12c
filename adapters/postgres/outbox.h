// The relay's access to committed rows, on sessions of its own.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "adapters/postgres/database.h"
#include "once/outbox.h"

namespace once::postgres {

class PostgresOutbox final : public Outbox {
 public:
  explicit PostgresOutbox(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  // By a lock on the server, which goes with the session of whoever holds it.
  bool TryAcquireRelay() override;
  void ReleaseRelay() override;

  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override;
  absl::StatusOr<std::size_t> CountPending() override;
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override;
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override;

 private:
  // Nobody is told of a row that this opening has not found: after a failover its number may be
  // another row's.
  std::string OriginOf(std::int64_t sequence);
  absl::Status Write(const Statement& statement, Params params);

  const std::shared_ptr<Database> database_;
  std::mutex mutex_;
  Database::Lease relay_;                        // null: this process is not the relay
  std::map<std::int64_t, std::string> origins_;  // hashes, of rows that were found
};

}  // namespace once::postgres
