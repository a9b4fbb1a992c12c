// Upkeep is the thread that looks after the buckets of a store with a retention, on a session of
// its own beside those of StoreOptions::connections_max.
// Thread-safety: safe for concurrent use.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "adapters/postgres/bucket_upkeep.h"
#include "adapters/postgres/database.h"

namespace once::postgres {

class Upkeep {
 public:
  explicit Upkeep(std::shared_ptr<Database> database);
  // Stops at once, whatever the server does; an attempt to connect at the end of its
  // connect_timeout.
  ~Upkeep() = default;
  Upkeep(const Upkeep&) = delete;
  Upkeep& operator=(const Upkeep&) = delete;

  // Why nothing was done at the last look; empty: it was.
  std::string error() const;

 private:
  void Run(const std::stop_token& stop);
  absl::StatusOr<bool> Look(const std::stop_token& stop);
  // For operators: they ask from another process.
  void Tell(const std::string& error);

  const std::shared_ptr<Database> database_;
  BucketUpkeep buckets_;
  std::unique_ptr<Session> session_;  // null: not connected
  mutable std::mutex mutex_;          // guards error_
  std::string error_;
  std::optional<std::string> told_error_;  // as operators can read it
  std::jthread thread_;                    // last: it uses all of the above
};

}  // namespace once::postgres
