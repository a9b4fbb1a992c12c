// The in-memory store. One transaction at a time stages its writes and applies them under one
// mutex, so that readers see all of them or none.
#include "src/memory/memory_store.h"

#include <cassert>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::memory {

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

std::vector<BeginResult::Mismatch> MemoryData::Compare(std::span<const PositionLock> locks) const {
  std::lock_guard lock(mutex_);
  std::vector<BeginResult::Mismatch> mismatches;
  for (std::size_t i = 0; i < locks.size(); ++i) {
    const auto row = positions_.find(locks[i].key);
    if (row == positions_.end()) {
      mismatches.push_back({.lock = i, .actual = std::nullopt});
    } else if (row->second.stamp != locks[i].expected) {
      mismatches.push_back({.lock = i, .actual = row->second.stamp});
    }
  }
  return mismatches;
}

std::vector<TakenPosition> MemoryData::Take(std::span<const TakeRequest> requests) {
  std::lock_guard lock(mutex_);
  std::vector<TakenPosition> taken;
  for (const TakeRequest& request : requests) taken.push_back(TakeOne(request));
  return taken;
}

TakenPosition MemoryData::TakeOne(const TakeRequest& request) {
  TakenPosition taken;
  auto row = positions_.find(request.key);
  if (row == positions_.end()) {
    taken.other_cluster = FindOtherCluster(request.key);
    taken.exists = request.may_create;
    if (!request.may_create) return taken;
    const PositionRow created = {
        .stamp = {.position = request.start, .revision = 1, .writer = request.writer},
        .reach = request.start};
    row = positions_.emplace(request.key, created).first;
  } else {
    taken.previous = row->second.stamp;
    ++row->second.stamp.revision;
    row->second.stamp.writer = request.writer;
  }
  taken.current = row->second.stamp;
  taken.reach = row->second.reach;
  taken.last_applied = row->second.last_applied;
  taken.directive = row->second.directive;
  return taken;
}

std::string MemoryData::FindOtherCluster(const PartitionKey& key) const {
  for (const auto& [other, row] : positions_) {
    if (other.cluster != key.cluster && other.group == key.group &&
        other.partition == key.partition) {
      return other.cluster;
    }
  }
  return "";
}

void MemoryData::Apply(StagedWrites writes) {
  std::lock_guard lock(mutex_);
  for (auto& [key, record] : writes.ids) {
    if (record.state == IdState::kAbsent) {
      ids_.erase(key);
    } else {
      ids_[key] = record;
    }
  }
  for (OutboxRow& row : writes.outgoing) {
    origins_.insert(row.origin);
    pending_.emplace(++last_sequence_, std::move(row.message));
  }
  for (auto& [table, row] : writes.records) records_[table].push_back(std::move(row));
  for (auto& [key, row] : writes.positions) positions_[key] = std::move(row);
}

IdRecord MemoryData::FindId(const std::string& encoded_key) const {
  std::lock_guard lock(mutex_);
  const auto found = ids_.find(encoded_key);
  return found == ids_.end() ? IdRecord{} : found->second;
}

bool MemoryData::HasOrigin(const OutboxOrigin& origin) const {
  std::lock_guard lock(mutex_);
  return origins_.contains(origin);
}

std::vector<std::optional<PositionStamp>> MemoryData::ReadPositions(
    std::span<const PartitionKey> keys) const {
  std::lock_guard lock(mutex_);
  std::vector<std::optional<PositionStamp>> stamps;
  for (const PartitionKey& key : keys) {
    const auto row = positions_.find(key);
    stamps.push_back(row == positions_.end() ? std::nullopt : std::optional(row->second.stamp));
  }
  return stamps;
}

std::vector<std::string> MemoryData::ReadRecords(std::string_view table) const {
  std::lock_guard lock(mutex_);
  const auto found = records_.find(table);
  return found == records_.end() ? std::vector<std::string>() : found->second;
}

std::vector<PendingRow> MemoryData::FindPending(std::size_t rows_max) const {
  std::lock_guard lock(mutex_);
  std::vector<PendingRow> rows;
  for (const auto& [sequence, message] : pending_) {
    if (rows.size() == rows_max) break;
    rows.push_back({.sequence = sequence, .message = message});
  }
  return rows;
}

std::size_t MemoryData::CountPending() const {
  std::lock_guard lock(mutex_);
  return pending_.size();
}

