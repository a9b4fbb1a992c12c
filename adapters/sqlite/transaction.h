// SqliteTransaction is the store's side of one open transaction, on the writing connection.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sqlite/database.h"
#include "adapters/sqlite/rows.h"
#include "once/dedup_store.h"

namespace once::sqlite {

class SqliteTransaction final : public StoreTransaction {
 public:
  // REQUIRES: database->Begin() was OK; this object ends the transaction.
  explicit SqliteTransaction(std::shared_ptr<Database> database)
      : database_(std::move(database)), rows_(*database_) {}
  ~SqliteTransaction() override { Rollback(); }

  // Compares the rows with what is expected of them. Called once, first.
  absl::StatusOr<std::vector<BeginResult::Mismatch>> Lock(std::span<const PositionLock> locks);

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override;
  absl::Status PutIds(std::span<const IdWrite> writes) override;
  absl::Status FindNotes(std::span<const std::string_view> keys,
                         std::span<std::string> values) override;
  absl::Status PutNotes(std::span<const Note> notes) override;
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override;
  absl::Status Publish(const OutgoingMessage& message) override;
  absl::Status SetSavepoint() override;
  absl::Status RollbackToSavepoint() override;
  absl::Status CheckOpen() override;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override;
  absl::Status Commit(Durability wanted) override;
  void Rollback() override;

  // Null once the transaction is over.
  sqlite3* connection() { return database_ ? database_->writer() : nullptr; }

 private:
  // Runs `work` as the store, with the checks around it that every call needs.
  template <typename Work>
  absl::Status Do(Work work);

  std::shared_ptr<Database> database_;  // null once the transaction is over
  std::map<PartitionKey, PositionStamp> locks_;
  SqliteRows rows_;  // used only while database_ is not null
  bool has_savepoint_ = false;
  std::int64_t log_time_ms_ = stores::kUnknownLogTime;  // of what it settles
  absl::Status state_;                                  // OK while the transaction is usable
};

}  // namespace once::sqlite
