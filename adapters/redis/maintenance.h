// What operators ask of a Redis claim store as a whole. It shares its servers with others: figures
// and checks are of its own keys, memory and files are the servers'.
// Thread-safety: safe for concurrent use.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/keys.h"
#include "once/maintenance.h"
#include "once/redis/store.h"

namespace once::redis {

class RedisMaintenance final : public StoreMaintenance {
 public:
  // REQUIRES: `cluster` outlives it.
  RedisMaintenance(Cluster& cluster, const StoreOptions& options);

  // Ids by the state that others see. Counted, for Redis keeps no such count: as long as it takes
  // to look at every key, and at most at kCountedKeysMax of the servers'.
  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override;
  // Every key under the prefix, every field of every id.
  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) override;
  // Has the servers write their append-only files anew, one after another, and waits for each.
  // kFailedPrecondition: one has none, and nothing else can be compacted.
  absl::Status Compact(const std::stop_token& stop) override;
  // kUnimplemented: the message says why, and what to do.
  absl::Status Backup(const std::string& path, const std::stop_token& stop) override;

 private:
  struct IdCounts;
  absl::Status CheckKeys(const std::vector<std::string>& keys, std::vector<std::string>& findings);
  // Adds the ids among `keys`, which lie in `server`, to `counts`.
  absl::Status CountIds(Server& server, const std::vector<std::string>& keys, IdCounts& counts);

  Cluster& cluster_;
  const KeyNames keys_;
  const std::function<absl::Duration()> clock_skew_;
};

// Keys of the servers that ReadFigures() passes before it gives up counting.
inline constexpr std::int64_t kCountedKeysMax = 10'000'000;

}  // namespace once::redis