void MemoryData::MarkPublished(std::span<const std::int64_t> sequences) {
  std::lock_guard lock(mutex_);
  for (const std::int64_t sequence : sequences) pending_.erase(sequence);
}

void MemoryData::Park(std::int64_t sequence, const absl::Status& reason) {
  std::lock_guard lock(mutex_);
  auto row = pending_.extract(sequence);
  if (row.empty()) return;
  parked_.emplace(sequence, ParkedRow{.message = std::move(row.mapped()), .reason = reason});
}

MemoryTransaction::MemoryTransaction(std::shared_ptr<MemoryData> data,
                                     std::span<const PositionLock> locks)
    : data_(std::move(data)) {
  for (const PositionLock& lock : locks) locks_.emplace(lock.key, lock.expected);
}

absl::Status MemoryTransaction::FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) {
  if (!state_.ok()) return state_;
  assert(records.size() == keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::string key = EncodeIdKey(keys[i]);
    const auto staged = staged_.ids.find(key);
    records[i] = staged != staged_.ids.end() ? staged->second : data_->FindId(key);
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::PutIds(std::span<const IdWrite> writes) {
  if (!state_.ok()) return state_;
  for (const IdWrite& write : writes) {
    std::string key = EncodeIdKey(write.key);
    const auto [staged, is_new] = staged_.ids.try_emplace(key);
    if (savepoint_) {
      savepoint_->ids.emplace_back(std::move(key),
                                   is_new ? std::nullopt : std::optional(staged->second));
    }
    staged->second = write.record;
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  if (!state_.ok()) return state_;
  for (const OutboxRow& row : rows) {
    if (data_->HasOrigin(row.origin) || !staged_.origins.insert(row.origin).second) continue;
    staged_.outgoing.push_back(row);
  }
  return absl::OkStatus();
}

absl::Status MemoryTransaction::SetSavepoint() {
  if (!state_.ok()) return state_;
  savepoint_ = Savepoint{.outgoing = staged_.outgoing.size(),
                         .records = staged_.records.size(),
                         .positions = staged_.positions,
                         .ids = {}};
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
  // Newest first, so that an id written twice ends at what it was at the savepoint.
  for (; !savepoint_->ids.empty(); savepoint_->ids.pop_back()) {
    const auto& [key, former] = savepoint_->ids.back();
    if (former) {
      staged_.ids[key] = *former;
    } else {
      staged_.ids.erase(key);
    }
  }
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
  data_->Apply(std::move(staged_));
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
  staged_ = {};
  savepoint_.reset();
  std::exchange(data_, nullptr)->Leave();
}

namespace {

class MemoryStore final : public Store, public TransactionalStore, public Outbox {
 public:
  explicit MemoryStore(const StoreOptions& options)
      : data_(std::make_shared<MemoryData>(options.begin_timeout)) {}

  const StoreTraits& traits() const override { return traits_; }
  TransactionalStore* transactions() override { return this; }
  std::vector<std::string> ReadRecords(std::string_view table) const override {
    return data_->ReadRecords(table);
  }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    if (absl::Status entered = data_->Enter("begin"); !entered.ok()) return entered;
    BeginResult result{.transaction = nullptr, .mismatches = data_->Compare(locks)};
    if (result.mismatches.empty()) {
      result.transaction = std::make_unique<MemoryTransaction>(data_, locks);
    } else {
      data_->Leave();
    }
    return result;
  }

  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    if (absl::Status entered = data_->Enter("take"); !entered.ok()) return entered;
    std::vector<TakenPosition> taken = data_->Take(requests);
    data_->Leave();
    return taken;
  }

  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override {
    return data_->ReadPositions(keys);
  }

  Outbox& outbox() override { return *this; }

  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override {
    return data_->FindPending(rows_max);
  }
  absl::StatusOr<std::size_t> CountPending() override { return data_->CountPending(); }
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override {
    data_->MarkPublished(sequences);
    return absl::OkStatus();
  }
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override {
    data_->Park(sequence, reason);
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
};

}  // namespace

RecordWriter* Records(Transaction& transaction) {
  return dynamic_cast<MemoryTransaction*>(&transaction);
}

std::shared_ptr<Store> OpenStore(const StoreOptions& options) {
  return std::make_shared<MemoryStore>(options);
}

}  // namespace once::memory
