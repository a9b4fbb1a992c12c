// Small transactions over position rows, around the batches.
#include "src/row_marks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "src/judge.h"
#include "src/test_hooks.h"

namespace once {
namespace {

std::int64_t EndOf(const WorkPartition& partition) {
  return partition.items.back().delivery.message().offset() + 1;
}

bool IsBeyondReach(const WorkPartition& partition) {
  if (ONCE_PLANTED_BUG("reach-off-by-one")) return EndOf(partition) > partition.reach + 1;
  if (partition.is_narrowed) return EndOf(partition) != partition.reach;
  return EndOf(partition) > partition.reach;
}

// Stages the attempt of the single message. False when there is nothing to record: it is not going
// to be invoked, or a recorded attempt of this process still waits for its verdict.
absl::StatusOr<bool> RecordAttempt(StoreTransaction& transaction, WorkPartition& partition,
                                   const SingleMessage& single, int max_attempts, absl::Time now) {
  if (single.key.id.empty() || ONCE_PLANTED_BUG("attempt-not-recorded")) return false;
  absl::Status status;
  if (single.number) {
    SettledNumbers& numbers = *partition.numbers;
    status = numbers.Load(transaction, partition.lock.expected.position);
    if (!status.ok()) return status;
    if (numbers.Ask(*single.number) == Standing::kSettled) return false;
  }
  IdRecord found;
  status = transaction.FindIds(std::span(&single.key, 1), std::span(&found, 1));
  if (!status.ok()) return status;
  const IdRecord before = WithoutRecorded(found, partition.attempt, single.offset);
  if (before.attempt != found.attempt) return false;
  if (Judge(found, single.fingerprint, max_attempts, now) != Judgement::kHandle) return false;
  // Should this invocation be the process's last act, it has failed about now.
  const bool has_failed = found.first_failed_at != absl::InfinitePast();
  const IdWrite write{.key = single.key,
                      .record = {.state = IdState::kRetrying,
                                 .fingerprint = single.fingerprint,
                                 .attempt = found.attempt + 1,
                                 .first_failed_at = has_failed ? found.first_failed_at : now}};
  status = transaction.PutIds(std::span(&write, 1));
  if (!status.ok()) return status;
  partition.attempt = {.offset = single.offset, .attempt = found.attempt + 1};
  return true;
}

// Every row of the batch, so that one revision of each goes with one transaction.
std::vector<PositionUpdate> RaisedReaches(const BatchOrder& order) {
  std::vector<PositionUpdate> updates;
  for (const WorkPartition& partition : order.partitions) {
    updates.push_back({.key = partition.lock.key,
                       .position = ONCE_PLANTED_BUG("position-set-at-begin")
                                       ? EndOf(partition)
                                       : partition.lock.expected.position,
                       .reach = partition.is_narrowed ? EndOf(partition)
                                                      : std::max(partition.reach, EndOf(partition)),
                       .last_applied = partition.last_applied});
  }
  return updates;
}

BatchEnd EndWith(BatchOrder& order, BatchEnd end, absl::Status error) {
  order.error = std::move(error);
  return end;
}

}  // namespace

IdRecord WithoutRecorded(const IdRecord& record, const std::optional<RecordedAttempt>& recorded,
                         std::int64_t offset) {
  // A failure that somebody met with a copy meanwhile has a time to wait for.
  const bool is_recorded =
      recorded && recorded->offset == offset && record.state == IdState::kRetrying &&
      record.attempt == recorded->attempt && record.not_before == absl::InfinitePast();
  if (!is_recorded) return record;
  if (record.attempt == 1) return {};
  IdRecord before = record;
  --before.attempt;
  return before;
}

BatchEnd MarkInvocations(TransactionalStore& store, BatchOrder& order, const SingleMessage* single,
                         int max_attempts, absl::Time now) {
  const bool is_beyond =
      std::any_of(order.partitions.begin(), order.partitions.end(), IsBeyondReach);
  if (!is_beyond && single == nullptr) return BatchEnd::kPending;
  std::vector<PositionLock> locks;
  for (const WorkPartition& partition : order.partitions) locks.push_back(partition.lock);
  absl::StatusOr<BeginResult> begun = store.Begin(locks);
  if (!begun.ok()) return EndWith(order, BatchEnd::kStoreTrouble, begun.status());
  if (begun->transaction == nullptr) {
    order.mismatches = std::move(begun->mismatches);
    return BatchEnd::kMismatch;
  }
  StoreTransaction& transaction = *begun->transaction;
  // What is certainly not recorded is not remembered either: a copy's attempt may have its number.
  const std::optional<RecordedAttempt> remembered = order.partitions.front().attempt;
  absl::StatusOr<bool> is_recorded = false;
  if (single != nullptr) {
    is_recorded = RecordAttempt(transaction, order.partitions.front(), *single, max_attempts, now);
  }
  absl::Status status = is_recorded.status();
  if (status.ok() && !is_beyond && !*is_recorded) {
    transaction.Rollback();
    return BatchEnd::kPending;
  }
  const std::vector<PositionUpdate> updates = RaisedReaches(order);
  if (status.ok()) status = transaction.SetPositions(updates);
  if (!status.ok()) {
    transaction.Rollback();
    order.partitions.front().attempt = remembered;
    return EndWith(order, BatchEnd::kStoreTrouble, status);
  }
  ONCE_KILL_POINT("marks.before_commit");
  status = transaction.Commit(Durability::kProcess);
  ONCE_KILL_POINT("marks.committed");
  if (*is_recorded) ONCE_KILL_POINT("marks.attempt_recorded");
  if (status.code() == absl::StatusCode::kUnknown) {
    return EndWith(order, BatchEnd::kMarkUnknown, status);
  }
  if (!status.ok()) {
    order.partitions.front().attempt = remembered;
    return EndWith(order, BatchEnd::kStoreTrouble, status);
  }
  for (std::size_t i = 0; i < updates.size(); ++i) {
    ++order.partitions[i].lock.expected.revision;
    order.partitions[i].reach = updates[i].reach;
  }
  return BatchEnd::kPending;
}

void WriteRows(TransactionalStore& store, RowsOrder& order) {
  // Once to learn which rows are not ours any more, once without them.
  std::vector<PositionLock> locks = order.locks;
  std::vector<PositionUpdate> updates = order.updates;
  order.end = absl::OkStatus();
  absl::StatusOr<BeginResult> begun = store.Begin(locks);
  if (begun.ok() && begun->transaction == nullptr) {
    order.mismatches = std::move(begun->mismatches);
    for (auto left_out = order.mismatches.rbegin(); left_out != order.mismatches.rend();
         ++left_out) {
      locks.erase(locks.begin() + static_cast<std::ptrdiff_t>(left_out->lock));
      updates.erase(updates.begin() + static_cast<std::ptrdiff_t>(left_out->lock));
    }
    if (locks.empty()) return;
    begun = store.Begin(locks);
  }
  if (!begun.ok()) {
    order.end = begun.status();
    return;
  }
  if (begun->transaction == nullptr) {
    order.end = absl::AbortedError("the rows change faster than they can be written");
    return;
  }
  order.end = begun->transaction->SetPositions(updates);
  if (order.end.ok()) {
    order.end = begun->transaction->Commit(order.is_clean_end ? Durability::kProcess
                                                              : Durability::kMachine);
  } else {
    begun->transaction->Rollback();
  }
}

}  // namespace once
