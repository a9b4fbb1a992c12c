// Position rows: taking them over, noticing that somebody else or a rollback changed them, and
// setting the buffers to what they say.
#include <algorithm>
#include <memory>
#include <utility>

#include "once/abseil.h"
#include "src/engine.h"
#include "src/store_errors.h"

namespace once {
namespace {

// How often a position beyond the log's end is looked at before it is believed.
constexpr int kBeyondEndChecks = 4;

}  // namespace

// Runs after a poll of the same turn, so that rebalance events come before any reading of a row: a
// zombie learns that it is one instead of stealing the row.
void Engine::ServeUnread() {
  if (worker_.is_busy()) return;
  const absl::Time now = executor_.Now();
  DescribeUnread(now);
  if (!has_rows()) return;
  VerifyUnread(now);
  TakeOrder take;
  for (auto& [name, partition] : partitions_) {
    const bool is_ready = partition.phase == PartitionPhase::kUnread &&
                          partition.not_before <= now && !partition.needs_verification &&
                          !partition.needs_description;
    if (!is_ready) continue;
    partition.phase = PartitionPhase::kReading;
    take.requests.push_back(
        {.key = partition.key, .writer = options_.random->Next(), .start = partition.start});
    take.assignments.push_back(partition.assignment);
  }
  if (take.requests.empty()) return;
  auto order = std::make_unique<WorkOrder>();
  order->take = std::move(take);
  worker_.Submit(std::move(order));
}

// A row that this consumer had taken is read again, because somebody else or a rollback changed it,
// or because a commit's answer was lost. Only a commit that carries our generation proves that the
// partition is still ours to take. A row that vanished is to be made anew further back: that offset
// is committed first, so that whoever comes next without a row begins there too.
void Engine::VerifyUnread(absl::Time now) {
  std::vector<PartitionOffset> positions;
  for (const auto& [name, partition] : partitions_) {
    const bool is_due = partition.phase == PartitionPhase::kUnread &&
                        partition.needs_verification && !partition.needs_description &&
                        partition.not_before <= now;
    if (!is_due) continue;
    positions.push_back(
        {.partition = name,
         .offset = partition.is_row_gone ? partition.start : partition.tracker.watermark()});
  }
  if (positions.empty()) return;
  const absl::Status verified = source_.Commit(positions, CommitMode::kVerified);
  for (const PartitionOffset& position : positions) {
    Partition* partition = Find(position.partition);
    if (partition == nullptr) continue;
    if (verified.ok()) {
      partition->needs_verification = false;
      continue;
    }
    PutOff(*partition, ++partition->trouble, now);
    Log(LogLevel::kWarning, "not_verified",
        "the row must be taken again, and the broker does not confirm that this consumer is still "
        "its owner: " +
            verified.ToString(),
        &position.partition);
  }
}

// From now on the row is not trusted: it will be taken again.
void Engine::Reread(Partition& partition) {
  partition.phase = PartitionPhase::kUnread;
  partition.needs_verification = partition.was_taken && has_rows();
  partition.needs_description = partition.needs_description || !has_rows();
}

void Engine::DescribeUnread(absl::Time now) {
  std::vector<TopicPartition> names;
  for (const auto& [name, partition] : partitions_) {
    const bool is_due = partition.phase == PartitionPhase::kUnread && partition.not_before <= now;
    if (is_due && partition.needs_description) names.push_back(name);
  }
  if (names.empty()) return;
  const absl::StatusOr<std::vector<PartitionBounds>> bounds = source_.Describe(names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    Partition* partition = Find(names[i]);
    if (partition == nullptr) continue;
    const absl::Status described = bounds.ok() ? (*bounds)[i].status : bounds.status();
    if (described.ok()) {
      ApplyBounds(*partition, (*bounds)[i]);
      if (!has_rows()) ActivateWithoutRow(*partition);
      continue;
    }
    PutOff(*partition, ++partition->trouble, now);
    Log(LogLevel::kWarning, "not_described", described.ToString(), &names[i]);
  }
}

void Engine::ApplyBounds(Partition& partition, const PartitionBounds& bounds) {
  partition.needs_description = false;
  partition.bounds = bounds;
  // The cluster's id may have become known only after the assignment.
  partition.key.cluster = source_.traits().cluster;
  if (partition.is_row_lost) {
    partition.start = bounds.first;
    return;
  }
  if (partition.is_created_here) return;  // should the row be lost, it begins where it began
  const bool is_latest = options_.start == StartAt::kLatest;
  partition.start = bounds.committed.value_or(is_latest ? bounds.end : bounds.first);
}

void Engine::ApplyTake(const TakeOrder& order) {
  const absl::Time now = executor_.Now();
  if (!order.result.ok() && !IsTransientTrouble(order.result.status())) {
    fatal_ = Annotate(order.result.status(), "taking position rows");
  }
  for (std::size_t i = 0; i < order.requests.size(); ++i) {
    Partition* partition = FindIfCurrent(order.requests[i].key.partition, order.assignments[i]);
    if (partition == nullptr || partition->phase != PartitionPhase::kReading) continue;
    if (order.result.ok()) {
      Activate(*partition, (*order.result)[i]);
    } else {
      Reread(*partition);  // with a fresh tag
      ApplyTrouble(*partition, order.result.status(), now);
    }
  }
}

void Engine::Activate(Partition& partition, const TakenPosition& taken) {
  if (partition.unknown_commit && taken.previous == partition.unknown_commit) {
    Log(LogLevel::kInfo, "commit_known", "the commit whose answer was lost did happen",
        &partition.name());
    if (partition.unknown_counts != nullptr) {
      Publish(std::exchange(*partition.unknown_counts, ConsumerStats{}));
    }
  }
  partition.unknown_commit.reset();
  partition.unknown_counts.reset();
  partition.was_taken = true;
  partition.is_row_lost = false;
  partition.is_row_gone = false;
  partition.is_created_here = partition.is_created_here || !taken.previous;
  partition.phase = PartitionPhase::kActive;
  partition.trouble = 0;
  partition.last_checked = executor_.Now();
  const std::int64_t known = std::exchange(partition.expected, taken.current).position;
  if (partition.bounds && !CheckRange(partition, taken.current.position)) return;
  const bool is_aligned = partition.is_fetching && taken.current.position == known;
  if (!is_aligned) Realign(partition, taken.current.position);
  partition.bounds.reset();
}

// The partition of a plain handler: the broker's offset is the authority, or, once something was
// fetched in this assignment, what was settled since.
void Engine::ActivateWithoutRow(Partition& partition) {
  const std::int64_t position =
      partition.was_taken ? partition.tracker.watermark() : partition.start;
  partition.was_taken = true;
  partition.phase = PartitionPhase::kActive;
  partition.trouble = 0;
  partition.expected.position = position;
  if (!CheckRange(partition, position)) return;
  Realign(partition, position);
  partition.bounds.reset();
}

// False when the partition was stopped, or set to the oldest message there is, because the broker
// no longer has what the store's position names.
bool Engine::CheckRange(Partition& partition, std::int64_t position) {
  const PartitionBounds bounds = *partition.bounds;
  if (position >= bounds.first && position <= bounds.end) {
    partition.beyond_end_checks = 0;
    return true;
  }
  // The former owner may have committed after the bounds were asked for, and a new leader may not
  // yet know how far its log is readable: ask again before believing it.
  if (position > bounds.end && ++partition.beyond_end_checks < kBeyondEndChecks) {
    Reread(partition);
    partition.needs_description = true;
    PutOff(partition, partition.beyond_end_checks, executor_.Now());
    return false;
  }
  Publish({.gaps = 1});
  const std::string finding =
      position < bounds.first
          ? "the broker has deleted offsets " + std::to_string(position) + " to " +
                std::to_string(bounds.first - 1) + ", which were never handled"
          : "the stored position " + std::to_string(position) + " lies beyond the log's end " +
                std::to_string(bounds.end) + ": the topic was recreated or the log truncated";
  if (options_.out_of_range == OutOfRange::kStop) {
    StopPartition(
        partition,
        absl::OutOfRangeError(finding + "; to go on with the oldest message there is, set "
                                        "ConsumerOptions::out_of_range = OutOfRange::kEarliest"));
    return false;
  }
  Log(LogLevel::kError, "gap", finding + "; going on at " + std::to_string(bounds.first),
      &partition.name());
  partition.bounds.reset();
  Realign(partition, bounds.first);
  return false;
}

// Sets the buffer to `position`: trims what is settled, or fetches anew when the position lies
// outside of what is buffered.
void Engine::Realign(Partition& partition, std::int64_t position) {
  const std::int64_t oldest = partition.queue.empty() ? partition.tracker.next()
                                                      : partition.queue.front().message().offset();
  const bool is_buffered =
      partition.is_fetching && position >= oldest && position <= partition.tracker.next();
  if (is_buffered) {
    while (!partition.queue.empty() && partition.queue.front().message().offset() < position) {
      partition.tracker.Settle(partition.queue.front().message().offset());
      --buffered_messages_;
      buffered_bytes_ -= partition.queue.front().bytes();
      partition.queue.pop_front();
    }
    return;
  }
  if (partition.is_fetching) {
    Log(LogLevel::kWarning, "replay",
        "the store says " + std::to_string(position) + "; fetching again from there",
        &partition.name());
  }
  Forget(partition);
  partition.tracker = OffsetTracker(position);
  partition.not_before = absl::InfinitePast();
  const PartitionOffset start{.partition = partition.name(), .offset = position};
  if (const absl::Status started = source_.Start(std::span(&start, 1)); !started.ok()) {
    Log(LogLevel::kWarning, "start_failed", started.ToString(), &partition.name());
    Reread(partition);
    partition.trouble = partition.restarts++;
    ApplyTrouble(partition, started, executor_.Now());
    return;
  }
  partition.is_fetching = true;
  partition.is_paused = false;
  partition.committed_hint = -1;
}

void Engine::SubmitAudit() {
  const absl::Duration interval = options_.times.idle_audit;
  if (worker_.is_busy() || interval <= absl::ZeroDuration() || !has_rows()) return;
  const absl::Time now = executor_.Now();
  AuditOrder audit;
  for (auto& [name, partition] : partitions_) {
    const bool is_due =
        partition.phase == PartitionPhase::kActive && now - partition.last_checked >= interval;
    if (!is_due) continue;
    partition.last_checked = now;
    audit.locks.push_back({.key = partition.key, .expected = partition.expected});
    audit.assignments.push_back(partition.assignment);
  }
  if (audit.locks.empty()) return;
  auto order = std::make_unique<WorkOrder>();
  order->audit = std::move(audit);
  worker_.Submit(std::move(order));
}

void Engine::ApplyAudit(const AuditOrder& order) {
  if (!order.result.ok()) {
    Log(LogLevel::kWarning, "audit_failed", order.result.status().ToString());
    if (!IsTransientTrouble(order.result.status())) {
      fatal_ = Annotate(order.result.status(), "idle audit");
    }
    return;
  }
  for (std::size_t i = 0; i < order.locks.size(); ++i) {
    const PositionLock& lock = order.locks[i];
    Partition* partition = FindIfCurrent(lock.key.partition, order.assignments[i]);
    const bool is_comparable = partition != nullptr &&
                               partition->phase == PartitionPhase::kActive &&
                               partition->expected == lock.expected;
    if (is_comparable && (*order.result)[i] != lock.expected) {
      HandleMismatch(*partition, (*order.result)[i]);
    }
  }
}

void Engine::HandleMismatch(Partition& partition, const std::optional<PositionStamp>& actual) {
  Reread(partition);
  if (!actual) {
    partition.is_row_gone = true;
    // The store lost the row, and with it every id and effect since the row was made: read again
    // from where this consumer made it, or else from the oldest message there is.
    Log(LogLevel::kError, "row_lost", "the store has no row any more; replaying",
        &partition.name());
    partition.is_row_lost = !partition.is_created_here;
    partition.needs_description = partition.is_row_lost;
    return;
  }
  if (actual->writer == partition.expected.writer) {
    Log(LogLevel::kError, "store_rolled_back",
        "the row is at revision " + std::to_string(actual->revision) + ", not " +
            std::to_string(partition.expected.revision) + ": the store lost commits; replaying",
        &partition.name());
    return;
  }
  Publish({.fenced = 1});
  Log(LogLevel::kWarning, "fenced", "somebody else has written the position row",
      &partition.name());
}

}  // namespace once
