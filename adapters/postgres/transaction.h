// PostgresTransaction is the store's side of one open transaction: its session, the rows that it
// has locked, and what goes to the server with the next round trip.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/postgres/database.h"
#include "adapters/postgres/outgoing_rows.h"
#include "adapters/postgres/rows.h"
#include "once/dedup_store.h"
#include "once/postgres/connection.h"

namespace once::postgres {

// What the connections of a handler reach: nothing, once the transaction is over.
class Connection::Access {
 public:
  Access(Database& database, Session& session) : database_(&database), session_(&session) {}

  void End() { session_ = nullptr; }
  // The store goes on: its statements wait as long as they should.
  void EndTurn();
  // The session is as it was in the store's turn.
  void ForgetTurn() { is_handlers_turn_ = false; }
  absl::StatusOr<Result> Run(std::string_view sql, const std::vector<Value>& values);

 private:
  Database* database_;
  Session* session_;  // null once the transaction is over
  bool is_handlers_turn_ = false;
};

class PostgresTransaction final : public StoreTransaction {
 public:
  // Sends nothing yet.
  PostgresTransaction(std::shared_ptr<Database> database, Database::Lease session, Locking locking);
  ~PostgresTransaction() override { Rollback(); }

  // Locks the rows and compares them with what is expected. Called once, first.
  absl::StatusOr<std::vector<BeginResult::Mismatch>> Lock(std::span<const PositionLock> locks);

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override;
  absl::Status PutIds(std::span<const IdWrite> writes) override;
  absl::Status FindNotes(std::span<const std::string_view> keys,
                         std::span<std::string> values) override;
  absl::Status PutNotes(std::span<const Note> notes) override;
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override;
  // Kept until the commit, so that the orders of keys are locked for no longer than that takes, and
  // in one order by all transactions.
  absl::Status Publish(const OutgoingMessage& message) override;
  absl::Status SetSavepoint() override;
  absl::Status RollbackToSavepoint() override;
  absl::Status CheckOpen() override;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override;
  absl::Status Commit(Durability wanted) override;
  void Rollback() override;

  const std::shared_ptr<Connection::Access>& access() const { return access_; }

 private:
  // Runs `work` unless a call has failed before.
  template <typename Work>
  absl::Status Do(Work work);
  // What is queued goes to the server.
  absl::Status Send();
  // True: some are.
  bool QueuePublished();
  void End(std::string_view why);

  const std::shared_ptr<Database> database_;
  Database::Lease session_;             // null once the transaction is over
  std::unique_ptr<PostgresRows> rows_;  // likewise
  std::shared_ptr<Connection::Access> access_;
  std::map<PartitionKey, PositionStamp> locks_;
  std::int64_t log_time_ms_ = -1;  // the greatest of the positions that were set
  std::vector<RowToPublish> to_publish_;
  std::size_t published_before_savepoint_ = 0;
  bool has_savepoint_ = false;
  absl::Status state_;  // OK while the transaction is usable
};

}  // namespace once::postgres
