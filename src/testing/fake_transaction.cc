// FakeTransaction: what it stages, and what becomes of that when it commits.
#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/notes.h"
#include "src/testing/fake_connection.h"

namespace once::testing {

void EffectWriter::Append(const Message& message) {
  Append({.scope = std::string(message.scope()),
          .id = std::string(message.id()),
          .value = std::string(message.value().value_or("")),
          .partition = {.topic = std::string(message.topic()), .partition = message.partition()},
          .offset = message.offset()});
}

EffectWriter* Effects(Transaction& transaction) {
  return dynamic_cast<EffectWriter*>(&transaction);
}

void FakeTransaction::End(absl::Status why) {
  is_open_ = false;
  ended_ = std::move(why);
  std::erase(store_.open_, this);
  store_.Release(id_);
}

absl::Status FakeTransaction::Fail(absl::Status status) {
  has_failed_ = true;
  return status;
}

absl::Status FakeTransaction::Enter(Seam seam) {
  const bool had_failed = has_failed_;
  const bool was_open = is_open_;
  const Fault fault = store_.gate_.Pass(*process_, seam);
  if (process_->is_dead()) return StoreDead();
  if (had_failed || (!was_open && ended_.ok())) {
    store_.observer_->OnMisuse(
        *process_,
        absl::StrCat(ToAbsl(ToString(seam)), " on a transaction that has failed or ended"));
    return absl::FailedPreconditionError("fake store: the transaction has failed or ended");
  }
  if (!is_open_) return Fail(ended_);
  if (fault == Fault::kFailure) return Fail(StoreFailed());
  if (fault == Fault::kCrashAfter) {
    // The effect of the call would be gone with the transaction.
    store_.gate_.Crash(*process_);
    return StoreDead();
  }
  return absl::OkStatus();
}

absl::Status FakeTransaction::EnterWrite(Seam seam) {
  const absl::Status status = Enter(seam);
  return status.ok() && store_.IsFull() ? Fail(StoreFull()) : status;
}

absl::Status FakeTransaction::FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) {
  assert(keys.size() == records.size());
  if (absl::Status status = Enter(Seam::kFindIds); !status.ok()) return status;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    absl::Status status;
    if (store_.options_.locks_found_ids) status = store_.LockId(AsWaiter(), EncodeIdKey(keys[i]));
    if (!status.ok()) return Fail(status);
    records[i] = Peek(keys[i]);
  }
  return absl::OkStatus();
}

IdRecord FakeTransaction::Peek(const IdKey& key) const {
  const std::string encoded = EncodeIdKey(key);
  for (auto it = change_.ids.rbegin(); it != change_.ids.rend(); ++it) {
    if (it->key == encoded) return it->entry.record;
  }
  return store_.Find(encoded);
}

absl::Status FakeTransaction::PutIds(std::span<const IdWrite> writes) {
  if (absl::Status status = EnterWrite(Seam::kPutIds); !status.ok()) return status;
  for (const IdWrite& write : writes) {
    std::string key = EncodeIdKey(write.key);
    if (absl::Status status = store_.LockId(AsWaiter(), key); !status.ok()) return Fail(status);
    change_.ids.push_back({.key = std::move(key), .entry = {.record = write.record, .claim = {}}});
  }
  return absl::OkStatus();
}

absl::Status FakeTransaction::FindNotes(std::span<const std::string_view> keys,
                                        std::span<std::string> values) {
  assert(keys.size() == values.size());
  if (absl::Status status = Enter(Seam::kFindNotes); !status.ok()) return status;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto staged = std::find_if(change_.notes.rbegin(), change_.notes.rend(),
                                     [&](const StoredNote& note) { return note.key == keys[i]; });
    const auto stored = store_.state_.notes.find(keys[i]);
    if (staged != change_.notes.rend()) {
      values[i] = staged->value;
    } else {
      values[i] = stored == store_.state_.notes.end() ? std::string() : stored->second;
    }
  }
  return absl::OkStatus();
}

absl::Status FakeTransaction::PutNotes(std::span<const Note> notes) {
  if (absl::Status status = EnterWrite(Seam::kPutNotes); !status.ok()) return status;
  for (const Note& note : notes) {
    if (absl::Status valid = stores::CheckNote(note); !valid.ok()) return Fail(valid);
    change_.notes.push_back({.key = std::string(note.key), .value = std::string(note.value)});
  }
  return absl::OkStatus();
}

absl::Status FakeTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  if (absl::Status status = EnterWrite(Seam::kPutOutgoing); !status.ok()) return status;
  change_.outgoing.insert(change_.outgoing.end(), rows.begin(), rows.end());
  return absl::OkStatus();
}

absl::Status FakeTransaction::Publish(const OutgoingMessage& message) {
  const FakeStoreOptions& options = store_.options_;
  if (!options.has_outgoing) return StoreTransaction::Publish(message);
  if (absl::Status valid = ValidateOutgoing(message); !valid.ok()) return valid;
  if (absl::Status status = EnterWrite(Seam::kPutOutgoing); !status.ok()) return status;
  if (options.sends_at_once) {
    store_.ApplyChange(process_->number(), {}, {.sent = {{.message = message}}});
    return absl::OkStatus();
  }
  change_.sent.push_back(
      {.message = message, .number = options.numbers_at_once ? ++store_.last_number_ : 0});
  return absl::OkStatus();
}

