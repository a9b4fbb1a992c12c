// All rows of one transaction, and transactions around them, as the protocols that durable stores
// share (src/stores) want them. What is written is queued, or kept until it can go in bulk: most
// transactions take two round trips, one that reads and one that writes and commits.
// Thread-safety: PostgresRows as the transaction; PostgresTransactions safe for concurrent use.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/postgres/database.h"
#include "adapters/postgres/id_rows.h"
#include "src/stores/rows.h"

namespace once::postgres {

class PostgresRows final : public stores::Rows {
 public:
  // REQUIRES: both outlive it; `session` is in a transaction, or has its BEGIN queued.
  PostgresRows(Database& database, Session& session, Locking locking)
      : database_(database), session_(session), ids_(database, session, locking) {}

  absl::Status Expect(std::span<const IdKey> keys) override { return ids_.Load(keys); }
  absl::StatusOr<stores::IdRows> Find(const IdKey& key) override { return ids_.Find(key); }
  stores::LeaseClock clock() const override { return ids_.clock(); }
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

  absl::StatusOr<bool> PutOutboxRow(const OutboxRow& row) override;
  absl::Status HoldLetter(const IdKey& key, const OutboxRow& row) override;
  absl::Status MarkLetterPublished(const IdKey& key) override;
  absl::Status VoidLetters(const IdKey& key) override;
  absl::Status DropLetter(std::int64_t number) override;
  absl::StatusOr<std::optional<stores::KeptLetter>> FindLetter(std::int64_t number) override;
  absl::StatusOr<std::int32_t> NextRedrive(const IdKey& key) override;

  absl::StatusOr<std::optional<StoredPosition>> FindPosition(const PartitionKey& key) override;
  absl::Status PutPosition(const StoredPosition& row) override;

  // As StoreTransaction says of each.
  absl::Status FindNotes(std::span<const std::string_view> keys, std::span<std::string> values);
  absl::Status PutNotes(std::span<const Note> notes);

  // As PutOutboxRow(), and nobody asks whether the row was there.
  void QueueOutboxRow(const OutboxRow& row);
  // The rows of `keys` under their locks, in that order.
  absl::StatusOr<std::vector<std::optional<StoredPosition>>> LockPositions(
      std::span<const PartitionKey> keys);

  // Queues what was written and is not sent yet. True: this transaction has written something.
  bool Flush();
  // As a savepoint: everything is flushed, and Undo() goes back there.
  void Mark();
  void Undo();
  bool has_found_settled() const { return ids_.has_found_settled(); }
  void NoteCommitted() { ids_.NoteCommitted(); }

 private:
  absl::StatusOr<std::vector<Result>> Run() {
    return session_.Run(database_.options().answer_timeout);
  }
  void FlushVoids();
  void FlushNotes();

  Database& database_;
  Session& session_;
  IdTable ids_;
  std::set<std::pair<std::int64_t, std::string>> voids_;   // ids whose letters are to be let go of
  std::map<PartitionKey, StoredPosition> positions_;       // to be written
  std::map<std::string, std::string, std::less<>> notes_;  // to be written; empty: forgotten
  bool has_written_ = false;
  bool has_put_letters_ = false;  // of this transaction
};

class PostgresTransactions final : public stores::RowTransactions {
 public:
  explicit PostgresTransactions(std::shared_ptr<Database> database)
      : database_(std::move(database)) {}

  absl::Status Write(std::string_view operation, Durability wanted,
                     absl::FunctionRef<absl::Status(stores::Rows&)> work) override;
  absl::Status Sync() override { return database_->Sync(); }
  Fence NewFence() override { return database_->NewFence(); }
  std::string_view store_name() const override { return "postgres"; }

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::postgres
