// The server (locks, commits, losses), FakeTransaction and FakeConnection, its client side.
#include "once/testing/fake_store.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::testing {
namespace {

absl::Status Dead() { return absl::CancelledError("fake store: the process is dead"); }
absl::Status Failed() { return absl::UnavailableError("fake store: failure"); }
absl::Status Unknown() { return absl::UnknownError("fake store: the answer was lost"); }
absl::Status SessionLost() {
  return absl::UnavailableError("fake store: the server has ended the session");
}

OutboxEntry* FindEntry(StoreState& state, std::int64_t sequence) {
  const auto it = std::lower_bound(
      state.outbox.begin(), state.outbox.end(), sequence,
      [](const OutboxEntry& entry, std::int64_t wanted) { return entry.sequence < wanted; });
  return it != state.outbox.end() && it->sequence == sequence ? &*it : nullptr;
}

}  // namespace

void Apply(const StoreChange& change, StoreState& state) {
  for (const StoreChange::Position& position : change.positions) {
    state.positions.insert_or_assign(position.key, position.stamp);
  }
  for (const StoreChange::Id& id : change.ids) {
    if (id.record.state == IdState::kAbsent) {
      state.ids.erase(id.key);
    } else {
      state.ids.insert_or_assign(id.key, id.record);
    }
  }
  state.effects.insert(state.effects.end(), change.effects.begin(), change.effects.end());
  if (change.first_sequence > 0) state.next_sequence = change.first_sequence;
  for (const OutboxRow& row : change.outgoing) {
    const bool is_known =
        std::any_of(state.outbox.begin(), state.outbox.end(),
                    [&row](const OutboxEntry& entry) { return entry.row.origin == row.origin; });
    if (is_known) continue;
    state.outbox.push_back({.sequence = state.next_sequence++, .row = row});
  }
  for (const std::int64_t sequence : change.published) {
    if (OutboxEntry* entry = FindEntry(state, sequence)) entry->is_published = true;
  }
  for (const std::int64_t sequence : change.parked) {
    if (OutboxEntry* entry = FindEntry(state, sequence)) entry->is_parked = true;
  }
}

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

class FakeTransaction : public StoreTransaction, public EffectWriter {
 public:
  FakeTransaction(FakeStore& store, std::shared_ptr<Process> process, FakeStore::TransactionId id,
                  std::span<const PositionLock> locks)
      : store_(store), process_(std::move(process)), id_(id), locks_(locks.begin(), locks.end()) {
    store_.open_.push_back(this);
  }
  ~FakeTransaction() override {
    if (is_open_) End(absl::OkStatus());
  }

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override;
  absl::Status PutIds(std::span<const IdWrite> writes) override;
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override;
  absl::Status SetSavepoint() override;
  absl::Status RollbackToSavepoint() override;
  absl::Status CheckOpen() override;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override;
  absl::Status Commit(Durability wanted) override;
  void Rollback() override;

  using EffectWriter::Append;
  void Append(EffectRow row) override;
  IdRecord Peek(const IdKey& key) const override;

  const Process& process() const { return *process_; }
  FakeStore::TransactionId id() const { return id_; }
  bool is_open() const override { return is_open_; }
  // Nothing of it exists any more; every later call answers `why`.
  void End(absl::Status why);

 private:
  struct Savepoint {
    std::size_t ids = 0;
    std::size_t effects = 0;
    std::size_t outgoing = 0;
    std::size_t positions = 0;
  };

  // OK when the call may go on. Everything but Commit and Rollback begins with it.
  absl::Status Enter(Seam seam);
  absl::Status Fail(absl::Status status);
  FakeStore::Waiter AsWaiter() { return {*process_, id_, this}; }

