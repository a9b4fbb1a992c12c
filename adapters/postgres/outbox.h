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
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
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
  // `work` on the session that holds the relay's lock, so that a relay that has lost it can do
  // nothing more; on another one while this process is not the relay.
  absl::Status OnSession(std::string_view operation,
                         absl::FunctionRef<absl::Status(Session&)> work);
  absl::StatusOr<std::vector<Result>> Ask(const Statement& statement, Params params);
  absl::Status Write(const Statement& statement, Params params);

  const std::shared_ptr<Database> database_;
  std::mutex relay_mutex_;  // taken before mutex_
  Database::Lease relay_;   // null: this process is not the relay
  std::mutex mutex_;
  std::map<std::int64_t, std::string> origins_;  // hashes, of rows that were found
};

}  // namespace once::postgres
