// What the source says: messages into bounded buffers, assignments, revocations, lost positions.
#include <algorithm>
#include <memory>
#include <utility>

#include "once/abseil.h"
#include "src/engine.h"
#include "src/position_command.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// A partition that waits longer than this gives back the broker's receive buffers.
constexpr absl::Duration kPinReceiveBufferMax = absl::Milliseconds(100);

}  // namespace

// False when it waited for the worker instead.
bool Engine::PollSource() {
  absl::Time now = executor_.Now();
  if (IsFull() && worker_.is_busy() && now < last_poll_ + options_.times.pause_after) {
    // A quick handler makes room soon; pausing would cost up to a second of fetching.
    if (worker_.WaitUntilDone(last_poll_ + options_.times.pause_after)) return false;
    now = executor_.Now();
  }
  if (IsFull()) {
    PauseAll();
  } else {
    ResumePaused(now);
  }
  PauseWaiting(now);
  const std::size_t room = options_.limits.inflight_messages_max -
                           std::min(buffered_messages_, options_.limits.inflight_messages_max);
  const PollOptions poll{
      .messages_max = std::clamp<std::size_t>(room, 1, options_.limits.batch_messages_max),
      .deadline = PollDeadline(now)};
  absl::StatusOr<Batch> batch = source_.Poll(poll, *this);
  last_poll_ = executor_.Now();
  if (!batch.ok()) {
    if (fatal_.ok()) fatal_ = Annotate(batch.status(), "source " + source_.traits().name);
    return true;
  }
  if (!batch->empty()) Buffer(*std::move(batch));
  return true;
}

absl::Time Engine::PollDeadline(absl::Time now) const {
  absl::Time deadline = now + options_.times.poll_timeout;
  if (worker_.is_busy()) return deadline;  // its end wakes the source
  const bool is_outbox_full = has_rows() && outbox_pending_ >= options_.limits.outbox_rows_max;
  for (const auto& [name, partition] : partitions_) {
    const bool has_work =
        partition.phase == PartitionPhase::kUnread ||
        (partition.phase == PartitionPhase::kActive && !partition.queue.empty() && !is_outbox_full);
    if (has_work) deadline = std::min(deadline, std::max(now, partition.not_before));
  }
  return deadline;
}

void Engine::Buffer(Batch batch) {
  const auto shared = std::make_shared<Batch>(std::move(batch));
  last_buffered_ = nullptr;
  for (Message& message : shared->messages()) {
    const bool is_same = last_buffered_ != nullptr &&
                         last_buffered_->name().partition == message.partition() &&
                         last_buffered_->name().topic == message.topic();
    if (!is_same) last_buffered_ = Find({std::string(message.topic()), message.partition()});
    Partition* partition = last_buffered_;
    // Of an assignment that has ended, or from before the fetch that was asked for. A partition
    // whose row must be read again goes on buffering: what it dropped now, nobody would fetch
    // again. A paused one is fetched again from where its buffer ends.
    const bool is_stale = partition == nullptr || !partition->is_fetching || partition->is_paused ||
                          partition->assignment != message.assignment();
    if (is_stale) continue;
    if (partition->witness && MeetWitness(*partition, message)) continue;
    if (!partition->tracker.Deliver(message.offset())) continue;
    Delivery& delivery = partition->queue.emplace_back(shared, message);
    ++buffered_messages_;
    buffered_bytes_ += delivery.bytes();
  }
}

bool Engine::IsFull() const {
  return buffered_messages_ >= options_.limits.inflight_messages_max ||
         buffered_bytes_ >= options_.limits.inflight_bytes_max;
}

void Engine::PauseAll() {
  std::vector<TopicPartition> names;
  for (auto& [name, partition] : partitions_) {
    if (!partition.is_fetching || partition.is_paused) continue;
    partition.is_paused = true;
    names.push_back(name);
  }
  if (!names.empty()) (void)source_.Pause(names);
}

// A partition that waits for a retry keeps its share of the buffer and no more: what it holds
// beyond that is dropped, to be fetched again, so that the others always have room.
void Engine::PauseWaiting(absl::Time now) {
  std::vector<TopicPartition> names;
  for (auto& [name, partition] : partitions_) {
    const bool is_waiting = partition.not_before > now && partition.is_fetching;
    if (!is_waiting || partition.queue.size() == partition.trimmed_messages) continue;
    const bool is_cut = Trim(partition);
    const bool is_long = partition.not_before > now + kPinReceiveBufferMax;
    for (Delivery& delivery : partition.queue) {
      if (is_long) delivery.Own();
    }
    // Paused at once: what comes after a dropped message must not be taken for the next one.
    if (!is_cut || partition.is_paused) continue;
    partition.is_paused = true;
    names.push_back(name);
  }
  if (!names.empty()) (void)source_.Pause(names);
}

