// What a transaction writes, in the order in which the engine calls it.
#include "adapters/postgres/transaction.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/status.h"
#include "once/abseil.h"
#include "src/stores/position_rules.h"

namespace once::postgres {

PostgresTransaction::PostgresTransaction(std::shared_ptr<Database> database,
                                         Database::Lease session, Locking locking)
    : database_(std::move(database)),
      session_(std::move(session)),
      rows_(std::make_unique<PostgresRows>(*database_, *session_, locking)),
      access_(std::make_shared<Connection::Access>(*database_, *session_)) {
  session_->Queue(database_->statements().begin);
  session_->Queue(database_->statements().share_ids);
}

template <typename Work>
absl::Status PostgresTransaction::Do(Work work) {
  if (!state_.ok()) return state_;
  if (absl::Status open = CheckOpen(); !open.ok()) return open;
  access_->EndTurn();
  state_ = work();
  return state_;
}

absl::Status PostgresTransaction::Send() {
  return session_->Run(database_->options().answer_timeout).status();
}

absl::StatusOr<std::vector<BeginResult::Mismatch>> PostgresTransaction::Lock(
    std::span<const PositionLock> locks) {
  std::vector<BeginResult::Mismatch> mismatches;
  if (locks.empty()) return mismatches;
  std::vector<PartitionKey> keys;
  for (const PositionLock& lock : locks) keys.push_back(lock.key);
  const auto rows = rows_->LockPositions(keys);
  if (!rows.ok()) return rows.status();
  for (std::size_t i = 0; i < locks.size(); ++i) {
    const auto stamp = (*rows)[i] ? std::optional((*rows)[i]->stamp) : std::nullopt;
    if (stamp != locks[i].expected) mismatches.push_back({.lock = i, .actual = stamp});
    locks_.emplace(locks[i].key, locks[i].expected);
  }
  return mismatches;
}

absl::Status PostgresTransaction::FindIds(std::span<const IdKey> keys,
                                          std::span<IdRecord> records) {
  assert(records.size() == keys.size());
  return Do([&]() -> absl::Status {
    if (absl::Status loaded = rows_->Expect(keys); !loaded.ok()) return loaded;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const absl::StatusOr<stores::IdRows> rows = rows_->Find(keys[i]);
      if (!rows.ok()) return rows.status();
      records[i] = stores::VisibleRecord(*rows, rows_->clock());
    }
    return absl::OkStatus();
  });
}

absl::Status PostgresTransaction::PutIds(std::span<const IdWrite> writes) {
  return Do([&]() -> absl::Status {
    std::vector<IdKey> keys;
    keys.reserve(writes.size());
    for (const IdWrite& write : writes) keys.push_back(write.key);
    if (absl::Status loaded = rows_->Expect(keys); !loaded.ok()) return loaded;
    for (const IdWrite& write : writes) {
      if (absl::Status put = stores::WriteId(*rows_, write); !put.ok()) return put;
    }
    return absl::OkStatus();
  });
}

absl::Status PostgresTransaction::FindNotes(std::span<const std::string_view> keys,
                                            std::span<std::string> values) {
  assert(values.size() == keys.size());
  if (keys.empty()) return CheckOpen();
  return Do([&] { return rows_->FindNotes(keys, values); });
}

absl::Status PostgresTransaction::PutNotes(std::span<const Note> notes) {
  return Do([&] { return rows_->PutNotes(notes); });
}

absl::Status PostgresTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  return Do([&]() -> absl::Status {
    for (const OutboxRow& row : rows) rows_->QueueOutboxRow(row);
    return absl::OkStatus();
  });
}

absl::Status PostgresTransaction::Publish(const OutgoingMessage& message) {
  if (!state_.ok()) return state_;
  if (absl::Status valid = ValidateOutgoing(message); !valid.ok()) return valid;
  return Do([&] {
    to_publish_.push_back(MakeRow(message, session_->pid()));
    return absl::OkStatus();
  });
}

bool PostgresTransaction::QueuePublished() {
  if (to_publish_.empty()) return false;
  // Whoever publishes for one of these keys holds it until his commit. To wait for that costs less
  // than to run the handlers again.
  session_->Queue(database_->statements().wait_to_publish);
  ForEachPart(to_publish_, true, [&](auto rows, auto locked) {
    session_->Queue(database_->statements().put_outgoing_rows, PublishParams(rows, locked));
  });
  to_publish_.clear();
  return true;
}

