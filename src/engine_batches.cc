// Batches: choosing messages for the next transaction, and applying how it ended.
#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "once/abseil.h"
#include "src/batch_succession.h"
#include "src/engine.h"
#include "src/store_errors.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// A planted bug: of a batch that was rolled back because of some of its rows, the messages of the
// other partitions are taken for done.
void SettleSpared(const BatchOrder& order, std::size_t index, WorkPartition& work) {
  const bool is_fenced = std::any_of(
      order.mismatches.begin(), order.mismatches.end(),
      [index](const BeginResult::Mismatch& mismatch) { return mismatch.lock == index; });
  if (order.end != BatchEnd::kMismatch || is_fenced) return;
  work.is_committed = true;
  for (WorkItem& item : work.items) item.verdict = Verdict::kProcessed;
}

}  // namespace

// A process that dies in a batch of some of them leaves these to suspect: a few deaths lead from
// thousands of messages to the one, and without another death a hundred batches are over soon. By
// messages in hand: offsets may have gaps of any size.
std::size_t Partition::suspects_at_once() const {
  constexpr std::size_t kParts = 16;
  const auto end = std::partition_point(
      queue.begin(), queue.end(),
      [this](const Delivery& delivery) { return delivery.message().offset() < suspect_until; });
  const auto suspects = static_cast<std::size_t>(end - queue.begin());
  return std::max<std::size_t>((suspects + kParts - 1) / kParts, 1);
}

std::vector<Partition*> Engine::ReadyPartitions(absl::Time now) {
  std::vector<Partition*> ready;
  for (auto& [name, partition] : partitions_) {
    const bool is_ready = partition.phase == PartitionPhase::kActive && !partition.queue.empty() &&
                          partition.not_before <= now;
    if (is_ready) ready.push_back(&partition);
  }
  return ready;
}

// A row waits to be read. The worker must be left free for it: batches follow one another so
// closely that a partition would otherwise wait until all others have nothing to do.
bool Engine::IsRowDue(absl::Time now) const {
  return std::any_of(partitions_.begin(), partitions_.end(), [now](const auto& entry) {
    return entry.second.phase == PartitionPhase::kUnread && entry.second.not_before <= now;
  });
}

// Something else than a batch is to be done next.
bool Engine::IsWorkerNeeded(absl::Time now) const {
  return IsRowDue(now) ||
         std::any_of(partitions_.begin(), partitions_.end(), [&](const auto& entry) {
           return IsAuditDue(entry.second, now) || IsLossDue(entry.second, now);
         });
}

// How many messages the next batch may have.
std::size_t Engine::BatchRoom(std::size_t letters_to_come) const {
  if (!has_rows()) return std::min(options_.limits.batch_messages_max, claim_room_);
  // Every message of a batch may need a dead letter: the outbox must have room for all of them.
  const std::size_t pending = outbox_pending_ + letters_to_come;
  const std::size_t outbox_room =
      options_.limits.outbox_rows_max - std::min(pending, options_.limits.outbox_rows_max);
  return std::min(options_.limits.batch_messages_max, outbox_room);
}

void Engine::SubmitBatch() {
  if (worker_.is_busy() || !fatal_.ok() || is_sync_doubtful_) return;
  if (IsRowDue(executor_.Now())) return;
  const std::size_t room = BatchRoom(0);
  std::vector<Partition*> ready = ReadyPartitions(executor_.Now());
  if (ready.empty() || room == 0) return;
  auto order = std::make_unique<WorkOrder>();
  order->Set(ChooseBatch(std::move(ready), room));
  worker_.Submit(std::move(order));
}

// From every partition its share. REQUIRES: there is room, and a partition.
BatchOrder Engine::ChooseBatch(std::vector<Partition*> ready, std::size_t room) {
  const auto first = static_cast<std::ptrdiff_t>(rotation_++ % ready.size());
  std::rotate(ready.begin(), ready.begin() + first, ready.end());
  BatchOrder batch;
  // A process that dies in a message that runs singly dies of that one, and no other is charged.
  batch.is_single = ready.front()->is_single();
  if (batch.is_single) {
    ready.resize(1);
    room = 1;
  } else {
    std::erase_if(ready, [](const Partition* partition) { return partition->is_single(); });
  }
  for (std::size_t i = 0; i < ready.size() && room > 0; ++i) {
    const std::size_t left = ready.size() - i;
    std::size_t count = std::min(ready[i]->queue.size(), (room + left - 1) / left);
    if (ready[i]->is_suspect()) count = std::min(count, ready[i]->suspects_at_once());
    MoveToBatch(*ready[i], count, batch);
    room -= count;
  }
  return batch;
}