absl::Status FakeTransaction::SetSavepoint() {
  if (absl::Status status = Enter(Seam::kSetSavepoint); !status.ok()) return status;
  savepoint_ = {.ids = change_.ids.size(),
                .effects = change_.effects.size(),
                .outgoing = change_.outgoing.size(),
                .notes = change_.notes.size(),
                .positions = change_.positions.size(),
                .sent = change_.sent.size()};
  return absl::OkStatus();
}

absl::Status FakeTransaction::RollbackToSavepoint() {
  if (absl::Status status = Enter(Seam::kRollbackToSavepoint); !status.ok()) return status;
  if (!savepoint_.has_value()) {
    store_.observer_->OnMisuse(*process_, "rollback to a savepoint that was never set");
    return Fail(absl::FailedPreconditionError("fake store: no savepoint"));
  }
  change_.ids.resize(savepoint_->ids);
  change_.effects.resize(savepoint_->effects);
  change_.outgoing.resize(savepoint_->outgoing);
  change_.notes.resize(savepoint_->notes);
  change_.positions.resize(savepoint_->positions);
  if (!store_.options_.keeps_undone_messages) change_.sent.resize(savepoint_->sent);
  return absl::OkStatus();
}

absl::Status FakeTransaction::CheckOpen() { return Enter(Seam::kCheckOpen); }

absl::Status FakeTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  if (absl::Status status = EnterWrite(Seam::kSetPositions); !status.ok()) return status;
  for (const PositionUpdate& update : updates) {
    const auto lock = std::find_if(
        locks_.begin(), locks_.end(),
        [&update](const PositionLock& candidate) { return candidate.key == update.key; });
    if (lock == locks_.end()) {
      store_.observer_->OnMisuse(*process_, "a position is set that Begin did not lock");
      return Fail(absl::InvalidArgumentError("fake store: the row is not locked"));
    }
    PositionStamp stamp = lock->expected;
    stamp.position = update.position;
    ++stamp.revision;
    change_.positions.push_back(
        {.key = update.key,
         .row = {.stamp = stamp, .reach = update.reach, .last_applied = update.last_applied}});
  }
  return absl::OkStatus();
}

absl::Status FakeTransaction::Commit(Durability wanted) {
  const bool had_failed = has_failed_;
  const bool was_open = is_open_;
  Fault fault = store_.gate_.Pass(*process_, Seam::kCommit);
  if (process_->is_dead()) return StoreDead();
  if (had_failed || (!was_open && ended_.ok())) {
    store_.observer_->OnMisuse(*process_, "commit of a transaction that has failed or ended");
    if (is_open_) End(absl::OkStatus());
    return absl::FailedPreconditionError("fake store: the transaction has failed or ended");
  }
  const bool is_loss = fault == Fault::kLoseOneCommit || fault == Fault::kLoseTwoCommits;
  if (is_loss && !store_.Lose(fault)) fault = Fault::kNone;
  if (store_.IsFull(fault) && is_open_) End(StoreFull());
  change_.durability = wanted;
  absl::Status answer = is_open_ ? absl::OkStatus() : ended_;
  if (is_open_) {
    const bool is_launched =
        fault == Fault::kUnknownAppliedLater || fault == Fault::kCrashAppliedLater;
    const bool is_applied =
        fault == Fault::kNone || fault == Fault::kUnknownApplied || fault == Fault::kCrashAfter;
    if (is_applied) store_.ApplyChange(process_->number(), locks_, change_);
    if (is_launched) {
      store_.Launch({.id = id_, .process = process_->number(), .locks = locks_, .change = change_});
    }
    if (fault == Fault::kFailure) answer = StoreFailed();
    if (fault == Fault::kUnknownApplied || fault == Fault::kUnknownNotApplied || is_launched) {
      answer = StoreUnknown();
    }
    // A commit on its way keeps its locks until it lands.
    if (is_launched) id_ = 0;
    End(absl::OkStatus());
  }
  if (fault == Fault::kCrashAfter || fault == Fault::kCrashAppliedLater) {
    store_.gate_.Crash(*process_);
    return StoreDead();
  }
  store_.observer_->OnCommit(*process_, locks_, change_, answer);
  return answer;
}

void FakeTransaction::Rollback() {
  const Fault fault = store_.gate_.Pass(*process_, Seam::kRollback);
  if (process_->is_dead()) return;
  if (is_open_) End(absl::OkStatus());
  if (fault == Fault::kCrashAfter) store_.gate_.Crash(*process_);
}

void FakeTransaction::Append(EffectRow row) {
  if (process_->is_dead() || !is_open_) return;
  // A statement of the handler's: the store rolls back by itself, and the handler need not notice.
  if (store_.IsFull()) return End(absl::AbortedError("fake store: rolled back, there is no space"));
  change_.effects.push_back(std::move(row));
}

}  // namespace once::testing