// Cuts the queue to a waiting partition's share; true when the share is used up.
bool Engine::Trim(Partition& partition) {
  const std::size_t partitions = 2 * std::max<std::size_t>(partitions_.size(), 1);
  const std::size_t messages_share =
      std::max<std::size_t>(options_.limits.inflight_messages_max / partitions, 1);
  const std::size_t bytes_share = options_.limits.inflight_bytes_max / partitions;
  std::size_t bytes = 0;
  for (const Delivery& delivery : partition.queue) bytes += delivery.bytes();
  bool is_cut = false;
  while (partition.queue.size() > 1 &&
         (partition.queue.size() > messages_share || bytes > bytes_share)) {
    Delivery& last = partition.queue.back();
    // What is owed to the claim store would be forgotten, and its handler run again.
    if (last.held() != nullptr && last.held()->stage != ClaimStage::kAsked) break;
    bytes -= last.bytes();
    buffered_bytes_ -= last.bytes();
    --buffered_messages_;
    partition.tracker.Truncate(last.message().offset());
    partition.queue.pop_back();
    is_cut = true;
  }
  partition.trimmed_messages = partition.queue.size();
  partition.trimmed_bytes = bytes;
  return is_cut;
}

void Engine::ResumePaused(absl::Time now) {
  // Waiting partitions keep at most half of the buffer between them; the rest is the others'.
  std::size_t waiting_messages = 0;
  std::size_t waiting_bytes = 0;
  for (const auto& [name, partition] : partitions_) {
    const bool is_waiting = partition.not_before > now && partition.is_fetching;
    if (!is_waiting) continue;
    waiting_messages += partition.queue.size();
    waiting_bytes += partition.trimmed_bytes;
  }
  const bool is_roomy =
      buffered_messages_ - waiting_messages <= options_.limits.inflight_messages_max / 4 &&
      buffered_bytes_ - waiting_bytes <= options_.limits.inflight_bytes_max / 4;
  if (!is_roomy) return;
  std::vector<PartitionOffset> positions;
  for (auto& [name, partition] : partitions_) {
    const bool is_waiting = partition.not_before > now && !partition.queue.empty();
    if (!partition.is_paused || !partition.is_fetching || is_waiting) continue;
    partition.is_paused = false;
    positions.push_back({.partition = name, .offset = partition.fetch_next()});
  }
  if (positions.empty()) return;
  if (const absl::Status started = source_.Start(positions); !started.ok()) {
    Log(LogLevel::kWarning, "resume_failed", started.ToString());
    for (const PartitionOffset& position : positions) {
      if (Partition* partition = Find(position.partition)) partition->is_paused = true;
    }
  }
}

void Engine::StopPartition(Partition& partition, absl::Status reason,
                           std::vector<LogField> fields) {
  if (partition.phase == PartitionPhase::kStopped) return;
  partition.phase = PartitionPhase::kStopped;
  partition.stop_reason = reason;
  Forget(partition);
  if (!partition.is_paused) (void)source_.Pause(std::span(&partition.name(), 1));
  partition.is_paused = true;
  Log(LogLevel::kError, "partition_stopped",
      "stopped at position " + std::to_string(partition.expected.position) +
          "; nothing beyond it is acknowledged; " + reason.ToString(),
      &partition.name(), std::move(fields));
  const std::lock_guard lock(mutex_);
  stopped_.push_back({.partition = partition.name(),
                      .position = partition.expected.position,
                      .reason = std::move(reason)});
}

// A partition that comes or goes is not stopped by this consumer (any more).
void Engine::Unlist(const TopicPartition& name) {
  const std::lock_guard lock(mutex_);
  std::erase_if(stopped_,
                [&](const StoppedPartition& stopped) { return stopped.partition == name; });
}

// Drops what is buffered; what the worker holds is dropped when it comes back. Whoever goes on with
// the partition must start the fetch anew.
void Engine::Forget(Partition& partition) {
  partition.is_fetching = false;
  buffered_messages_ -= partition.queue.size();
  for (const Delivery& delivery : partition.queue) buffered_bytes_ -= delivery.bytes();
  partition.queue.clear();
}

void Engine::OnAssigned(const Assignment& assignment) {
  last_buffered_ = nullptr;
  PutBack(worker_.TakeBack());  // of what is assigned anew nothing of before begins
  const SourceTraits& traits = source_.traits();
  is_marks_due_ = true;
  for (const TopicPartition& name : assignment.partitions) {
    if (Partition* former = Find(name)) Forget(*former);
    Unlist(name);
    Partition& partition = partitions_[name];
    partition = Partition{};
    partition.key = {.cluster = traits.cluster, .group = traits.group, .partition = name};
    partition.scope =
        options_.scope ? NamedScope(*options_.scope) : GroupTopicScope(traits.group, name.topic);
    partition.assignment = assignment.number;
    Log(LogLevel::kInfo, "assigned", "assignment " + std::to_string(assignment.number), &name);
  }
}