// While the worker has a batch, the next one is made ready: the worker goes on with it by itself.
// Only one that does not become larger by waiting: a full one, or as large a one as is running
// where the buffer is full. And only while batches are settled whole: no other can be followed.
void Engine::PrepareBatch() {
  const absl::Time now = executor_.Now();
  if (!has_rows() || !worker_.can_follow() || !is_flowing_) return;
  WorkOrder& running = *worker_.current();
  const bool is_batch = running.batch && !running.batch->is_single;
  if (!is_batch || !fatal_.ok() || is_sync_doubtful_ || IsWorkerNeeded(now)) return;
  std::vector<Partition*> ready = ReadyPartitions(now);
  std::size_t size = 0;
  for (const Partition* partition : ready) {
    if (partition->is_suspect()) return;
    size += partition->queue.size();
  }
  const std::size_t full = options_.limits.batch_messages_max;
  absl::flat_hash_map<const Partition*, std::size_t> places;
  std::size_t letters_to_come = 0;
  for (std::size_t i = 0; i < running.batch->partitions.size(); ++i) {
    const WorkPartition& work = running.batch->partitions[i];
    places[FindIfCurrent(work.lock.key.partition, work.assignment)] = i;
    letters_to_come += work.items.size();
  }
  // Every message that runs may need a dead letter.
  const std::size_t room = std::min(full, BatchRoom(letters_to_come));
  const bool is_large = size >= full || (IsFull() && size >= letters_to_come);
  if (!is_large || room < (std::min(size, full) + 1) / 2) return;
  auto order = std::make_unique<WorkOrder>();
  order->Set(ChooseBatch(std::move(ready), room));
  for (WorkPartition& work : order->batch->partitions) {
    const auto place = places.find(Find(work.lock.key.partition));
    if (place == places.end()) continue;
    work.place_before = place->second;
    running.foreseen_reaches[place->second] = work.items.back().delivery.message().offset() + 1;
  }
  order->batch->is_prepared = true;
  worker_.Follow(std::move(order));
  ONCE_KILL_POINT("batch.prepared");
}

// What was made ready and will not run goes to where it came from; what precedes it has to follow.
void Engine::PutBack(std::unique_ptr<WorkOrder> order) {
  if (order == nullptr) return;
  for (WorkPartition& work : order->batch->partitions) {
    Partition* partition = FindIfCurrent(work.lock.key.partition, work.assignment);
    const bool is_active = partition != nullptr && partition->phase == PartitionPhase::kActive;
    if (is_active) {
      Return(*partition, work);
    } else {
      Drop(work);
    }
  }
}

void Engine::MoveToBatch(Partition& partition, std::size_t count, BatchOrder& batch) {
  WorkPartition& work = batch.partitions.emplace_back();
  work.lock = {.key = partition.key, .expected = partition.expected};
  work.scope = partition.scope;
  work.assignment = partition.assignment;
  work.last_applied = partition.last_applied;
  work.reach = partition.reach;
  work.is_narrowed = partition.is_suspect() && !partition.is_single();
  work.attempt = partition.attempt;
  work.sequences = partition.sequences;
  work.is_gap_lost = partition.is_gap_lost;
  work.numbers = partition.numbers;
  work.is_suspect = partition.is_suspect();
  work.tracked = partition.tracked;
  work.items.reserve(count);
  for (std::size_t n = 0; n < count; ++n) {
    work.items.push_back({.delivery = std::move(partition.queue.front())});
    partition.queue.pop_front();
  }
  // The commit vouches for the next batch too, as far as it is foreseen: with traffic, raising the
  // reach costs nothing; without, the row says that nothing runs.
  work.next_reach = partition.is_single() ? partition.suspect_until : 0;
  if (!partition.queue.empty()) {
    const Delivery& last = partition.queue[std::min(count, partition.queue.size()) - 1];
    work.next_reach = std::max(work.next_reach, last.message().offset() + 1);
  }
}