  FakeStore& store_;
  std::shared_ptr<Process> process_;
  FakeStore::TransactionId id_;
  std::vector<PositionLock> locks_;
  StoreChange change_;
  std::optional<Savepoint> savepoint_;
  bool is_open_ = true;
  bool has_failed_ = false;
  absl::Status ended_;
};

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
  if (process_->is_dead()) return Dead();
  if (had_failed || (!was_open && ended_.ok())) {
    store_.observer_->OnMisuse(
        *process_,
        absl::StrCat(ToAbsl(ToString(seam)), " on a transaction that has failed or ended"));
    return absl::FailedPreconditionError("fake store: the transaction has failed or ended");
  }
  if (!is_open_) return Fail(ended_);
  if (fault == Fault::kFailure) return Fail(Failed());
  if (fault == Fault::kCrashAfter) {
    // The effect of the call would be gone with the transaction.
    store_.gate_.Crash(*process_);
    return Dead();
  }
  return absl::OkStatus();
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
    if (it->key == encoded) return it->record;
  }
  const auto it = store_.state_.ids.find(encoded);
  return it == store_.state_.ids.end() ? IdRecord{} : it->second;
}

absl::Status FakeTransaction::PutIds(std::span<const IdWrite> writes) {
  if (absl::Status status = Enter(Seam::kPutIds); !status.ok()) return status;
  for (const IdWrite& write : writes) {
    std::string key = EncodeIdKey(write.key);
    if (absl::Status status = store_.LockId(AsWaiter(), key); !status.ok()) return Fail(status);
    change_.ids.push_back({.key = std::move(key), .record = write.record});
  }
  return absl::OkStatus();
}

absl::Status FakeTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  if (absl::Status status = Enter(Seam::kPutOutgoing); !status.ok()) return status;
  change_.outgoing.insert(change_.outgoing.end(), rows.begin(), rows.end());
  return absl::OkStatus();
}

absl::Status FakeTransaction::SetSavepoint() {
  if (absl::Status status = Enter(Seam::kSetSavepoint); !status.ok()) return status;
  savepoint_ = {.ids = change_.ids.size(),
                .effects = change_.effects.size(),
                .outgoing = change_.outgoing.size(),
                .positions = change_.positions.size()};
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
  change_.positions.resize(savepoint_->positions);
  return absl::OkStatus();
}

absl::Status FakeTransaction::CheckOpen() { return Enter(Seam::kCheckOpen); }

absl::Status FakeTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  if (absl::Status status = Enter(Seam::kSetPositions); !status.ok()) return status;
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
    change_.positions.push_back({.key = update.key, .stamp = stamp});
  }
  return absl::OkStatus();
}

absl::Status FakeTransaction::Commit(Durability /*wanted*/) {
  const bool had_failed = has_failed_;
  const bool was_open = is_open_;
  const Fault fault = store_.gate_.Pass(*process_, Seam::kCommit);
  if (process_->is_dead()) return Dead();
  if (had_failed || (!was_open && ended_.ok())) {
    store_.observer_->OnMisuse(*process_, "commit of a transaction that has failed or ended");
    if (is_open_) End(absl::OkStatus());
    return absl::FailedPreconditionError("fake store: the transaction has failed or ended");
  }
  if (fault == Fault::kLoseOneCommit) store_.LoseCommits(1);
  if (fault == Fault::kLoseTwoCommits) store_.LoseCommits(2);
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
    if (fault == Fault::kFailure) answer = Failed();
    if (fault == Fault::kUnknownApplied || fault == Fault::kUnknownNotApplied || is_launched) {
      answer = Unknown();
    }
    // A commit on its way keeps its locks until it lands.
    if (is_launched) id_ = 0;
    End(absl::OkStatus());
  }
  if (fault == Fault::kCrashAfter || fault == Fault::kCrashAppliedLater) {
    store_.gate_.Crash(*process_);
    return Dead();
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
  change_.effects.push_back(std::move(row));
}

// One process's connection: DedupStore, TransactionalStore and Outbox in one object.
class FakeConnection : public DedupStore, public TransactionalStore, public Outbox {
 public:
  FakeConnection(FakeStore& store, std::shared_ptr<Process> process)
      : store_(store), process_(std::move(process)) {
    traits_.name = "fake";
    traits_.durability = Durability::kMachine;
    traits_.is_shared = true;
  }

  const StoreTraits& traits() const override { return traits_; }
  TransactionalStore* transactions() override { return this; }
  Outbox& outbox() override { return *this; }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override;
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override;
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override;
  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override;
  absl::StatusOr<std::size_t> CountPending() override;
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override;
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override;

