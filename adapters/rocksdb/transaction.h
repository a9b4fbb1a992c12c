// RocksTransaction is the store's side of one open transaction: everything it writes is a batch in
// memory, so a rollback costs nothing and nothing can end it by itself.
// Thread-safety: one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/rows.h"
#include "once/dedup_store.h"
#include "once/rocksdb/store.h"

namespace once::rocksdb {

// What the tables of a handler reach: nothing, once the transaction is over.
class Table::Access {
 public:
  explicit Access(Batch& batch) : batch_(&batch) {}

  void End() { batch_ = nullptr; }
  // Null once the transaction is over.
  Batch* batch() { return batch_; }
  bool is_visiting = false;  // a ForEach is running

 private:
  Batch* batch_;
};

class RocksTransaction final : public StoreTransaction {
 public:
  // REQUIRES: database->Begin() was OK; this object ends the turn.
  explicit RocksTransaction(std::shared_ptr<Database> database);
  ~RocksTransaction() override { Rollback(); }

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

  absl::StatusOr<Table> OpenTable(std::string_view name);

 private:
  // Runs `work` unless a call has failed before.
  template <typename Work>
  absl::Status Do(Work work);
  void End(std::string_view why);

  std::shared_ptr<Database> database_;  // null once the transaction is over
  std::unique_ptr<RocksRows> rows_;     // likewise
  std::shared_ptr<Table::Access> tables_;
  std::map<PartitionKey, PositionStamp> locks_;
  bool has_savepoint_ = false;
  // Outgoing messages so far, and up to the savepoint: their numbers follow the database's last.
  std::int64_t published_ = 0;
  std::int64_t published_at_savepoint_ = 0;
  std::int64_t log_time_ms_ = stores::kUnknownLogTime;  // of what it settles
  absl::Status state_;                                  // OK while the transaction is usable
};

}  // namespace once::rocksdb