absl::Status PostgresTransaction::SetSavepoint() {
  return Do([&]() -> absl::Status {
    published_before_savepoint_ = to_publish_.size();
    rows_->Flush();
    const Statements& statements = database_->statements();
    if (has_savepoint_) session_->Queue(statements.release_savepoint);
    session_->Queue(statements.set_savepoint);
    rows_->Mark();
    has_savepoint_ = true;
    return Send();
  });
}

// After a statement of the handler has failed, this is what makes the transaction usable again.
absl::Status PostgresTransaction::RollbackToSavepoint() {
  if (!state_.ok()) return state_;
  if (!has_savepoint_) {
    state_ = absl::FailedPreconditionError(
        absl::StrCat("postgres: roll back to savepoint ", database_->where(), ": none was set"));
    return state_;
  }
  session_->DropQueued();
  access_->ForgetTurn();  // the savepoint was set in the store's
  rows_->Undo();
  to_publish_.resize(published_before_savepoint_);
  session_->Queue(database_->statements().rollback_to_savepoint);
  state_ = Send();
  return state_;
}

absl::Status PostgresTransaction::CheckOpen() {
  if (!state_.ok()) return state_;
  if (session_->is_lost()) {
    return absl::AbortedError(
        absl::StrCat("postgres: the connection ", database_->where(), " was lost"));
  }
  // Not begun, or still open: anything else is no transaction that a commit would commit.
  if (session_->IsNext(database_->statements().begin) || session_->is_in_transaction()) {
    return absl::OkStatus();
  }
  if (!session_->has_failed()) {
    return absl::FailedPreconditionError(
        absl::StrCat("postgres: the transaction ", database_->where(),
                     " is open no longer: something has ended it behind the store's back; what it "
                     "wrote may be committed"));
  }
  const std::string text =
      absl::StrCat("postgres: a statement has failed ", database_->where(), " (SQLSTATE ",
                   session_->last_sqlstate(), "), and the transaction takes no others");
  if (IsOfTheStore(session_->last_sqlstate())) return absl::AbortedError(text);
  return absl::FailedPreconditionError(
      absl::StrCat(text, "; a handler that gets an error must return it"));
}

absl::Status PostgresTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  return Do([&]() -> absl::Status {
    for (const PositionUpdate& update : updates) {
      const auto lock = locks_.find(update.key);
      if (lock == locks_.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("postgres: set position of ", ToString(update.key.partition), " ",
                         database_->where(), ": Begin did not lock it"));
      }
      absl::Status put = rows_->PutPosition(stores::AfterUpdate(update, lock->second));
      if (!put.ok()) return put;
      if (!update.last_applied) continue;
      log_time_ms_ = std::max(log_time_ms_, update.last_applied->log_time_ms);
    }
    return absl::OkStatus();
  });
}

void PostgresTransaction::End(std::string_view why) {
  state_ = absl::FailedPreconditionError(
      absl::StrCat("postgres: the transaction was ", ToAbsl(why), " already"));
  access_->End();
  rows_.reset();
  session_.reset();
}

absl::Status PostgresTransaction::Commit(Durability wanted) {
  if (absl::Status open = CheckOpen(); !open.ok()) {
    Rollback();
    return open;
  }
  access_->EndTurn();
  // An empty commit would not wait for those before it.
  const bool has_rows = rows_->Flush();
  const bool has_written = QueuePublished() || has_rows;
  const bool may_be_unsynced = database_->has_unsynced() || rows_->has_found_settled();
  if (!has_written && wanted == Durability::kMachine && may_be_unsynced) {
    database_->QueueSync(*session_);
  }
  const absl::Status committed = database_->Commit(
      *session_, wanted, "whether the commit happened shows when the positions are taken again");
  if (committed.ok()) database_->log_times().Note(log_time_ms_);
  if (committed.ok() && wanted == Durability::kMachine) rows_->NoteCommitted();
  End("ended by Commit()");
  return committed;
}

void PostgresTransaction::Rollback() {
  if (!session_) return;
  End("rolled back");
}

}  // namespace once::postgres
