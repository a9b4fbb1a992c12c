// The background task of a store's ids: seals segments into runs, merges runs, removes what no
// longer counts. It takes its turns as every writer does, for short steps; what takes long reads
// and writes beside them. What fails is tried again later, and nothing is lost by that: the log
// keeps what is not sealed.
// Thread-safety: safe for concurrent use.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace once::stores {
class Compaction;
}  // namespace once::stores

namespace once::rocksdb {

class Database;

class IdUpkeep {
 public:
  // REQUIRES: `database` outlives it.
  explicit IdUpkeep(Database& database);
  // Waits for the step that is under way.
  ~IdUpkeep();

  // There is something to do.
  void Wake();
  // Of the last attempt; OK when it got on.
  absl::Status status() const;

 private:
  void Run();
  // False: it is over. Comes back when there is something to do, but not before `pause`.
  bool Wait(absl::Duration pause);
  bool is_stopping() const;
  // Does all there is to do.
  absl::Status Work();
  // Forgets what is old enough.
  absl::Status Expire();
  absl::Status DropAll();
  // Null: there is nothing to do.
  absl::StatusOr<std::unique_ptr<stores::Compaction>> Start();
  // Until it is over, or there is no use in going on.
  absl::Status Advance(stores::Compaction& compaction, std::uint64_t reopenings);
  absl::Status Finish(std::unique_ptr<stores::Compaction> compaction, std::uint64_t reopenings);

  Database& database_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool is_woken_ = false;
  bool is_stopping_ = false;
  absl::Status status_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace once::rocksdb
