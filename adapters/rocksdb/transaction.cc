// What a transaction writes, in the order in which the engine calls it.
#include "adapters/rocksdb/transaction.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/row_codec.h"
#include "once/abseil.h"
#include "src/stores/notes.h"
#include "src/stores/outgoing_codec.h"
#include "src/stores/position_rules.h"
#include "src/stores/retention.h"

namespace once::rocksdb {

RocksTransaction::RocksTransaction(std::shared_ptr<Database> database)
    : database_(std::move(database)),
      rows_(std::make_unique<RocksRows>(*database_)),
      tables_(std::make_shared<Table::Access>(rows_->batch())) {}

template <typename Work>
absl::Status RocksTransaction::Do(Work work) {
  if (state_.ok()) state_ = work();
  return state_;
}

absl::StatusOr<std::vector<BeginResult::Mismatch>> RocksTransaction::Lock(
    std::span<const PositionLock> locks) {
  std::vector<BeginResult::Mismatch> mismatches;
  const absl::Status compared = Do([&]() -> absl::Status {
    for (std::size_t i = 0; i < locks.size(); ++i) {
      const auto row = rows_->FindPosition(locks[i].key);
      if (!row.ok()) return row.status();
      const auto stamp = *row ? std::optional((*row)->stamp) : std::nullopt;
      if (stamp != locks[i].expected) mismatches.push_back({.lock = i, .actual = stamp});
      locks_.emplace(locks[i].key, locks[i].expected);
    }
    return absl::OkStatus();
  });
  if (!compared.ok()) return compared;
  return mismatches;
}

absl::Status RocksTransaction::FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) {
  assert(records.size() == keys.size());
  return Do([&] { return rows_->ids().FindVisible(keys, database_->clock(), records); });
}

absl::Status RocksTransaction::PutIds(std::span<const IdWrite> writes) {
  return Do([&]() -> absl::Status {
    rows_->ids().Reserve(writes.size());
    for (const IdWrite& write : writes) {
      if (absl::Status put = stores::WriteId(*rows_, write); !put.ok()) return put;
    }
    return absl::OkStatus();
  });
}

absl::Status RocksTransaction::FindNotes(std::span<const std::string_view> keys,
                                         std::span<std::string> values) {
  assert(values.size() == keys.size());
  return Do([&]() -> absl::Status {
    const View view = rows_->batch().view();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      absl::StatusOr<std::optional<std::string>> value =
          view.Get(kRowsFamily, Key(kNoteTable, keys[i]));
      if (!value.ok()) return value.status();
      values[i] = std::move(*value).value_or("");
    }
    return absl::OkStatus();
  });
}

absl::Status RocksTransaction::PutNotes(std::span<const Note> notes) {
  return Do([&]() -> absl::Status {
    for (const Note& note : notes) {
      if (absl::Status valid = stores::CheckNote(note); !valid.ok()) return valid;
      const std::string key = Key(kNoteTable, note.key);
      absl::Status put = note.value.empty() ? rows_->batch().Delete(kRowsFamily, key)
                                            : rows_->batch().Put(kRowsFamily, key, note.value);
      if (!put.ok()) return put;
    }
    return absl::OkStatus();
  });
}

absl::Status RocksTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  return Do([&]() -> absl::Status {
    for (const OutboxRow& row : rows) {
      if (const auto put = rows_->PutOutboxRow(row); !put.ok()) return put.status();
    }
    return absl::OkStatus();
  });
}

absl::Status RocksTransaction::Publish(const OutgoingMessage& message) {
  if (!state_.ok()) return state_;
  if (absl::Status valid = ValidateOutgoing(message); !valid.ok()) return valid;
  return Do([&] {
    const std::int64_t number = database_->last_outgoing() + ++published_;
    return rows_->batch().Put(kRowsFamily, SequenceKey(kOutgoingTable, number),
                              stores::EncodeOutgoingRow(message, database_->clock().now));
  });
}

absl::Status RocksTransaction::SetSavepoint() {
  return Do([&]() -> absl::Status {
    rows_->batch().SetSavepoint();
    rows_->ids().SetSavepoint();
    has_savepoint_ = true;
    published_at_savepoint_ = published_;
    return absl::OkStatus();
  });
}

absl::Status RocksTransaction::RollbackToSavepoint() {
  return Do([&]() -> absl::Status {
    if (!has_savepoint_) {
      return absl::FailedPreconditionError(
          absl::StrCat("rocksdb: roll back to savepoint on ", database_->path(), ": none was set"));
    }
    rows_->ids().RollbackToSavepoint();
    rows_->batch().RollbackToSavepoint();
    published_ = published_at_savepoint_;
    return absl::OkStatus();
  });
}

absl::Status RocksTransaction::CheckOpen() { return state_; }

absl::Status RocksTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  return Do([&]() -> absl::Status {
    log_time_ms_ = stores::LogTimeOf(updates);
    for (const PositionUpdate& update : updates) {
      const auto lock = locks_.find(update.key);
      if (lock == locks_.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("rocksdb: set position of ", ToString(update.key.partition), " in ",
                         database_->path(), ": Begin did not lock it"));
      }
      absl::Status put = rows_->PutPosition(stores::AfterUpdate(update, lock->second));
      if (!put.ok()) return put;
    }
    return absl::OkStatus();
  });
}

void RocksTransaction::End(std::string_view why) {
  state_ = absl::FailedPreconditionError(
      absl::StrCat("rocksdb: the transaction was ", ToAbsl(why), " already"));
  tables_->End();
  // The batch refers to column families that may be closed from now on.
  rows_.reset();
}

absl::Status RocksTransaction::Commit(Durability wanted) {
  if (!state_.ok()) {
    const absl::Status error = state_;
    Rollback();
    return error;
  }
  const std::shared_ptr<Database> database = std::exchange(database_, nullptr);
  const std::unique_ptr<RocksRows> rows = std::move(rows_);
  End("ended by Commit()");
  // Also when it fails, or nobody knows: a number must never name two messages.
  database->set_last_outgoing(database->last_outgoing() + published_);
  return database->Commit(
      rows->batch(), rows->ids().TakeChanges(),
      {.wanted = wanted,
       .log_time_ms = log_time_ms_,
       .when_unknown = "whether the commit happened shows when the positions are taken again"});
}

void RocksTransaction::Rollback() {
  if (!database_) return;
  End("rolled back");
  std::exchange(database_, nullptr)->Leave();
}

absl::StatusOr<Table> RocksTransaction::OpenTable(std::string_view name) {
  if (!state_.ok()) return state_;
  const std::vector<std::string>& families = database_->families();
  const auto found = std::find(families.begin() + kOwnFamilies, families.end(), name);
  if (found == families.end()) {
    return absl::NotFoundError(absl::StrCat("rocksdb: ", database_->path(), " has no table \"",
                                            ToAbsl(name), "\"; name it in StoreOptions::tables"));
  }
  return Table(tables_, static_cast<std::size_t>(found - families.begin()));
}

}  // namespace once::rocksdb
