// What a transaction writes, in the order in which the engine calls it.
#include "adapters/sqlite/transaction.h"

#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/outgoing.h"
#include "adapters/sqlite/position_rows.h"
#include "once/abseil.h"
#include "src/stores/notes.h"
#include "src/stores/retention.h"

namespace once::sqlite {

template <typename Work>
absl::Status SqliteTransaction::Do(Work work) {
  if (!state_.ok()) return state_;
  const Guard::StoreScope scope(database_->guard());
  // Before: a statement in autocommit mode would be refused anyway, but not with the cause.
  state_ = database_->CheckOpen();
  if (state_.ok()) state_ = work();
  return state_;
}

absl::StatusOr<std::vector<BeginResult::Mismatch>> SqliteTransaction::Lock(
    std::span<const PositionLock> locks) {
  std::vector<BeginResult::Mismatch> mismatches;
  const absl::Status compared = Do([&]() -> absl::Status {
    for (std::size_t i = 0; i < locks.size(); ++i) {
      const auto row = FindPosition(database_->statements().find_position, locks[i].key);
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

absl::Status SqliteTransaction::FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) {
  assert(records.size() == keys.size());
  return Do([&] { return rows_.ids().FindVisible(keys, database_->clock(), records); });
}

absl::Status SqliteTransaction::PutIds(std::span<const IdWrite> writes) {
  return Do([&]() -> absl::Status {
    for (const IdWrite& write : writes) {
      if (absl::Status put = stores::WriteId(rows_, write); !put.ok()) return put;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::FindNotes(std::span<const std::string_view> keys,
                                          std::span<std::string> values) {
  assert(values.size() == keys.size());
  return Do([&]() -> absl::Status {
    Statement& find = database_->statements().find_note;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      find.BindBytes(1, keys[i]);
      const absl::StatusOr<bool> has_row = find.Step();
      if (!has_row.ok()) return has_row.status();
      values[i] = *has_row ? std::string(find.Bytes(0)) : std::string();
      find.Reset();
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::PutNotes(std::span<const Note> notes) {
  return Do([&]() -> absl::Status {
    for (const Note& note : notes) {
      if (absl::Status valid = stores::CheckNote(note); !valid.ok()) return valid;
      Statement& put = note.value.empty() ? database_->statements().forget_note
                                          : database_->statements().put_note;
      put.BindBytes(1, note.key);
      if (!note.value.empty()) put.BindBytes(2, note.value);
      if (absl::Status done = put.Run(); !done.ok()) return done;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  return Do([&]() -> absl::Status {
    for (const OutboxRow& row : rows) {
      if (const auto put = rows_.PutOutboxRow(row); !put.ok()) return put.status();
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::Publish(const OutgoingMessage& message) {
  if (!state_.ok()) return state_;
  if (absl::Status valid = ValidateOutgoing(message); !valid.ok()) return valid;
  return Do([&] { return PublishRow(*database_, message); });
}

absl::Status SqliteTransaction::SetSavepoint() {
  return Do([&]() -> absl::Status {
    database_->ResetStatementsOfHandlers();
    if (has_savepoint_) {
      absl::Status released = database_->statements().release_savepoint.Run();
      if (!released.ok()) return released;
    }
    has_savepoint_ = true;
    rows_.ids().SetSavepoint();
    return database_->statements().savepoint.Run();
  });
}

absl::Status SqliteTransaction::RollbackToSavepoint() {
  return Do([&]() -> absl::Status {
    if (!has_savepoint_) {
      return absl::FailedPreconditionError(
          absl::StrCat("sqlite: roll back to savepoint on ", database_->path(), ": none was set"));
    }
    rows_.ids().RollbackToSavepoint();
    database_->ResetStatementsOfHandlers();
    return database_->statements().rollback_to_savepoint.Run();
  });
}

absl::Status SqliteTransaction::CheckOpen() {
  return Do([] { return absl::OkStatus(); });
}

absl::Status SqliteTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  return Do([&]() -> absl::Status {
    log_time_ms_ = stores::LogTimeOf(updates);
    for (const PositionUpdate& update : updates) {
      const auto lock = locks_.find(update.key);
      if (lock == locks_.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("sqlite: set position of ", ToString(update.key.partition), " in ",
                         database_->path(), ": Begin did not lock it"));
      }
      if (absl::Status set = SetPosition(*database_, update, lock->second); !set.ok()) return set;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::Commit(Durability wanted) {
  if (!state_.ok()) {
    const absl::Status error = state_;
    Rollback();
    return error;
  }
  const std::shared_ptr<Database> database = std::exchange(database_, nullptr);
  state_ = absl::FailedPreconditionError("sqlite: the transaction was ended by Commit() already");
  return database->Commit(
      {.wanted = wanted,
       .log_time_ms = log_time_ms_,
       .new_scopes = rows_.ids().TakeNewScopes(),
       .when_unknown = "whether the commit happened shows when the positions are taken again"},
      rows_.ids().TakeChanges());
}

void SqliteTransaction::Rollback() {
  if (!database_) return;
  state_ = absl::FailedPreconditionError("sqlite: the transaction was rolled back already");
  std::exchange(database_, nullptr)->Rollback();
}

}  // namespace once::sqlite
