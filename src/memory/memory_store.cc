// The in-memory store. One transaction at a time stages its writes and applies them under one
// mutex, so that readers see all of them or none.
#include "src/memory/memory_store.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/executor.h"
#include "src/memory/memory_claims.h"
#include "src/memory/memory_operations.h"
#include "src/memory/memory_outgoing.h"
#include "src/stores/notes.h"
#include "src/stores/single_lane_log.h"

namespace once::memory {

void Contents::Apply(StagedWrites& writes, absl::Time now) {
  ids.Put(writes.ids);
  for (OutboxRow& row : writes.outgoing) outbox.Append(std::move(row));
  for (auto& [table, row] : writes.records) records[table].push_back(std::move(row));
  for (auto& [key, row] : writes.positions) positions.Set(key, std::move(row));
  for (auto& [key, value] : writes.notes) {
    if (value.empty()) {
      notes.erase(key);
    } else {
      notes.insert_or_assign(key, std::move(value));
    }
  }
  for (OutgoingMessage& message : writes.published) outgoing.Append(std::move(message), now);
}

// The timeout is clamped, because an endless wait overflows the clock's arithmetic.
MemoryData::MemoryData(const StoreOptions& options)
    : begin_timeout_(std::clamp(options.begin_timeout, absl::ZeroDuration(), absl::Hours(24))),
      now_(options.now ? options.now : [executor = SystemExecutor()] { return executor->Now(); }) {}

void MemoryData::GiveRoom(StagedIdWrites room) {
  constexpr std::size_t kWritesMax = 10'000;  // what a large batch needs
  if (room.size() > kWritesMax) return;
  room.Truncate(0);
  room_ = std::move(room);
}

absl::Status MemoryData::Enter(std::string_view operation) {
  std::unique_lock lock(mutex_);
  if (!left_.wait_for(lock, absl::ToChronoNanoseconds(begin_timeout_), [&] { return !is_open_; })) {
    return absl::UnavailableError(absl::StrCat("memory: ", ToAbsl(operation),
                                               ": another transaction has been open for ",
                                               absl::FormatDuration(begin_timeout_)));
  }
  is_open_ = true;
  return absl::OkStatus();
}

void MemoryData::Leave() {
  {
    std::lock_guard lock(mutex_);
    assert(is_open_);
    is_open_ = false;
  }
  left_.notify_one();
}

absl::Status MemoryData::Change(std::string_view operation,
                                absl::FunctionRef<absl::Status(Contents&, absl::Time)> change) {
  if (absl::Status entered = Enter(operation); !entered.ok()) return entered;
  const absl::Time now = Now();
  absl::Status changed = Access([&](Contents& contents) { return change(contents, now); });
  Leave();
  return changed;
}

MemoryTransaction::MemoryTransaction(std::shared_ptr<MemoryData> data,
                                     std::span<const PositionLock> locks)
    : data_(std::move(data)) {
  for (const PositionLock& lock : locks) locks_.emplace(lock.key, lock.expected);
  staged_.ids = data_->TakeRoom();
}

absl::Status MemoryTransaction::FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) {
  if (!state_.ok()) return state_;
  assert(records.size() == keys.size());
  const absl::Time now = data_->Now();
  data_->Access([&](Contents& contents) { contents.ids.Find(keys, now, records); });
  for (std::size_t i = 0; i < keys.size() && !staged_.ids.empty(); ++i) {
    if (const IdRecord* staged = staged_.ids.Find(keys[i])) records[i] = *staged;
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::PutIds(std::span<const IdWrite> writes) {
  if (!state_.ok()) return state_;
  staged_.ids.Reserve(writes.size());
  for (const IdWrite& write : writes) staged_.ids.Append(write);
  return absl::OkStatus();
}

absl::Status MemoryTransaction::FindNotes(std::span<const std::string_view> keys,
                                          std::span<std::string> values) {
  if (!state_.ok()) return state_;
  assert(values.size() == keys.size());
  data_->Access([&](const Contents& contents) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto found = contents.notes.find(keys[i]);
      values[i] = found == contents.notes.end() ? std::string() : found->second;
    }
  });
  for (std::size_t i = 0; i < keys.size() && !staged_.notes.empty(); ++i) {
    const auto staged = staged_.notes.find(keys[i]);
    if (staged != staged_.notes.end()) values[i] = staged->second;
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::PutNotes(std::span<const Note> notes) {
  if (!state_.ok()) return state_;
  for (const Note& note : notes) {
    if (absl::Status valid = stores::CheckNote(note); !valid.ok()) return Fail(valid);
    staged_.notes.insert_or_assign(std::string(note.key), std::string(note.value));
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  if (!state_.ok()) return state_;
  for (const OutboxRow& row : rows) {
    const bool is_known =
        data_->Access([&](Contents& contents) { return contents.outbox.HasOrigin(row.origin); });
    if (is_known || !staged_.origins.insert(row.origin).second) continue;
    staged_.outgoing.push_back(row);
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::Publish(const OutgoingMessage& message) {
  if (!state_.ok()) return state_;
  if (absl::Status valid = ValidateOutgoing(message); !valid.ok()) return valid;
  staged_.published.push_back(message);
  return absl::OkStatus();
}

absl::Status MemoryTransaction::SetSavepoint() {
  if (!state_.ok()) return state_;
  savepoint_ = Savepoint{.outgoing = staged_.outgoing.size(),
                         .records = staged_.records.size(),
                         .ids = staged_.ids.size(),
                         .positions = staged_.positions,
                         .notes = staged_.notes,
                         .published = staged_.published.size()};
  return absl::OkStatus();
}

absl::Status MemoryTransaction::RollbackToSavepoint() {
  if (!state_.ok()) return state_;
  if (!savepoint_) {
    return Fail(absl::FailedPreconditionError("memory: roll back to savepoint: none was set"));
  }
  while (staged_.outgoing.size() > savepoint_->outgoing) {
    staged_.origins.erase(staged_.outgoing.back().origin);
    staged_.outgoing.pop_back();
  }
  staged_.records.resize(savepoint_->records);
  staged_.positions = savepoint_->positions;
  staged_.notes = savepoint_->notes;
  staged_.published.resize(savepoint_->published);
  staged_.ids.Truncate(savepoint_->ids);
  return absl::OkStatus();
}

absl::Status MemoryTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  if (!state_.ok()) return state_;
  for (const PositionUpdate& update : updates) {
    const auto lock = locks_.find(update.key);
    if (lock == locks_.end()) {
      return Fail(absl::InvalidArgumentError(absl::StrCat(
          "memory: set position of ", ToString(update.key.partition), ": Begin did not lock it")));
    }
    staged_.positions[update.key] = {.stamp = {.position = update.position,
                                               .revision = lock->second.revision + 1,
                                               .writer = lock->second.writer},
                                     .reach = update.reach,
                                     .last_applied = update.last_applied};
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::Commit(Durability /*wanted*/) {
  if (!state_.ok()) {
    const absl::Status error = state_;
    Rollback();
    return error;
  }
  const absl::Time now = data_->Now();
  data_->Access([&](Contents& contents) { contents.Apply(staged_, now); });
  Finish(absl::FailedPreconditionError("memory: the transaction was committed already"));
  return absl::OkStatus();
}

void MemoryTransaction::Rollback() {
  Finish(absl::FailedPreconditionError("memory: the transaction was rolled back already"));
}

void MemoryTransaction::Append(std::string_view table, std::string_view row) {
  if (state_.ok()) staged_.records.emplace_back(table, row);
}

absl::Status MemoryTransaction::Fail(absl::Status error) {
  state_ = error;
  return error;
}

void MemoryTransaction::Finish(absl::Status state) {
  if (!data_) return;
  state_ = std::move(state);
  data_->GiveRoom(std::move(staged_.ids));
  staged_ = {};
  savepoint_.reset();
  std::exchange(data_, nullptr)->Leave();
}

namespace {

// Rows of an opening are published by it or never.
std::string NewProducerId() {
  return absl::StrCat("memory-", absl::Hex(SystemRandom()->Next(), absl::kZeroPad16));
}

class MemoryStore final : public Store, public TransactionalStore, public Outbox {
 public:
  explicit MemoryStore(const StoreOptions& options)
      : data_(std::make_shared<MemoryData>(options)),
        claims_(data_),
        operations_(data_),
        outgoing_rows_(data_),
        outgoing_(outgoing_rows_, NewProducerId(), [data = data_] { return data->Now(); }) {}

  StoreTraits traits() const override { return traits_; }
  TransactionalStore* transactions() override { return this; }
  ClaimStore* claims() override { return &claims_; }
  StoreOperations* operations() override { return &operations_; }

  std::vector<std::string> ReadRecords(std::string_view table) const override {
    return data_->Access([&](const Contents& contents) {
      const auto found = contents.records.find(table);
      return found == contents.records.end() ? std::vector<std::string>() : found->second;
    });
  }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    if (absl::Status entered = data_->Enter("begin"); !entered.ok()) return entered;
    BeginResult result;
    result.mismatches =
        data_->Access([&](const Contents& contents) { return contents.positions.Compare(locks); });
    if (result.mismatches.empty()) {
      result.transaction = std::make_unique<MemoryTransaction>(data_, locks);
    } else {
      data_->Leave();
    }
    return result;
  }

  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    std::vector<TakenPosition> taken;
    const absl::Status done = data_->Change("take", [&](Contents& contents, absl::Time) {
      for (const TakeRequest& request : requests) taken.push_back(contents.positions.Take(request));
      return absl::OkStatus();
    });
    if (!done.ok()) return done;
    return taken;
  }

  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override {
    return data_->Access([&](const Contents& contents) { return contents.positions.Read(keys); });
  }

  Outbox& outbox() override { return *this; }
  OutgoingLog* outgoing() override { return &outgoing_; }

  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override {
    return data_->Access(
        [&](const Contents& contents) { return contents.outbox.FindPending(rows_max); });
  }
  absl::StatusOr<std::size_t> CountPending() override {
    return data_->Access([](const Contents& contents) { return contents.outbox.CountPending(); });
  }
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override {
    data_->Access([&](Contents& contents) {
      for (const std::int64_t sequence : sequences) contents.outbox.MarkPublished(sequence);
    });
    return absl::OkStatus();
  }
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override {
    data_->Access([&](Contents& contents) { contents.outbox.Park(sequence, reason); });
    return absl::OkStatus();
  }

 private:
  const StoreTraits traits_ = {
      .name = "memory",
      .durability = Durability::kNothing,
      .weakness = "it forgets every id and position when the process ends; use a store on disk",
      .is_shared = false};
  // Shared with the open transaction, which may outlive the store.
  const std::shared_ptr<MemoryData> data_;
  MemoryClaims claims_;
  MemoryOperations operations_;
  MemoryOutgoing outgoing_rows_;
  stores::SingleLaneLog outgoing_;
};

}  // namespace

RecordWriter* Records(Transaction& transaction) {
  return dynamic_cast<MemoryTransaction*>(&transaction);
}

std::shared_ptr<Store> OpenStore(const StoreOptions& options) {
  return std::make_shared<MemoryStore>(options);
}

}  // namespace once::memory