void Engine::Collect() {
  while (std::unique_ptr<WorkOrder> order = worker_.Collect()) {
    std::unique_ptr<WorkOrder> next = worker_.TakeBack();
    if (!ONCE_PLANTED_BUG("prepared-overtakes")) PutBack(std::move(next));
    Apply(*order);
    PutBack(std::move(next));  // nothing, but for the planted bug
    spent_ = std::move(order);
  }
}

void Engine::Apply(WorkOrder& order) {
  if (order.batch && has_rows()) {
    ApplyBatch(*order.batch);
    ONCE_KILL_POINT("transaction.applied");
  }
  if (order.batch && !has_rows()) {
    ApplyClaims(*order.batch);
    ONCE_KILL_POINT("claim.applied");
  }
  if (order.take) ApplyTake(*order.take);
  if (order.audit) ApplyAudit(*order.audit);
  if (order.rows) ApplyRows(*order.rows);
  if (order.loss) ApplyLoss(*order.loss);
}

void Engine::ApplyBatch(BatchOrder& order) {
  const absl::Time now = executor_.Now();
  const bool is_committed = order.end == BatchEnd::kCommitted;
  is_flowing_ = IsSettledWhole(order);
  ConsumerStats counts;
  if (is_committed || order.end == BatchEnd::kUnknown) CountVerdicts(order, counts);
  if (is_committed) {
    Publish(counts);
    outbox_pending_ += order.letters;
    if (order.letters > 0) relay_wake_->Set();
    TellLosses(order.losses, order.unstamped);
  }
  Publish({.rollbacks = order.rollbacks});
  if (order.end == BatchEnd::kStoreTrouble && !IsTransientTrouble(order.error)) {
    fatal_ = Annotate(order.error, "store");
  }
  const auto unknown_counts = std::make_shared<ConsumerStats>(counts);
  for (std::size_t i = 0; i < order.partitions.size(); ++i) {
    WorkPartition& work = order.partitions[i];
    Partition* partition = FindIfCurrent(work.lock.key.partition, work.assignment);
    // Until a verdict is durable, the recorded attempt is the one that is still to be decided.
    if (partition != nullptr) partition->attempt = is_committed ? std::nullopt : work.attempt;
    if (partition == nullptr || partition->phase != PartitionPhase::kActive) {
      // Revoked or stopped meanwhile: what is not committed is somebody else's to handle.
      Drop(work);
      continue;
    }
    if (ONCE_PLANTED_BUG("only-fenced-replayed")) SettleSpared(order, i, work);
    Return(*partition, work);
    // The commit before the invocations may have raised the revision, whatever came after it.
    partition->expected = work.lock.expected;
    partition->reach = work.reach;
    switch (order.end) {
      case BatchEnd::kCommitted:
        NoteCommitted(*partition, work, order.is_unsynced);
        partition->last_applied = work.last_applied;
        partition->is_gap_lost = false;
        NoteTracked(*partition, work.tracked);
        partition->last_checked = now;
        partition->trouble = 0;
        partition->restarts = 0;
        [[fallthrough]];
      case BatchEnd::kNothing:
        partition->not_before = work.not_before;
        partition->trimmed_messages = 0;
        if (!work.stop.ok()) StopPartition(*partition, work.stop);
        break;
      case BatchEnd::kMarkUnknown:
        Reread(*partition);
        break;
      case BatchEnd::kUnknown:
        if (ONCE_PLANTED_BUG("unknown-not-reread")) break;
        Reread(*partition);
        partition->unknown_commit = work.committed;
        partition->unknown_counts = unknown_counts;
        break;
      case BatchEnd::kStoreTrouble:
        ApplyTrouble(*partition, order.error, now);
        break;
      case BatchEnd::kMismatch:
      case BatchEnd::kDoomed:
      case BatchEnd::kPending:
        break;
    }
  }
  for (const BeginResult::Mismatch& mismatch : order.mismatches) {
    const WorkPartition& work = order.partitions[mismatch.lock];
    Partition* partition = FindIfCurrent(work.lock.key.partition, work.assignment);
    const bool is_active = partition != nullptr && partition->phase == PartitionPhase::kActive;
    if (is_active) HandleMismatch(*partition, mismatch.actual);
  }
}

