// Ids, positions, outbox rows and savepoints as SQL.
#include "adapters/sqlite/transaction.h"

#include <cassert>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/outbox_codec.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

constexpr auto kMicrosFuture = std::numeric_limits<std::int64_t>::max();

// InfinitePast() is "never" and stored as null, so that the usual record stays small.
void BindTime(Statement& statement, int parameter, absl::Time time) {
  if (time == absl::InfinitePast()) {
    statement.BindNull(parameter);
  } else {
    // Saturates, so that InfiniteFuture() becomes kMicrosFuture.
    statement.Bind(parameter, absl::ToUnixMicros(time));
  }
}

absl::Time TimeAt(const Statement& statement, int column) {
  if (statement.IsNull(column)) return absl::InfinitePast();
  const std::int64_t micros = statement.Int(column);
  return micros == kMicrosFuture ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

absl::StatusOr<IdRecord> RecordAt(const Statement& row) {
  IdRecord record;
  const std::int64_t state = row.Int(0);
  if (state < static_cast<std::int64_t>(IdState::kCompleted) ||
      state > static_cast<std::int64_t>(IdState::kDying)) {
    return absl::DataLossError(absl::StrCat("sqlite: once_ids has a record in the unknown state ",
                                            state, "; restore a backup"));
  }
  record.state = static_cast<IdState>(state);
  record.fingerprint = {.high = static_cast<std::uint64_t>(row.Int(1)),
                        .low = static_cast<std::uint64_t>(row.Int(2))};
  record.attempt = static_cast<int>(row.Int(3));
  record.first_failed_at = TimeAt(row, 4);
  record.not_before = TimeAt(row, 5);
  return record;
}

}  // namespace

void BindPartition(Statement& statement, const PartitionKey& key) {
  statement.BindBytes(1, key.cluster);
  statement.BindBytes(2, key.group);
  statement.BindBytes(3, key.partition.topic);
  statement.Bind(4, key.partition.partition);
}

absl::StatusOr<std::optional<PositionStamp>> FindPosition(Statement& find_position,
                                                          const PartitionKey& key) {
  BindPartition(find_position, key);
  const absl::StatusOr<bool> has_row = find_position.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::nullopt;
  const PositionStamp stamp{.position = find_position.Int(0),
                            .revision = find_position.Int(1),
                            .writer = static_cast<std::uint64_t>(find_position.Int(2))};
  find_position.Reset();
  return stamp;
}

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
      const auto stamp = FindPosition(database_->statements().find_position, locks[i].key);
      if (!stamp.ok()) return stamp.status();
      if (*stamp != locks[i].expected) mismatches.push_back({.lock = i, .actual = *stamp});
      locks_.emplace(locks[i].key, locks[i].expected);
    }
    return absl::OkStatus();
  });
  if (!compared.ok()) return compared;
  return mismatches;
}

absl::StatusOr<std::optional<std::int64_t>> SqliteTransaction::FindScope(std::string_view name) {
  if (last_scope_ && last_scope_->name == name) return last_scope_->number;
  std::optional<std::int64_t> number;
  const auto& known = database_->known_scopes();
  if (const auto found = known.find(ToAbsl(name)); found != known.end()) {
    number = found->second;
  } else if (const auto added = new_scopes_.find(ToAbsl(name)); added != new_scopes_.end()) {
    number = added->second;
  } else {
    Statement& find = database_->statements().find_scope;
    find.BindBytes(1, name);
    const absl::StatusOr<bool> has_row = find.Step();
    if (!has_row.ok()) return has_row.status();
    if (*has_row) {
      number = find.Int(0);
      find.Reset();
      // Not known yet: the row may be this transaction's own, from before a savepoint.
      new_scopes_.emplace(std::string(name), *number);
    }
  }
  last_scope_ = ScopeNumber{.name = std::string(name), .number = number};
  return number;
}

absl::StatusOr<std::int64_t> SqliteTransaction::InternScope(std::string_view name) {
  const auto found = FindScope(name);
  if (!found.ok()) return found.status();
  if (*found) return **found;
  Statement& add = database_->statements().add_scope;
  add.BindBytes(1, name);
  if (absl::Status added = add.Run(); !added.ok()) return added;
  const std::int64_t number = sqlite3_last_insert_rowid(database_->writer());
  new_scopes_.emplace(std::string(name), number);
  last_scope_ = ScopeNumber{.name = std::string(name), .number = number};
  return number;
}

absl::StatusOr<IdRecord> SqliteTransaction::FindId(const IdKey& key) {
  const auto scope = FindScope(key.scope);
  if (!scope.ok()) return scope.status();
  if (!*scope) return IdRecord{};
  Statement& find = database_->statements().find_id;
  find.Bind(1, **scope);
  find.BindBytes(2, key.id);
  const absl::StatusOr<bool> has_row = find.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return IdRecord{};
  absl::StatusOr<IdRecord> record = RecordAt(find);
  find.Reset();
  return record;
}

