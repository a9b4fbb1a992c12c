// What operators ask of a Redis claim store as a whole. It shares its server with others: figures
// and checks are of its own keys, memory and files are the server's.
// Thread-safety: safe for concurrent use.
#pragma once

#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/server.h"
#include "once/maintenance.h"
#include "once/redis/store.h"

namespace once::redis {

class RedisMaintenance final : public StoreMaintenance {
 public:
  // REQUIRES: `server` outlives it.
  RedisMaintenance(Server& server, const StoreOptions& options);

  // Ids by the state that others see. Counted, for Redis keeps no such count: as long as it takes
  // to look at every key, and at most at kCountedKeysMax of the server's.
  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override;
  // Every key under the prefix, every field of every id.
  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) override;
  // Has the server write its append-only file anew, and waits for it. kFailedPrecondition: it has
  // none, and nothing else can be compacted.
  absl::Status Compact(const std::stop_token& stop) override;
  // kUnimplemented: the message says why, and what to do.
  absl::Status Backup(const std::string& path, const std::stop_token& stop) override;

 private:
  struct IdCounts;
  using InfoLines = std::map<std::string, std::string>;
  absl::StatusOr<InfoLines> ReadInfo();
  absl::Status CheckKeys(const std::vector<std::string>& keys, std::vector<std::string>& findings);
  // Adds the ids among `keys` to `counts`.
  absl::Status CountIds(const std::vector<std::string>& keys, IdCounts& counts);

  Server& server_;
  const KeyNames keys_;
  const std::function<absl::Duration()> clock_skew_;
};

// Keys of the server that ReadFigures() passes before it gives up counting.
inline constexpr std::int64_t kCountedKeysMax = 10'000'000;

}  // namespace once::redis
