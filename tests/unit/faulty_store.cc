// FaultyStore: forwards to an in-memory store, decides the fate of commits, and can be rebuilt from
// a prefix of what it has done.
#include "tests/unit/faulty_store.h"

#include "gtest/gtest.h"
#include "once/abseil.h"

namespace once {

class FaultyTransaction final : public StoreTransaction, public memory::RecordWriter {
 public:
  FaultyTransaction(FaultyStore& store, std::unique_ptr<StoreTransaction> inner)
      : store_(store), inner_(std::move(inner)) {}

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    return inner_->FindIds(keys, records);
  }

  absl::Status PutIds(std::span<const IdWrite> writes) override {
    if (is_broken_) return Broken();
    for (const IdWrite& write : writes) {
      written_.ids.push_back({.scope = std::string(write.key.scope),
                              .id = std::string(write.key.id),
                              .record = write.record});
    }
    return inner_->PutIds(writes);
  }

  absl::Status FindNotes(std::span<const std::string_view> keys,
                         std::span<std::string> values) override {
    return inner_->FindNotes(keys, values);
  }

  absl::Status PutNotes(std::span<const Note> notes) override {
    if (is_broken_) return Broken();
    for (const once::Note& note : notes) written_.notes.emplace_back(note.key, note.value);
    return inner_->PutNotes(notes);
  }

  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override {
    if (is_broken_) return Broken();
    written_.letters.insert(written_.letters.end(), rows.begin(), rows.end());
    return inner_->PutOutgoing(rows);
  }

  absl::Status SetSavepoint() override {
    if (is_broken_) return Broken();
    savepoint_ = written_;
    return inner_->SetSavepoint();
  }

  absl::Status RollbackToSavepoint() override {
    const absl::Status undone = std::exchange(store_.undone_answer_, absl::OkStatus());
    if (!undone.ok()) return undone;
    is_broken_ = false;
    written_ = savepoint_;
    return inner_->RollbackToSavepoint();
  }

  absl::Status CheckOpen() override {
    is_broken_ = is_broken_ || std::exchange(store_.fails_statement_, false);
    if (is_broken_) return Broken();
    const absl::Status answer = std::exchange(store_.open_answer_, absl::OkStatus());
    return answer.ok() ? inner_->CheckOpen() : answer;
  }

  absl::Status SetPositions(std::span<const PositionUpdate> updates) override {
    if (is_broken_) return Broken();
    written_.positions.assign(updates.begin(), updates.end());
    return inner_->SetPositions(updates);
  }

  absl::Status Commit(Durability wanted) override {
    if (const absl::Status alive = store_.CheckAlive(); !alive.ok()) {
      inner_->Rollback();
      return alive;
    }
    if (is_broken_) {
      inner_->Rollback();
      return Broken();
    }
    switch (wanted == Durability::kMachine ? DecideFate() : DecideMark()) {
      case CommitFate::kRefused:
        inner_->Rollback();
        return absl::FailedPreconditionError("a deferred constraint is violated");
      case CommitFate::kTrouble:
        inner_->Rollback();
        return absl::UnavailableError("the disk is full");
      case CommitFate::kUnknownUndone:
        inner_->Rollback();
        return absl::UnknownError("connection lost inside COMMIT");
      case CommitFate::kUnknownDone:
        CommitInner(wanted).IgnoreError();
        return absl::UnknownError("connection lost inside COMMIT");
      case CommitFate::kHappens:
        break;
    }
    return CommitInner(wanted);
  }

  void Rollback() override { inner_->Rollback(); }

  void Append(std::string_view table, std::string_view row) override {
    written_.records.emplace_back(table, row);
    memory::Records(*inner_)->Append(table, row);
  }

 private:
  static absl::Status Broken() {
    return absl::FailedPreconditionError("a statement failed; roll back to the savepoint");
  }

  CommitFate DecideFate() const {
    std::vector<std::string> completed;
    for (const FaultyStore::Write& write : written_.ids) {
      if (write.record.state == IdState::kCompleted) completed.push_back(write.id);
    }
    return store_.commit_hook_ ? store_.commit_hook_(completed) : CommitFate::kHappens;
  }

  CommitFate DecideMark() const {
    return store_.mark_hook_ ? store_.mark_hook_() : CommitFate::kHappens;
  }

  absl::Status CommitInner(Durability wanted) {
    absl::Status status = inner_->Commit(wanted);
    if (status.ok()) store_.Remember(written_);
    return status;
  }

  FaultyStore& store_;
  const std::unique_ptr<StoreTransaction> inner_;
  FaultyStore::Committed written_;
  FaultyStore::Committed savepoint_;
  bool is_broken_ = false;
};

std::shared_ptr<memory::Store> FaultyStore::inner() const {
  const std::lock_guard lock(mutex_);
  return inner_;
}

void FaultyStore::Remember(Operation operation) {
  const std::lock_guard lock(mutex_);
  operations_.push_back(std::move(operation));
}

std::size_t FaultyStore::recorded_calls() const {
  const std::lock_guard lock(mutex_);
  return operations_.size();
}

