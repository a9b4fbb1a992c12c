// Transactions that compare rows and write notes.
#include "src/judge_losses.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <set>
#include <utility>

#include "src/test_hooks.h"

namespace once {
namespace {

std::int64_t LogTimeOf(const WorkPartition& partition, std::int64_t now_ms) {
  std::int64_t earliest_ms = now_ms;
  for (const WorkItem& item : partition.items) {
    earliest_ms = std::min(earliest_ms, item.delivery.message().timestamp_ms());
  }
  return earliest_ms < 0 ? now_ms : earliest_ms;
}

absl::Status StageItem(LossOrder::Item& item, StoreTransaction* transaction,
                       std::vector<OwnedNote>& notes) {
  item.sequences->Begin();
  item.sequences->Judge(item.seen_until_ms);
  return item.sequences->Stage(transaction,
                               {.position_before = item.lock.expected.position,
                                .position_after = item.lock.expected.position,
                                .log_time_ms = item.log_time_ms,
                                .is_gap_lost = item.is_gap_lost,
                                .is_rowless = item.is_rowless},
                               notes);
}

void Adopt(LossOrder& order, LossOrder::Item& item) {
  item.tracked =
      AdoptStaged(*item.sequences, item.lock.expected.position, order.losses, order.unstamped);
  item.tracked.log_time_ms = item.log_time_ms;
}

// The row's position stays, and its revision rises: else a store that loses this commit while the
// process lives on would look as expected, and what it held would be known to memory alone.
PositionUpdate Raised(const LossOrder::Item& item) {
  return {.key = item.lock.key,
          .position = item.lock.expected.position,
          .reach = item.reach,
          .last_applied = item.last_applied};
}

// What a power failure undoes is found, and told of, once more.
absl::Status CommitNotes(StoreTransaction& transaction) {
  ONCE_KILL_POINT("losses.before_commit");
  absl::Status end = transaction.Commit(Durability::kProcess);
  ONCE_KILL_POINT("losses.committed");
  return end;
}

// One transaction over the rows of all items. A partition of which nothing is new keeps its row.
absl::Status KeepJudgement(StoreTransaction& transaction, LossOrder& order) {
  std::vector<OwnedNote> notes;
  std::vector<LossOrder::Item*> raised;
  std::vector<PositionUpdate> updates;
  absl::Status staged;
  for (LossOrder::Item& item : order.items) {
    const std::size_t before = notes.size();
    if (staged.ok()) staged = StageItem(item, &transaction, notes);
    if (notes.size() == before) continue;
    raised.push_back(&item);
    updates.push_back(Raised(item));
  }
  if (staged.ok()) staged = PutNotes(transaction, notes);
  if (staged.ok() && !updates.empty()) staged = transaction.SetPositions(updates);
  if (!staged.ok() || notes.empty()) {
    transaction.Rollback();
    return staged;
  }
  absl::Status end = CommitNotes(transaction);
  if (!end.ok()) return end;
  for (LossOrder::Item* item : raised) ++item->lock.expected.revision;
  return end;
}

void JudgeUnkept(LossOrder& order) {
  std::vector<OwnedNote> none;
  for (LossOrder::Item& item : order.items) {
    order.end = StageItem(item, nullptr, none);
    if (!order.end.ok()) return;
    Adopt(order, item);
  }
}

}  // namespace

void ReadNumbers(WorkPartition& partition) {
  partition.sequences->Begin();
  for (const WorkItem& item : partition.items) partition.sequences->Read(item.delivery.message());
}

std::int64_t LogTimeOf(const std::optional<AppliedRecord>& last_applied, absl::Time now) {
  const bool is_known = last_applied && last_applied->log_time_ms >= 0;
  return is_known ? last_applied->log_time_ms : absl::ToUnixMillis(now);
}

TrackedPartition AdoptStaged(SequenceTracker& sequences, std::int64_t position,
                             std::vector<LossEvent>& losses, std::uint64_t& unstamped) {
  sequences.Adopt(losses);
  unstamped += sequences.TakeUnstamped();
  return {.is_waiting = sequences.has_waiting() || sequences.has_judgeable(position),
          .missing = sequences.missing(),
          .has_dropped = sequences.has_dropped(),
          .has_side_room = sequences.has_side_room()};
}

void AdoptUnkept(BatchOrder& order, absl::Time now) {
  std::vector<OwnedNote> none;
  for (WorkPartition& partition : order.partitions) {
    if (partition.sequences == nullptr || partition.items.empty()) continue;
    ReadNumbers(partition);
    const std::int64_t log_time_ms =
        std::max(partition.tracked.log_time_ms, LogTimeOf(partition, absl::ToUnixMillis(now)));
    std::int64_t position = partition.lock.expected.position;
    for (const WorkItem& item : partition.items) {
      if (item.verdict == Verdict::kUnsettled) break;
      position = item.delivery.message().offset() + 1;
    }
    const absl::Status staged =
        partition.sequences->Stage(nullptr,
                                   {.position_before = partition.lock.expected.position,
                                    .position_after = position,
                                    .log_time_ms = log_time_ms,
                                    .is_gap_lost = partition.is_gap_lost,
                                    .is_rowless = true},
                                   none);
    if (!staged.ok()) continue;  // only notes can fail
    partition.tracked = AdoptStaged(*partition.sequences, position, order.losses, order.unstamped);
    partition.tracked.log_time_ms = log_time_ms;
  }
}

void JudgeLosses(TransactionalStore* store, LossOrder& order) {
  for (LossOrder::Item& item : order.items) {
    if (item.is_read_anew) item.sequences->ForgetDropped();
    const auto left = std::find_if(
        item.side_records.begin(), item.side_records.end(), [&](const SideRecord& record) {
          return !item.sequences->Hold(record, item.lock.expected.position);
        });
    item.side_records.erase(item.side_records.begin(), left);
    // What is not with the tracker yet may say that a number was given up. What never will be is
    // not waited for: rather a false alarm than none.
    const bool is_reread = item.sequences->has_dropped() && item.sequences->may_have_side_room();
    if (is_reread || !item.side_records.empty()) {
      item.seen_until_ms = std::numeric_limits<std::int64_t>::min();
    }
  }
  order.end = absl::OkStatus();
  if (store == nullptr) {
    JudgeUnkept(order);
    return;
  }
  std::vector<PositionLock> locks;
  for (const LossOrder::Item& item : order.items) locks.push_back(item.lock);
  absl::StatusOr<BeginResult> begun = store->Begin(locks);
  if (!begun.ok()) {
    order.end = begun.status();
    return;
  }
  if (begun->transaction == nullptr) {
    // The others are looked at again soon.
    order.mismatches = std::move(begun->mismatches);
    order.end = absl::AbortedError("a row is not as it was expected");
    return;
  }
  order.end = KeepJudgement(*begun->transaction, order);
  // What may have been committed is told of: better twice than not at all. The row is read anew.
  const bool is_unknown = order.end.code() == absl::StatusCode::kUnknown;
  if (!order.end.ok() && !is_unknown) return;
  for (LossOrder::Item& item : order.items) Adopt(order, item);
}

}  // namespace once