void Engine::OnRevoked(std::span<const TopicPartition> partitions, Revocation kind) {
  const bool is_lost = kind == Revocation::kLost;
  const absl::Time deadline =
      is_lost ? absl::InfinitePast() : executor_.Now() + options_.times.revoke_budget;
  DrainWorker(partitions, deadline);
  if (!is_lost) {
    ONCE_KILL_POINT("revoke.drained");
    LeaveClean(partitions, deadline);
    ONCE_KILL_POINT("revoke.left_clean");
    FinishSync(deadline);
    std::vector<PartitionOffset> positions;
    for (const TopicPartition& name : partitions) {
      const Partition* partition = Find(name);
      if (partition == nullptr || partition->phase != PartitionPhase::kActive) continue;
      positions.push_back(
          {.partition = name,
           .offset = ONCE_PLANTED_BUG("revoked-fetch-is-committed") ? partition->fetch_next()
                                                                    : partition->durable_position(),
           .metadata = MarkOf(has_rows() ? partition->began : partition->expected.position)});
    }
    const absl::Status committed =
        positions.empty() ? absl::OkStatus() : source_.Commit(positions, CommitMode::kVerified);
    ONCE_KILL_POINT("revoke.committed");
    if (!committed.ok()) Log(LogLevel::kDebug, "hint_failed", committed.ToString());
  }
  last_buffered_ = nullptr;
  for (const TopicPartition& name : partitions) {
    Partition* partition = Find(name);
    if (partition == nullptr) continue;
    Forget(*partition);
    partitions_.erase(name);
    Unlist(name);
    Log(LogLevel::kInfo, is_lost ? "lost" : "revoked",
        is_lost ? "somebody else may own it already; nothing is committed" : "given back", &name);
  }
}

// Lets the worker finish the message at hand and commit; past the deadline its transaction is
// doomed and will roll back when the handler returns.
void Engine::DrainWorker(std::span<const TopicPartition> partitions, absl::Time deadline) {
  const auto is_touched_by = [&](const WorkOrder& order) {
    return order.batch &&
           std::any_of(order.batch->partitions.begin(), order.batch->partitions.end(),
                       [&](const WorkPartition& work) {
                         return std::find(partitions.begin(), partitions.end(),
                                          work.lock.key.partition) != partitions.end();
                       });
  };
  const bool is_lost = deadline == absl::InfinitePast();
  bool is_touched = false;
  if (worker_.has_next()) {
    // What is given back is left clean, for which the worker must be free.
    is_touched = !is_lost && is_touched_by(*worker_.current());
    PutBack(worker_.TakeBack());
    Collect();  // what has not been taken back has begun: the one before it is over
  }
  WorkOrder* order = worker_.current();
  if (order == nullptr || order->doomed) return;
  if (!order->batch) {
    // A reading of rows is quick; its result, of partitions that are about to go, is looked at
    // later.
    worker_.WaitUntilDone(deadline);
    return;
  }
  const bool is_in_hand = is_touched_by(*order);
  if (!is_touched && !is_in_hand) return;
  if (is_lost) {
    order->doomed = true;  // nothing more of lost partitions may be committed
    order->cancellation.CancelAll();
    return;
  }
  order->finish_early = true;
  if (worker_.WaitUntilDone(deadline)) {
    Collect();
    return;
  }
  if (!is_in_hand) return;
  order->doomed = true;
  order->cancellation.CancelAll();
  Log(LogLevel::kWarning, "doomed",
      "a handler outlived the revoke budget; what it did is not acknowledged by this consumer");
}

void Engine::OnPartitionError(const TopicPartition& name, const absl::Status& error) {
  Partition* partition = Find(name);
  if (partition == nullptr || partition->phase == PartitionPhase::kStopped) return;
  PutBack(worker_.TakeBack());  // nothing more of it begins
  if (error.code() != absl::StatusCode::kOutOfRange) {
    std::string way_out = "; to go on once the cause is gone, restart";
    if (has_rows()) {
      way_out += ", or " + PositionCommand(partition->key, "set",
                                           std::to_string(partition->expected.position));
    }
    StopPartition(*partition,
                  absl::Status(error.code(), std::string(ToStd(error.message())) + way_out));
    return;
  }
  Log(LogLevel::kWarning, "out_of_range", error.ToString(), &name);
  // Look at the log's bounds again, then decide as at assignment.
  Forget(*partition);
  Reread(*partition);
  partition->needs_description = true;
  if (partition->restarts++ > 0) {
    PutOff(*partition, partition->restarts, executor_.Now());
  }
}

}  // namespace once