 private:
  // The common part of calls that only read. OK when the call may go on.
  absl::Status EnterRead(Seam seam);
  // A transaction of one change: what MarkPublished and Park are.
  absl::Status Change(Seam seam, const StoreChange& change);
  // Applies, launches or drops a change as the fault says; what the caller is told.
  absl::Status Finish(Fault fault, FakeStore::TransactionId id, const StoreChange& change);
  absl::Status LockRows(const FakeStore::Waiter& waiter, std::vector<const PartitionKey*> keys);

  FakeStore& store_;
  std::shared_ptr<Process> process_;
  StoreTraits traits_;
};

absl::Status FakeConnection::LockRows(const FakeStore::Waiter& waiter,
                                      std::vector<const PartitionKey*> keys) {
  absl::Status status = store_.LockWriter(waiter);
  std::sort(keys.begin(), keys.end(),
            [](const PartitionKey* a, const PartitionKey* b) { return *a < *b; });
  for (const PartitionKey* key : keys) {
    if (status.ok()) status = store_.LockRow(waiter, *key);
  }
  if (!status.ok()) store_.Release(waiter.id);
  return status;
}

absl::StatusOr<BeginResult> FakeConnection::Begin(std::span<const PositionLock> locks) {
  const Fault fault = store_.gate_.Pass(*process_, Seam::kBegin);
  if (process_->is_dead()) return Dead();
  store_.observer_->OnBegin(*process_, locks);
  if (fault == Fault::kLoseOneCommit) store_.LoseCommits(1);
  if (fault == Fault::kLoseTwoCommits) store_.LoseCommits(2);
  if (fault == Fault::kFailure) return Failed();
  const FakeStore::TransactionId id = ++store_.last_id_;
  std::vector<const PartitionKey*> keys;
  for (const PositionLock& lock : locks) keys.push_back(&lock.key);
  auto transaction = std::make_unique<FakeTransaction>(store_, process_, id, locks);
  absl::Status status = LockRows({*process_, id, transaction.get()}, std::move(keys));
  if (!status.ok()) return status;
  BeginResult result;
  for (std::size_t i = 0; i < locks.size(); ++i) {
    const auto it = store_.state_.positions.find(locks[i].key);
    std::optional<PositionStamp> actual;
    if (it != store_.state_.positions.end()) actual = it->second;
    if (actual == locks[i].expected) continue;
    result.mismatches.push_back({.lock = i, .actual = actual});
  }
  if (result.mismatches.empty()) result.transaction = std::move(transaction);
  transaction.reset();
  if (fault == Fault::kCrashAfter) {
    store_.gate_.Crash(*process_);
    return Dead();
  }
  return result;
}

absl::Status FakeConnection::Finish(Fault fault, FakeStore::TransactionId id,
                                    const StoreChange& change) {
  switch (fault) {
    case Fault::kFailure:
      store_.Release(id);
      return Failed();
    case Fault::kUnknownNotApplied:
      store_.Release(id);
      return Unknown();
    case Fault::kUnknownAppliedLater:
    case Fault::kCrashAppliedLater:
      store_.Launch({.id = id, .process = process_->number(), .locks = {}, .change = change});
      break;
    default:
      store_.ApplyChange(process_->number(), {}, change);
      store_.Release(id);
      break;
  }
  if (fault == Fault::kCrashAfter || fault == Fault::kCrashAppliedLater) {
    store_.gate_.Crash(*process_);
    return Dead();
  }
  return fault == Fault::kNone ? absl::OkStatus() : Unknown();
}