void FaultyStore::RollBackTo(std::size_t operations) {
  const std::lock_guard lock(mutex_);
  ASSERT_LE(operations, operations_.size());
  operations_.resize(operations);
  inner_ = memory::OpenStore();
  for (const Operation& operation : operations_) Replay(*inner_, operation);
}

void FaultyStore::Replay(memory::Store& store, const Operation& operation) {
  TransactionalStore& inner = *store.transactions();
  if (const auto* requests = std::get_if<std::vector<TakeRequest>>(&operation)) {
    ASSERT_TRUE(inner.Take(*requests).ok());
    return;
  }
  const auto& committed = std::get<Committed>(operation);
  std::vector<PartitionKey> keys;
  for (const PositionUpdate& update : committed.positions) keys.push_back(update.key);
  const auto stamps = inner.ReadPositions(keys);
  std::vector<PositionLock> locks;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    locks.push_back({.key = keys[i], .expected = *(*stamps)[i]});
  }
  auto begun = inner.Begin(locks);
  ASSERT_TRUE(begun.ok() && begun->transaction != nullptr);
  StoreTransaction& transaction = *begun->transaction;
  for (const Write& write : committed.ids) {
    const IdWrite put{.key = {.scope = write.scope, .id = write.id}, .record = write.record};
    ASSERT_TRUE(transaction.PutIds(std::span(&put, 1)).ok());
  }
  for (const auto& [key, value] : committed.notes) {
    const Note note{.key = key, .value = value};
    ASSERT_TRUE(transaction.PutNotes(std::span(&note, 1)).ok());
  }
  ASSERT_TRUE(transaction.PutOutgoing(committed.letters).ok());
  ASSERT_TRUE(transaction.SetPositions(committed.positions).ok());
  for (const auto& [table, row] : committed.records)
    memory::Records(transaction)->Append(table, row);
  ASSERT_TRUE(transaction.Commit(Durability::kMachine).ok());
}

void FaultyStore::LetAnotherTake(const PartitionKey& key, std::uint64_t writer) {
  const std::vector<TakeRequest> requests = {{.key = key, .writer = writer, .start = 0}};
  ASSERT_TRUE(inner()->transactions()->Take(requests).ok());
  Remember(requests);
}

void FaultyStore::LetAnotherWrite(const PositionUpdate& update) {
  const Committed written{.positions = {update}};
  Replay(*inner(), written);
  Remember(written);
}

std::optional<PositionStamp> FaultyStore::Row(const PartitionKey& key) {
  const auto rows = inner()->transactions()->ReadPositions(std::span(&key, 1));
  return rows->front();
}

StoredPosition FaultyStore::FindRow(const PartitionKey& key) {
  const auto rows = inner()->operations()->ListPositions();
  EXPECT_TRUE(rows.ok()) << rows.status();
  for (const StoredPosition& row : *rows) {
    if (row.key == key) return row;
  }
  return {};
}

std::vector<std::string> FaultyStore::ReadRecords(std::string_view table) const {
  return inner()->ReadRecords(table);
}

IdRecord FaultyStore::FindId(std::string_view scope, std::string_view id) {
  auto begun = inner()->transactions()->Begin({});
  EXPECT_TRUE(begun.ok()) << begun.status();
  const IdKey key{.scope = scope, .id = id};
  IdRecord record;
  EXPECT_TRUE(begun->transaction->FindIds(std::span(&key, 1), std::span(&record, 1)).ok());
  begun->transaction->Rollback();
  return record;
}

std::vector<OutgoingMessage> FaultyStore::PendingLetters() {
  std::vector<OutgoingMessage> letters;
  auto rows = outbox().FindPending(1000);
  EXPECT_TRUE(rows.ok()) << rows.status();
  for (PendingRow& row : *rows) letters.push_back(std::move(row.message));
  return letters;
}

absl::StatusOr<BeginResult> FaultyStore::Begin(std::span<const PositionLock> locks) {
  if (absl::Status alive = CheckAlive(); !alive.ok()) return alive;
  if (begin_hook_) {
    if (absl::Status status = begin_hook_(); !status.ok()) return status;
  }
  absl::StatusOr<BeginResult> begun = inner()->transactions()->Begin(locks);
  if (begun.ok() && begun->transaction != nullptr) {
    begun->transaction = std::make_unique<FaultyTransaction>(*this, std::move(begun->transaction));
  }
  return begun;
}

absl::StatusOr<std::vector<TakenPosition>> FaultyStore::Take(
    std::span<const TakeRequest> requests) {
  if (absl::Status alive = CheckAlive(); !alive.ok()) return alive;
  if (take_hook_) {
    if (absl::Status status = take_hook_(); !status.ok()) return status;
  }
  auto taken = inner()->transactions()->Take(requests);
  if (taken.ok()) Remember(std::vector<TakeRequest>(requests.begin(), requests.end()));
  return taken;
}

absl::StatusOr<std::vector<std::optional<PositionStamp>>> FaultyStore::ReadPositions(
    std::span<const PartitionKey> keys) {
  if (absl::Status alive = CheckAlive(); !alive.ok()) return alive;
  if (read_hook_) {
    if (absl::Status status = read_hook_(); !status.ok()) return status;
  }
  return inner()->transactions()->ReadPositions(keys);
}

}  // namespace once