// What was settled is settled, also when the store failed on the way; the rest is tried again.
void Engine::ApplyClaims(BatchOrder& order) {
  const absl::Time now = executor_.Now();
  ConsumerStats counts = order.claims;
  counts.retried = order.retries;
  if (order.partitions.front().is_committed) CountVerdicts(order, counts);
  Publish(counts);
  const bool is_in_trouble = order.end == BatchEnd::kStoreTrouble;
  if (is_in_trouble && !IsTransientTrouble(order.error)) fatal_ = Annotate(order.error, "store");
  TellLosses(order.losses, order.unstamped);
  AdaptClaimRoom(order);
  for (WorkPartition& work : order.partitions) {
    Partition* partition = FindIfCurrent(work.lock.key.partition, work.assignment);
    if (partition == nullptr || partition->phase != PartitionPhase::kActive) {
      // Revoked or stopped meanwhile: whoever comes next meets our claims, and their outcomes.
      Drop(work);
      continue;
    }
    Return(*partition, work);
    partition->expected.position = partition->tracker.watermark();
    partition->is_gap_lost = false;
    NoteTracked(*partition, work.tracked);
    partition->trimmed_messages = 0;
    if (is_in_trouble) {
      ApplyTrouble(*partition, order.error, now);
      partition->not_before = std::max(partition->not_before, work.not_before);
      continue;
    }
    partition->trouble = 0;
    partition->restarts = 0;
    partition->not_before = work.not_before;
    if (!work.stop.ok()) StopPartition(*partition, work.stop);
  }
}

// A batch whose time ran out claims less the next time: what has no turn is claimed in vain.
void Engine::AdaptClaimRoom(const BatchOrder& order) {
  if (!order.is_cut_short) {
    claim_room_ = std::min(2 * claim_room_, options_.limits.batch_messages_max);
    return;
  }
  std::size_t settled = 0;
  for (const WorkPartition& work : order.partitions) {
    settled += static_cast<std::size_t>(
        std::count_if(work.items.begin(), work.items.end(),
                      [](const WorkItem& item) { return item.verdict != Verdict::kUnsettled; }));
  }
  claim_room_ = std::max<std::size_t>(settled, 1);
}

void Engine::CountVerdicts(const BatchOrder& order, ConsumerStats& delta) const {
  delta.commits = 1;
  delta.retried = order.retries;
  delta.by_sequence = order.by_sequence;
  for (const WorkPartition& work : order.partitions) {
    for (const WorkItem& item : work.items) {
      delta.processed += item.verdict == Verdict::kProcessed ? 1 : 0;
      delta.duplicates += item.verdict == Verdict::kDuplicate ? 1 : 0;
      delta.discarded += item.verdict == Verdict::kDiscarded ? 1 : 0;
      delta.conflicts += item.verdict == Verdict::kConflict ? 1 : 0;
      const bool is_letter =
          item.verdict == Verdict::kDeadLettered || item.verdict == Verdict::kConflict;
      delta.dead_lettered += is_letter ? 1 : 0;
    }
  }
}

// Settles what a known commit has settled and puts the rest back where it came from.
void Engine::Return(Partition& partition, WorkPartition& work) {
  const auto is_settled = [&](const WorkItem& item) {
    return work.is_committed && item.verdict != Verdict::kUnsettled;
  };
  std::size_t settled = 0;
  for (const WorkItem& item : work.items) {
    if (!is_settled(item)) continue;
    partition.tracker.Settle(item.delivery.message().offset());
    buffered_bytes_ -= item.delivery.bytes();
    ++settled;
  }
  buffered_messages_ -= settled;
  if (settled == work.items.size()) return;
  std::for_each(work.items.rbegin(), work.items.rend(), [&](WorkItem& item) {
    if (!is_settled(item)) partition.queue.push_front(std::move(item.delivery));
  });
}

void Engine::Drop(WorkPartition& work) {
  buffered_messages_ -= work.items.size();
  for (const WorkItem& item : work.items) buffered_bytes_ -= item.delivery.bytes();
  work.items.clear();
}

// Nothing is taken from the partition until the backoff after so many failures in a row is over.
void Engine::PutOff(Partition& partition, int failures, absl::Time now) const {
  constexpr double kMiddleOfJitter = 0.5;
  partition.not_before =
      now + BackoffDelay(options_.times.store_backoff, failures, kMiddleOfJitter);
}

void Engine::ApplyTrouble(Partition& partition, const absl::Status& error, absl::Time now) {
  PutOff(partition, ++partition.trouble, now);
  Log(LogLevel::kWarning, "store_trouble", "rolled back, will be replayed: " + error.ToString(),
      &partition.name());
}

}  // namespace once
