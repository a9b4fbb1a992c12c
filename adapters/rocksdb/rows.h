// All rows of one transaction, and transactions around them, as the protocols that durable stores
// share (src/stores) want them.
// Thread-safety: RocksRows as the transaction; RocksTransactions safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "adapters/rocksdb/batch.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/id_table.h"
#include "adapters/rocksdb/outbox_rows.h"
#include "adapters/rocksdb/view.h"
#include "src/stores/rows.h"

namespace once::rocksdb {

// The row of a position in any view; nullopt: there is none.
absl::StatusOr<std::optional<StoredPosition>> FindPosition(const View& view,
                                                           const PartitionKey& key);

// All of them, in key order.
absl::StatusOr<std::vector<StoredPosition>> ListPositions(const View& view);

class RocksRows final : public stores::Rows {
 public:
  // REQUIRES: `database` outlives it; it is used in the database's turn only.
  explicit RocksRows(Database& database)
      : database_(database),
        batch_(database.open_db(),
               static_cast<std::size_t>(database.options().transaction_bytes_max),
               database.TakeBatchRoom()),
        ids_(database, batch_),
        outbox_(database, batch_, ids_) {}

  absl::StatusOr<stores::IdRows> Find(const IdKey& key) override { return ids_.Find(key); }
  stores::LeaseClock clock() const override { return database_.clock(); }
  absl::Status PutRecord(const IdKey& key, const IdRecord& record) override {
    return ids_.PutRecord(key, record);
  }
  absl::Status PutClaim(const IdKey& key, const std::optional<stores::ClaimRow>& claim) override {
    return ids_.PutClaim(key, claim);
  }
  absl::Status PutResult(const IdKey& key, std::string_view result) override {
    return ids_.PutResult(key, result);
  }
  absl::StatusOr<std::string> FindResult(const IdKey& key) override { return ids_.FindResult(key); }
  bool has_claims() const override { return ids_.has_claims(); }

  absl::StatusOr<bool> PutOutboxRow(const OutboxRow& row) override { return outbox_.PutRow(row); }
  absl::Status HoldLetter(const IdKey& key, const OutboxRow& row) override {
    return outbox_.HoldLetter(key, row);
  }
  absl::Status MarkLetterPublished(const IdKey& key) override {
    return outbox_.MarkLetterPublished(key);
  }
  absl::Status VoidLetters(const IdKey& key) override { return outbox_.VoidLetters(key); }
  absl::Status DropLetter(std::int64_t number) override { return outbox_.DropLetter(number); }
  absl::StatusOr<std::optional<stores::KeptLetter>> FindLetter(std::int64_t number) override {
    return outbox_.FindLetter(number);
  }
  absl::StatusOr<std::int32_t> NextRedrive(const IdKey& key) override {
    return outbox_.NextRedrive(key);
  }

  absl::StatusOr<std::optional<StoredPosition>> FindPosition(const PartitionKey& key) override {
    return rocksdb::FindPosition(batch_.view(), key);
  }
  absl::Status PutPosition(const StoredPosition& row) override;

  // Of the same group, topic and partition in another cluster: its name; empty where there is none.
  absl::StatusOr<std::string> FindOtherCluster(const PartitionKey& key);

  Batch& batch() { return batch_; }
  IdTable& ids() { return ids_; }
  OutboxRows& outbox() { return outbox_; }

 private:
  Database& database_;
  Batch batch_;
  IdTable ids_;
  OutboxRows outbox_;
};

// `work(RocksRows&)` in a turn of its own, then a commit as durable as `wanted`, unless it fails.
template <typename Work>
absl::Status Write(Database& database, std::string_view operation, Durability wanted, Work work) {
  if (absl::Status begun = database.Begin(operation); !begun.ok()) return begun;
  RocksRows rows(database);
  if (absl::Status worked = work(rows); !worked.ok()) {
    database.Leave();
    return worked;
  }
  return database.Commit(rows.batch(), rows.ids().TakeChanges(), {.wanted = wanted});
}

class RocksTransactions final : public stores::RowTransactions {
 public:
  explicit RocksTransactions(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  absl::Status Write(std::string_view operation, Durability wanted,
                     absl::FunctionRef<absl::Status(stores::Rows&)> work) override {
    return rocksdb::Write(*database_, operation, wanted, work);
  }
  absl::Status Sync() override { return database_->Sync(); }
  Fence NewFence() override { return database_->NewFence(); }
  std::string_view store_name() const override { return "rocksdb"; }

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::rocksdb