absl::Status SqliteTransaction::FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) {
  assert(records.size() == keys.size());
  return Do([&]() -> absl::Status {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      absl::StatusOr<IdRecord> record = FindId(keys[i]);
      if (!record.ok()) return record.status();
      records[i] = *record;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::PutId(const IdWrite& write) {
  const auto scope = InternScope(write.key.scope);
  if (!scope.ok()) return scope.status();
  const IdRecord& record = write.record;
  WriterStatements& statements = database_->statements();
  Statement& put = record.state == IdState::kAbsent ? statements.forget_id : statements.put_id;
  put.Bind(1, *scope);
  put.BindBytes(2, write.key.id);
  if (record.state == IdState::kAbsent) return put.Run();
  put.Bind(3, static_cast<std::int64_t>(record.state));
  // What is not bound is null, and a null integer reads as 0.
  if (record.fingerprint.is_set()) {
    put.Bind(4, static_cast<std::int64_t>(record.fingerprint.high));
    put.Bind(5, static_cast<std::int64_t>(record.fingerprint.low));
  }
  if (record.attempt != 0) put.Bind(6, record.attempt);
  BindTime(put, 7, record.first_failed_at);
  BindTime(put, 8, record.not_before);
  return put.Run();
}

absl::Status SqliteTransaction::PutIds(std::span<const IdWrite> writes) {
  return Do([&]() -> absl::Status {
    for (const IdWrite& write : writes) {
      if (absl::Status put = PutId(write); !put.ok()) return put;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  return Do([&]() -> absl::Status {
    Statement& put = database_->statements().put_outgoing;
    for (const OutboxRow& row : rows) {
      const std::string origin = EncodeOrigin(row.origin);
      const std::string payload = EncodeMessage(row.message);
      put.BindBytes(1, origin);
      put.BindBytes(2, payload);
      if (absl::Status status = put.Run(); !status.ok()) return status;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::SetSavepoint() {
  return Do([&]() -> absl::Status {
    database_->ResetStatementsOfHandlers();
    if (has_savepoint_) {
      absl::Status released = database_->statements().release_savepoint.Run();
      if (!released.ok()) return released;
    }
    has_savepoint_ = true;
    return database_->statements().savepoint.Run();
  });
}

absl::Status SqliteTransaction::RollbackToSavepoint() {
  return Do([&]() -> absl::Status {
    if (!has_savepoint_) {
      return absl::FailedPreconditionError(
          absl::StrCat("sqlite: roll back to savepoint on ", database_->path(), ": none was set"));
    }
    // A scope that was added since is no longer there.
    new_scopes_.clear();
    last_scope_.reset();
    database_->ResetStatementsOfHandlers();
    return database_->statements().rollback_to_savepoint.Run();
  });
}

absl::Status SqliteTransaction::CheckOpen() {
  return Do([] { return absl::OkStatus(); });
}

absl::Status SqliteTransaction::SetPosition(const PositionUpdate& update) {
  const auto lock = locks_.find(update.key);
  if (lock == locks_.end()) {
    return absl::InvalidArgumentError(absl::StrCat("sqlite: set position of ",
                                                   ToString(update.key.partition), " in ",
                                                   database_->path(), ": Begin did not lock it"));
  }
  Statement& set = database_->statements().set_position;
  BindPartition(set, update.key);
  set.Bind(5, update.position);
  set.Bind(6, static_cast<std::int64_t>(lock->second.writer));
  set.Bind(7, lock->second.revision);
  if (absl::Status status = set.Run(); !status.ok()) return status;
  if (sqlite3_changes(database_->writer()) == 1) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("sqlite: set position of ", ToString(update.key.partition),
                                         " in ", database_->path(),
                                         ": the row changed under its lock"));
}

absl::Status SqliteTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  return Do([&]() -> absl::Status {
    for (const PositionUpdate& update : updates) {
      if (absl::Status set = SetPosition(update); !set.ok()) return set;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteTransaction::Commit(Durability /*wanted*/) {
  if (!state_.ok()) {
    const absl::Status error = state_;
    Rollback();
    return error;
  }
  const std::shared_ptr<Database> database = std::exchange(database_, nullptr);
  state_ = absl::FailedPreconditionError("sqlite: the transaction was ended by Commit() already");
  return database->Commit(std::move(new_scopes_));
}

void SqliteTransaction::Rollback() {
  if (!database_) return;
  state_ = absl::FailedPreconditionError("sqlite: the transaction was rolled back already");
  std::exchange(database_, nullptr)->Rollback();
}

}  // namespace once::sqlite
