// The ids of one open store: their log, the rows in which it lies, and the background task that
// looks after it.
// Thread-safety: Read() is safe for concurrent use; everything else in the turn of
// the store's writers.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sqlite/id_storage.h"
#include "once/sqlite/store.h"
#include "src/stores/id_log/id_log.h"
#include "src/stores/id_log/id_upkeep.h"

namespace once::sqlite {

class Database;

// For stores that are opened from now on; nullopt: what is right for users.
void SetIdLogOptionsForTest(std::optional<stores::IdLogOptions> options);

// `connection` is that of the store, for the size of its pages.
absl::StatusOr<stores::IdLogOptions> IdLogOptionsFor(const StoreOptions& options,
                                                     sqlite3* connection);

class StoreIds final : private stores::IdOwner {
 public:
  // REQUIRES: `database` outlives it.
  explicit StoreIds(Database& database) : database_(database), storage_(database) {}
  ~StoreIds() override { StopUpkeep(); }

  // Reads what is there. REQUIRES: the tables are there.
  absl::Status Open(const StoreOptions& options);
  void StartUpkeep();
  // Waits for the step that is under way.
  void StopUpkeep() { upkeep_.reset(); }

  stores::IdLog& log() { return *log_; }

  // The last thing before COMMIT …
  absl::Status Write(stores::IdChanges& changes, std::int64_t log_time_ms);
  // … and what became of it.
  void Committed(stores::IdChanges changes);
  void RolledBack(stores::IdChanges changes) { log_->RolledBack(std::move(changes)); }
  // Reads what became of a commit of which nobody knew. REQUIRES: the write lock is ours.
  absl::Status CatchUp();

  // For readers, beside a transaction: `read(const IdLog&)`.
  template <typename F>
  auto Read(F read) {
    const std::shared_lock lock(mutex_);
    return read(static_cast<const stores::IdLog&>(*log_));
  }

 private:
  absl::Status InTurn(std::string_view operation,
                      absl::FunctionRef<absl::Status(stores::IdLog&)> change) override;
  absl::Status OutOfTurn(absl::FunctionRef<absl::Status(stores::IdLog&)> change) override;
  absl::Status Beside(absl::FunctionRef<absl::Status()> work) override { return work(); }
  absl::StatusOr<bool> DropSome(stores::IdLog& ids, std::size_t max) override {
    return ids.DropSome(max);
  }
  absl::StatusOr<std::optional<std::int64_t>> FindExpiryLimit() override;
  // What a connection has committed stays, or the store is of no use any more.
  std::uint64_t generation() const override { return 0; }

  Database& database_;
  absl::Duration retention_;
  IdStorage storage_;
  // Exclusive for what teaches the log something, which only happens in one's turn.
  std::shared_mutex mutex_;
  std::unique_ptr<stores::IdLog> log_;
  std::unique_ptr<stores::IdUpkeep> upkeep_;  // last: it uses all of this
};

}  // namespace once::sqlite
