// FakeConnection: transactions, position rows and the outbox, as one process sees them.
#include "src/testing/fake_connection.h"

#include <algorithm>
#include <utility>

#include "once/abseil.h"

namespace once::testing {

FakeConnection::FakeConnection(FakeStore& store, std::shared_ptr<Process> process)
    : store_(store), process_(std::move(process)) {
  traits_.name = "fake";
  traits_.durability = store.options_.durability;
  traits_.is_shared = !store.options_.has_one_owner;
  traits_.id = store.options_.id;
  traits_.open_count = store.opens_;
  losses_ = store.losses_;
  incarnation_ = store.Incarnation();
  if (store.options_.has_outgoing) {
    outgoing_.emplace(outgoing_rows_, store.options_.id, [this] { return store_.Now(); });
    serial_.emplace(store.gate_.scheduler(), *outgoing_);
  }
}

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
  if (process_->is_dead()) return StoreDead();
  store_.observer_->OnBegin(*process_, locks);
  store_.Lose(fault);
  if (fault == Fault::kFailure) return StoreFailed();
  // A server writes its locks down; an embedded store finds out at the first write.
  const bool is_full = store_.IsFull(fault);
  if (is_full && store_.options_.model == StoreModel::kRowLocks) return StoreFull();
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
    if (it != store_.state_.positions.end()) actual = it->second.stamp;
    if (actual == locks[i].expected) continue;
    result.mismatches.push_back({.lock = i, .actual = actual});
  }
  if (result.mismatches.empty()) result.transaction = std::move(transaction);
  transaction.reset();
  if (fault == Fault::kCrashAfter) {
    store_.gate_.Crash(*process_);
    return StoreDead();
  }
  return result;
}

absl::Status FakeConnection::Finish(Fault fault, FakeStore::TransactionId id,
                                    const StoreChange& change) {
  switch (fault) {
    case Fault::kFailure:
      store_.Release(id);
      return StoreFailed();
    case Fault::kUnknownNotApplied:
      store_.Release(id);
      return StoreUnknown();
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
    return StoreDead();
  }
  return fault == Fault::kNone ? absl::OkStatus() : StoreUnknown();
}

TakenPosition FakeConnection::TakeOne(const TakeRequest& request, StoreChange& change) const {
  TakenPosition taken;
  const auto& positions = store_.state_.positions;
  const auto it = positions.find(request.key);
  PositionRow row{.stamp = {.position = request.start}, .reach = request.start};
  if (it != positions.end()) {
    row = it->second;
    taken.previous = row.stamp;
  } else {
    for (const auto& [key, other] : positions) {
      const bool is_elsewhere = key.cluster != request.key.cluster &&
                                key.group == request.key.group &&
                                key.partition == request.key.partition;
      if (is_elsewhere) taken.other_cluster = key.cluster;
    }
    taken.exists = request.may_create;
    if (!request.may_create) return taken;
  }
  ++row.stamp.revision;
  row.stamp.writer = request.writer;
  taken.current = row.stamp;
  taken.reach = row.reach;
  taken.last_applied = row.last_applied;
  taken.directive = row.directive;
  change.positions.push_back(
      {.key = request.key, .row = row, .is_new = !taken.previous.has_value()});
  return taken;
}

absl::StatusOr<std::vector<TakenPosition>> FakeConnection::Take(
    std::span<const TakeRequest> requests) {
  const Fault fault = store_.gate_.Pass(*process_, Seam::kTake);
  if (process_->is_dead()) return StoreDead();
  const bool is_lost = store_.Lose(fault);
  if (store_.IsFull(fault)) return StoreFull();
  const FakeStore::TransactionId id = ++store_.last_id_;
  std::vector<const PartitionKey*> keys;
  for (const TakeRequest& request : requests) keys.push_back(&request.key);
  absl::Status status = LockRows({*process_, id, nullptr}, std::move(keys));
  if (!status.ok()) return status;
  std::vector<TakenPosition> taken;
  StoreChange change;
  for (const TakeRequest& request : requests) taken.push_back(TakeOne(request, change));
  status = is_lost ? StoreSessionLost() : Finish(fault, id, change);
  if (is_lost) store_.Release(id);
  if (process_->is_dead()) return StoreDead();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (taken[i].exists) {
      store_.observer_->OnTake(*process_, requests[i].key, taken[i].current, status);
    }
  }
  if (!status.ok()) return status;
  return taken;
}

absl::Status FakeConnection::EnterRead(Seam seam) {
  const Fault fault = store_.gate_.Pass(*process_, seam);
  if (process_->is_dead()) return StoreDead();
  store_.Lose(fault);
  if (fault == Fault::kFailure) return StoreFailed();
  if (fault == Fault::kCrashAfter) {
    store_.gate_.Crash(*process_);
    return StoreDead();
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
    if (it != store_.state_.positions.end()) stamp = it->second.stamp;
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
  if (process_->is_dead()) return StoreDead();
  if (store_.IsFull(fault)) return StoreFull();
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

}  // namespace once::testing
