// The background task of a store's ids: seals segments into runs, merges runs, removes what no
// longer counts. It takes its turns as every writer does, for short steps; what takes long reads
// and writes beside them. What fails is tried again later, and nothing is lost by that: the log
// keeps what is not sealed.
// Thread-safety: safe for concurrent use.
// style: seam - it is the thread of adapters that have threads; nothing of the engine uses it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "src/stores/id_log/id_log.h"

namespace once::stores {

// The store in which the ids live. Called by the background task only.
class IdOwner {
 public:
  virtual ~IdOwner() = default;

  // `change` in a turn of the store's writers, with no transaction open. Its status, or why it was
  // not called.
  virtual absl::Status InTurn(std::string_view operation,
                              absl::FunctionRef<absl::Status(IdLog&)> change) = 0;
  // The same without a turn, for what writes nothing.
  virtual absl::Status OutOfTurn(absl::FunctionRef<absl::Status(IdLog&)> change) = 0;
  // `work` beside transactions, which reads and writes pages. Its status, or why it was not called.
  virtual absl::Status Beside(absl::FunctionRef<absl::Status()> work) = 0;
  // In its turn. True: nothing is left, or nothing may be removed for now.
  virtual absl::StatusOr<bool> DropSome(IdLog& ids, std::size_t max) = 0;
  // What was settled at an earlier log time is to be forgotten; nullopt: nothing is. Not in a turn:
  // a partition that is taken meanwhile comes after that.
  virtual absl::StatusOr<std::optional<std::int64_t>> FindExpiryLimit() = 0;
  // Another number whenever pages may be gone that were written but not synced.
  virtual std::uint64_t generation() const = 0;
};

class IdUpkeep {
 public:
  // REQUIRES: `owner` outlives it.
  explicit IdUpkeep(IdOwner& owner);
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
  absl::StatusOr<std::unique_ptr<Compaction>> Start();
  // Until it is over, or there is no use in going on.
  absl::Status Advance(Compaction& compaction, std::uint64_t generation);
  absl::Status Finish(std::unique_ptr<Compaction> compaction, std::uint64_t generation);

  IdOwner& owner_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool is_woken_ = false;
  bool is_stopping_ = false;
  absl::Status status_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace once::stores