absl::StatusOr<std::vector<TakenPosition>> FakeConnection::Take(
    std::span<const TakeRequest> requests) {
  const Fault fault = store_.gate_.Pass(*process_, Seam::kTake);
  if (process_->is_dead()) return Dead();
  if (fault == Fault::kLoseOneCommit) store_.LoseCommits(1);
  if (fault == Fault::kLoseTwoCommits) store_.LoseCommits(2);
  const bool is_lost = fault == Fault::kLoseOneCommit || fault == Fault::kLoseTwoCommits;
  const FakeStore::TransactionId id = ++store_.last_id_;
  std::vector<const PartitionKey*> keys;
  for (const TakeRequest& request : requests) keys.push_back(&request.key);
  absl::Status status = LockRows({*process_, id, nullptr}, std::move(keys));
  if (!status.ok()) return status;
  std::vector<TakenPosition> taken;
  StoreChange change;
  for (const TakeRequest& request : requests) {
    TakenPosition& row = taken.emplace_back();
    const auto it = store_.state_.positions.find(request.key);
    if (it != store_.state_.positions.end()) row.previous = it->second;
    row.current = row.previous.value_or(PositionStamp{.position = request.start});
    ++row.current.revision;
    row.current.writer = request.writer;
    change.positions.push_back(
        {.key = request.key, .stamp = row.current, .is_new = !row.previous.has_value()});
  }
  status = is_lost ? SessionLost() : Finish(fault, id, change);
  if (is_lost) store_.Release(id);
  if (process_->is_dead()) return Dead();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    store_.observer_->OnTake(*process_, requests[i].key, taken[i].current, status);
  }
  if (!status.ok()) return status;
  return taken;
}

