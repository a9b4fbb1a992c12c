// From committed to synced: where the store can, batches are committed without waiting for the
// disk, and synced beside the next one. Whoever is outside hears of a batch only after its sync:
// offsets that the broker keeps stay behind it, and batches with dead letters wait for their own.
#include <algorithm>
#include <memory>
#include <utility>

#include "src/engine.h"
#include "src/store_errors.h"
#include "src/test_hooks.h"

namespace once {

// A commit that was synced has synced all before it.
void Engine::NoteCommitted(Partition& partition, const WorkPartition& work, bool is_unsynced) {
  if (!is_unsynced || ONCE_PLANTED_BUG("unsynced-is-acknowledged")) {
    partition.synced_position.reset();
  } else {
    is_sync_due_ = true;
    if (!partition.synced_position) partition.synced_position = partition.expected.position;
  }
  partition.expected = work.committed;
}

// One at a time, each for all that was committed when it began: batches that are quicker than the
// disk share one. What was committed is synced also where nothing will be acknowledged.
void Engine::SubmitSync() {
  if (!is_sync_due_ || syncer_.is_busy() || is_sync_doubtful_ || !fatal_.ok()) return;
  is_sync_due_ = false;
  SyncOrder sync;
  for (const auto& [name, partition] : partitions_) {
    // Any other row is taken before anything of it is acknowledged, and taking syncs.
    if (!partition.synced_position || partition.phase != PartitionPhase::kActive) continue;
    sync.rows.push_back({.partition = name, .committed = partition.expected});
  }
  auto order = std::make_unique<WorkOrder>();
  order->sync = std::move(sync);
  syncer_.Submit(std::move(order));
}

void Engine::CollectSync() {
  const std::unique_ptr<WorkOrder> order = syncer_.Collect();
  if (order == nullptr) return;
  ApplySync(*order->sync);
  ONCE_KILL_POINT("sync.applied");
}

void Engine::ApplySync(const SyncOrder& order) {
  if (!order.end.ok()) {
    if (!IsTransientTrouble(order.end)) fatal_ = Annotate(order.end, "syncing the store");
    is_sync_due_ = true;
    is_sync_doubtful_ = !ONCE_PLANTED_BUG("failed-sync-forgotten");
    ++sync_failures_;
    PutBack(worker_.TakeBack());
    Log(LogLevel::kWarning, "sync_failed",
        "nothing of it is acknowledged, and the rows are read again: " + order.end.ToString());
    return;
  }
  sync_failures_ = 0;
  for (const SyncOrder::Row& row : order.rows) {
    Partition* partition = Find(row.partition);
    // A row that was taken since has another writer, and is synced with that.
    const bool is_same = partition != nullptr && partition->phase == PartitionPhase::kActive &&
                         partition->expected.writer == row.committed.writer;
    if (!is_same || !partition->synced_position) continue;
    // A later commit may have been synced by itself meanwhile.
    partition->synced_position = std::max(*partition->synced_position, row.committed.position);
    if (row.committed == partition->expected) partition->synced_position.reset();
  }
}

// After a sync that failed nobody knows what a power failure has left, or will leave: to take the
// rows tells, and syncs what is there.
void Engine::RereadUnsynced() {
  if (!is_sync_doubtful_) return;
  is_sync_doubtful_ = false;
  for (auto& [name, partition] : partitions_) {
    if (!partition.synced_position || partition.phase != PartitionPhase::kActive) continue;
    Reread(partition);
    PutOff(partition, sync_failures_, executor_.Now());
  }
}

// As far as the time allows: the broker is told no more than what is synced.
void Engine::FinishSync(absl::Time deadline) {
  constexpr int kRounds = 2;  // the one under way may have begun before the last commit
  for (int round = 0; round < kRounds; ++round) {
    SubmitSync();
    if (!syncer_.WaitUntilDone(deadline)) return;
    CollectSync();
  }
}

}  // namespace once
