// The rows of one transaction on the writing connection, and transactions around them, as the
// protocols that all durable stores share (src/stores) want them.
// Thread-safety: SqliteRows as the transaction; SqliteTransactions safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "adapters/sqlite/database.h"
#include "adapters/sqlite/id_rows.h"
#include "adapters/sqlite/letter_rows.h"
#include "adapters/sqlite/position_rows.h"
#include "src/stores/rows.h"

namespace once::sqlite {

class SqliteRows final : public stores::Rows {
 public:
  // REQUIRES: `database` outlives it; at each call a transaction is open and the store is at work.
  explicit SqliteRows(Database& database) : database_(database), ids_(database) {}

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

  absl::StatusOr<bool> PutOutboxRow(const OutboxRow& row) override {
    return sqlite::PutOutboxRow(database_, ids_, row);
  }
  absl::Status HoldLetter(const IdKey& key, const OutboxRow& row) override {
    return sqlite::HoldLetter(database_, ids_, key, row);
  }
  absl::Status MarkLetterPublished(const IdKey& key) override {
    return sqlite::MarkLetterPublished(database_, ids_, key);
  }
  absl::Status VoidLetters(const IdKey& key) override {
    return sqlite::VoidLetters(database_, ids_, key);
  }
  absl::Status DropLetter(std::int64_t number) override {
    return sqlite::DropLetter(database_, number);
  }
  absl::StatusOr<std::optional<stores::KeptLetter>> FindLetter(std::int64_t number) override {
    return sqlite::FindLetter(database_, ids_, number);
  }
  absl::StatusOr<std::int32_t> NextRedrive(const IdKey& key) override {
    return sqlite::NextRedrive(database_, ids_, key);
  }

  absl::StatusOr<std::optional<StoredPosition>> FindPosition(const PartitionKey& key) override {
    return sqlite::FindPosition(database_.statements().find_position, key);
  }
  absl::Status PutPosition(const StoredPosition& row) override {
    return sqlite::PutPosition(database_, row);
  }

  IdTable& ids() { return ids_; }

 private:
  Database& database_;
  IdTable ids_;
};

// `work(SqliteRows&)` between Begin and a commit as durable as `wanted`; rolled back unless it
// returns OK. Busy: kUnavailable after busy_timeout.
template <typename Work>
absl::Status Write(Database& database, std::string_view operation, Durability wanted, Work work) {
  if (absl::Status begun = database.Begin(operation); !begun.ok()) return begun;
  SqliteRows rows(database);
  absl::Status worked;
  {
    const Guard::StoreScope scope(database.guard());
    worked = work(rows);
  }
  if (worked.ok()) {
    return database.Commit({.wanted = wanted, .new_scopes = rows.ids().TakeNewScopes()},
                           rows.ids().TakeChanges());
  }
  database.Rollback();
  return worked;
}

class SqliteTransactions final : public stores::RowTransactions {
 public:
  explicit SqliteTransactions(std::shared_ptr<Database> database)
      : database_(std::move(database)) {}

  absl::Status Write(std::string_view operation, Durability wanted,
                     absl::FunctionRef<absl::Status(stores::Rows&)> work) override {
    return sqlite::Write(*database_, operation, wanted, work);
  }
  absl::Status Sync() override { return database_->Sync(); }
  Fence NewFence() override { return database_->NewFence(); }
  std::string_view store_name() const override { return "sqlite"; }

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::sqlite