absl::Status FakeConnection::EnterRead(Seam seam) {
  const Fault fault = store_.gate_.Pass(*process_, seam);
  if (process_->is_dead()) return Dead();
  if (fault == Fault::kLoseOneCommit) store_.LoseCommits(1);
  if (fault == Fault::kLoseTwoCommits) store_.LoseCommits(2);
  if (fault == Fault::kFailure) return Failed();
  if (fault == Fault::kCrashAfter) {
    store_.gate_.Crash(*process_);
    return Dead();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::optional<PositionStamp>>> FakeConnection::ReadPositions(
    std::span<const PartitionKey> keys) {
  if (absl::Status status = EnterRead(Seam::kReadPositions); !status.ok()) return status;
  std::vector<std::optional<PositionStamp>> stamps;
  for (const PartitionKey& key : keys) {
    const auto it = store_.state_.positions.find(key);
    std::optional<PositionStamp>& stamp = stamps.emplace_back();
    if (it != store_.state_.positions.end()) stamp = it->second;
  }
  return stamps;
}

absl::StatusOr<std::vector<PendingRow>> FakeConnection::FindPending(std::size_t rows_max) {
  if (absl::Status status = EnterRead(Seam::kFindPending); !status.ok()) return status;
  std::vector<PendingRow> rows;
  for (const OutboxEntry& entry : store_.state_.outbox) {
    if (entry.is_published || entry.is_parked || rows.size() >= rows_max) continue;
    rows.push_back({.sequence = entry.sequence, .message = entry.row.message});
  }
  return rows;
}

absl::StatusOr<std::size_t> FakeConnection::CountPending() {
  if (absl::Status status = EnterRead(Seam::kCountPending); !status.ok()) return status;
  return static_cast<std::size_t>(std::count_if(
      store_.state_.outbox.begin(), store_.state_.outbox.end(),
      [](const OutboxEntry& entry) { return !entry.is_published && !entry.is_parked; }));
}

absl::Status FakeConnection::Change(Seam seam, const StoreChange& change) {
  const Fault fault = store_.gate_.Pass(*process_, seam);
  if (process_->is_dead()) return Dead();
  const FakeStore::TransactionId id = ++store_.last_id_;
  absl::Status status = store_.LockWriter({*process_, id, nullptr});
  if (!status.ok()) return status;
  return Finish(fault, id, change);
}

absl::Status FakeConnection::MarkPublished(std::span<const std::int64_t> sequences) {
  StoreChange change;
  change.published.assign(sequences.begin(), sequences.end());
  return Change(Seam::kMarkPublished, change);
}

absl::Status FakeConnection::Park(std::int64_t sequence, const absl::Status& /*reason*/) {
  StoreChange change;
  change.parked.push_back(sequence);
  return Change(Seam::kPark, change);
}

FakeStore::FakeStore(SeamGate& gate, FakeStoreOptions options, SimulationObserver* observer)
    : gate_(gate),
      options_(options),
      observer_(observer == nullptr ? &silent_ : observer),
      released_(gate.scheduler()) {}

FakeStore::~FakeStore() { assert(open_.empty()); }

std::shared_ptr<DedupStore> FakeStore::Connect(std::shared_ptr<Process> process) {
  process->OnKill([this, dying = process.get()] { EndSessions(*dying); });
  return std::make_shared<FakeConnection>(*this, std::move(process));
}

// Waits until nobody else holds the lock, and takes it.
absl::Status FakeStore::Lock(const Waiter& waiter, TransactionId& holder) {
  const absl::Time deadline = gate_.scheduler().Now() + options_.lock_wait_max;
  while (holder != 0 && holder != waiter.id) {
    const bool is_notified = released_.WaitUntil(deadline);
    if (waiter.process.is_dead()) return Dead();
    if (waiter.transaction != nullptr && !waiter.transaction->is_open()) return SessionLost();
    if (!is_notified && holder != 0) {
      return absl::UnavailableError("fake store: somebody else holds a lock for too long");
    }
  }
  holder = waiter.id;
  return absl::OkStatus();
}

absl::Status FakeStore::LockWriter(const Waiter& waiter) {
  return options_.model == StoreModel::kOneTransaction ? Lock(waiter, writer_) : absl::OkStatus();
}

// Map nodes stay where they are, so a reference survives the wait; holder 0 means free.
absl::Status FakeStore::LockRow(const Waiter& waiter, const PartitionKey& key) {
  return Lock(waiter, row_locks_[key]);
}

absl::Status FakeStore::LockId(const Waiter& waiter, const std::string& key) {
  // The one writer needs no lock on what nobody else can write.
  if (options_.model == StoreModel::kOneTransaction) return absl::OkStatus();
  return Lock(waiter, id_locks_[key]);
}

void FakeStore::Release(TransactionId id) {
  if (id == 0) return;
  if (writer_ == id) writer_ = 0;
  for (auto& [key, holder] : row_locks_) {
    if (holder == id) holder = 0;
  }
  for (auto& [key, holder] : id_locks_) {
    if (holder == id) holder = 0;
  }
  released_.NotifyAll();
}

void FakeStore::ApplyChange(int process, std::span<const PositionLock> locks,
                            const StoreChange& change) {
  observer_->OnApply(process, locks, change, state_);
  history_.push_back(change);
  history_.back().first_sequence = state_.next_sequence;
  Apply(change, state_);
  for (const StoreChange::Position& position : change.positions) {
    if (position.is_new) losable_from_ = history_.size();
  }
  observer_->OnApplied(change, state_);
}

void FakeStore::Launch(Flight flight) {
  const TransactionId id = flight.id;
  flights_.push_back(std::move(flight));
  gate_.scheduler().At(gate_.scheduler().Now() + options_.in_flight, [this, id] { Land(id); });
}

void FakeStore::Land(TransactionId id) {
  const auto it = std::find_if(flights_.begin(), flights_.end(),
                               [id](const Flight& flight) { return flight.id == id; });
  if (it == flights_.end()) return;  // the store died meanwhile
  const Flight flight = std::move(*it);
  flights_.erase(it);
  ApplyChange(flight.process, flight.locks, flight.change);
  Release(id);
}

void FakeStore::EndSessions(const Process& process) {
  const std::vector<FakeTransaction*> open = open_;
  for (FakeTransaction* transaction : open) {
    if (&transaction->process() == &process) transaction->End(Dead());
  }
}

void FakeStore::LoseCommits(std::size_t commits) {
  const std::vector<FakeTransaction*> open = open_;
  for (FakeTransaction* transaction : open) transaction->End(SessionLost());
  const std::vector<Flight> flights = std::move(flights_);
  flights_.clear();
  for (const Flight& flight : flights) Release(flight.id);
  const std::size_t kept =
      std::max(losable_from_, history_.size() - std::min(commits, history_.size()));
  if (kept == history_.size()) return;
  history_.resize(kept);
  const std::int64_t next_sequence = state_.next_sequence;
  state_ = {};
  for (const StoreChange& change : history_) Apply(change, state_);
  if (!options_.reuses_sequences) state_.next_sequence = next_sequence;
  observer_->OnLost(state_);
}

}  // namespace once::testing
